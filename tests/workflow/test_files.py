"""The text of the workflows: their permissions, what they run, and what they pass to the action."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sophia_sync.settings.inputs import Settings

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SYNC = ROOT / ".github" / "workflows" / "sync-sentry-secrets.yml"
MANY = ROOT / ".github" / "workflows" / "sync-environments.yml"
ACTIONS = [ROOT / "action.yml", *sorted((ROOT / "actions").glob("*/action.yml"))]
OWN = "ai-cherry/sentry-esc-sync"
CI = ROOT / ".github" / "workflows" / "ci.yml"
RELEASE = ROOT / ".github" / "workflows" / "release.yml"
CALLER = ROOT / ".github" / "workflows" / "deploy-sentry-mcp.yml"
CALLED = ROOT / ".github" / "workflows" / "deploy.yml"

every_workflow = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


def load(path: Path) -> dict[str, Any]:
    """Load a YAML file. Restore the key `on`, which YAML 1.1 reads as true."""
    loaded: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {"on" if name is True else name: value for name, value in loaded.items()}


def steps_of(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [])]


def sync_step() -> dict[str, Any]:
    [step] = [step for step in steps_of(load(SYNC)) if step.get("uses") == "./"]
    return step


def dispatch_inputs() -> dict[str, Any]:
    inputs: dict[str, Any] = load(SYNC)["on"]["workflow_dispatch"]["inputs"]
    return inputs


def test_the_workflows_are_found() -> None:
    assert {CI, SYNC, MANY} <= set(FILES)
    assert len(ACTIONS) == 3


@every_workflow
def test_nothing_is_allowed_but_what_a_job_asks_for(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert isinstance(job["permissions"], dict)


@every_workflow
def test_every_job_has_a_time_limit_and_a_fixed_system(path: Path) -> None:
    for name, job in load(path)["jobs"].items():
        if "uses" in job:  # the called workflow's jobs have their own
            continue
        # A leg's sync has its own `timeout` input, of up to an hour. All tests take half an hour on two cores.
        long = (MANY, "sync"), (RELEASE, "images"), (CI, "test")
        assert 0 < job["timeout-minutes"] <= (65 if (path, name) in long else 30)
        systems = [job["runs-on"]]
        if systems == ["${{ matrix.system }}"]:
            systems = [each["system"] for each in job["strategy"]["matrix"]["include"]]
        for system in systems:
            # An input can name the user's own runner instead.
            assert re.fullmatch(r"(\$\{\{ inputs\.\w+ \|\| ')?ubuntu-\d\d\.04(-arm)?(' \}\})?", system)


@every_workflow
def test_every_action_is_pinned_by_commit(path: Path) -> None:
    jobs = load(path)["jobs"].values()
    used = [step["uses"] for step in (*jobs, *steps_of(load(path))) if "uses" in step]
    assert used
    for reference in used:
        here = re.fullmatch(r"\./|\./\.github/workflows/[\w-]+\.yml|\$/actions/\w+", reference)
        assert here or re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", reference), reference
    # A comment names the version of the commit.
    pinned = re.findall(r"uses: \S+@\S+(.*)", path.read_text(encoding="utf-8"))
    assert pinned or path in (CALLER, MANY)
    assert all(re.fullmatch(r" # v\d+\.\d+\.\d+", comment) for comment in pinned)


def test_an_action_is_pinned_by_the_same_commit_everywhere() -> None:
    pinned = re.findall(r"uses: ([\w.-]+/[\w./-]+)@([0-9a-f]{40})", "".join(path.read_text("utf-8") for path in FILES))
    commits = {name: {commit for found, commit in pinned if found == name} for name, _ in pinned}
    assert {name: found for name, found in commits.items() if len(found) > 1} == {}


@every_workflow
def test_no_expression_becomes_part_of_a_script(path: Path) -> None:
    assert not [step["run"] for step in steps_of(load(path)) if "${{" in step.get("run", "")]


@every_workflow
def test_the_checkout_leaves_no_token_behind(path: Path) -> None:
    checkouts = [step for step in steps_of(load(path)) if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts or path in (MANY, CALLER, CALLED), "the caller's repository is none of its business"
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_ci_runs_what_a_developer_can_run() -> None:
    assert [step["run"] for step in steps_of(load(CI)) if "run" in step] == [".ci/run", "make faults", "make atheris"]
    assert [job["permissions"] for job in load(CI)["jobs"].values()] == [{"contents": "read"}] * 3
    assert set(load(CI)["on"]) == {"push", "pull_request"}


def test_the_sync_runs_every_six_hours_and_not_when_github_drops_most() -> None:
    [schedule] = load(SYNC)["on"]["schedule"]
    minute, *rest = schedule["cron"].split()
    assert rest == ["*/6", "*", "*", "*"]
    assert 0 < int(minute) < 60
    assert int(minute) % 2 == 1


def test_the_sync_runs_on_a_schedule_and_by_hand_only() -> None:
    assert set(load(SYNC)["on"]) == {"schedule", "workflow_dispatch"}


def test_a_sync_that_has_begun_is_never_cancelled() -> None:
    concurrency = load(SYNC)["concurrency"]
    assert concurrency["cancel-in-progress"] is False
    default = dispatch_inputs()["environment"]["default"]
    assert concurrency["group"] == f"sync-sentry-secrets-${{{{ inputs.environment || '{default}' }}}}"


def test_the_sync_may_read_the_code_and_dispatch_the_deploy() -> None:
    [job] = load(SYNC)["jobs"].values()
    assert job["permissions"] == {"contents": "read", "actions": "write"}
    assert job["environment"] == "sentry-sync", "its secrets are for this job alone"


def test_the_sync_passes_inputs_that_the_action_has() -> None:
    declared = load(ROOT / "action.yml")["inputs"]
    passed = sync_step()["with"]
    assert set(passed) <= set(declared)
    assert {name for name, value in declared.items() if value["required"]} <= set(passed)


def test_a_scheduled_sync_does_what_one_by_hand_does_without_choices() -> None:
    """On a schedule the inputs are empty. An empty input takes the action's default, or else the program's."""
    declared = load(ROOT / "action.yml")["inputs"]
    [environment] = Settings.model_fields["esc_environment"].default
    choices = {"dry-run": "dry-run", "environment": "esc-environment", "deploy": "deploy"}
    assert set(dispatch_inputs()) == set(choices)
    for name, target in choices.items():
        assert sync_step()["with"][target] == f"${{{{ inputs.{name} }}}}"
        assert str(dispatch_inputs()[name]["default"]).lower() == declared[target].get("default", environment)


def test_the_credentials_come_from_the_organization() -> None:
    passed = sync_step()["with"]
    for name in ("sentry-dsn", "sentry-api-token", "sentry-client-secret", "pulumi-access-token"):
        assert passed[name] == f"${{{{ secrets.{name.upper().replace('-', '_')} }}}}"
    for name in ("sentry-organization-slug", "sentry-project-slug"):
        variable = name.upper().replace("-", "_")
        assert passed[name] == f"${{{{ vars.{variable} || secrets.{variable} }}}}"


def many() -> dict[str, Any]:
    jobs: dict[str, Any] = load(MANY)["jobs"]
    return jobs


def test_many_environments_are_synced_by_call_only() -> None:
    assert set(load(MANY)["on"]) == {"workflow_call"}


def test_each_leg_runs_under_its_environment_with_a_limit_at_a_time_and_is_never_cancelled() -> None:
    leg = many()["sync"]
    assert leg["environment"] == "${{ matrix.environment }}"
    assert leg["strategy"] == {
        "fail-fast": False,
        "max-parallel": "${{ inputs.max-parallel }}",
        "matrix": {"include": "${{ fromJSON(inputs.environments) }}"},
    }
    assert leg["concurrency"] == {"group": "sync-environments-${{ matrix.environment }}", "cancel-in-progress": False}


def test_a_leg_may_ask_for_an_identity_token_and_nothing_else() -> None:
    assert {name: job["permissions"] for name, job in many().items()} == {"sync": {"id-token": "write"}}


def test_all_secrets_that_a_leg_sees_are_optional_and_opened_by_name() -> None:
    declared = load(MANY)["on"]["workflow_call"]["secrets"]
    [step] = many()["sync"]["steps"]
    used = set(re.findall(r"secrets\.(\w+)", str(step)))
    assert used == set(declared)
    assert all("required" not in secret for secret in declared.values())


def test_a_leg_passes_inputs_that_the_action_has_and_deploys_nothing() -> None:
    declared = load(ROOT / "action.yml")["inputs"]
    [step] = many()["sync"]["steps"]
    assert set(step["with"]) <= set(declared)
    assert {name for name, value in declared.items() if value["required"]} <= set(step["with"])
    assert step["with"]["deploy"] == "never"


def test_what_a_called_workflow_runs_of_this_repository_is_of_its_own_commit() -> None:
    """`./` would be the caller's repository, and `@v1` could be another commit than the caller chose.

    The runner refuses `$/` without a path. Source: github.com/actions/runner, `PipelineConstants.cs`.
    """
    for path in (MANY, CALLED):
        used = [step["uses"] for step in steps_of(load(path)) if not re.search(r"@[0-9a-f]{40}$", step["uses"])]
        assert used
        for reference in used:
            assert reference.startswith("$/")
            assert (ROOT / reference.removeprefix("$/") / "action.yml") in ACTIONS


def test_the_action_of_the_called_workflow_has_the_inputs_that_it_is_given() -> None:
    action = load(ROOT / "actions" / "sync" / "action.yml")
    [step] = many()["sync"]["steps"]
    assert set(action["inputs"]) == set(step["with"]), "the page and action.yml tell what each means"
    assert action["runs"] == {"using": "docker", "image": "../../Dockerfile"}


def test_the_marketplace_takes_the_description() -> None:
    assert len(load(ROOT / "action.yml")["description"]) < 125


def test_who_owns_the_code_is_told() -> None:
    lines = (ROOT / ".github" / "CODEOWNERS").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.fullmatch(r"\* @[\w-]+/[\w-]+", line)]
