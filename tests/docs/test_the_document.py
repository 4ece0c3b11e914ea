"""The snippets of the document that described the integration, run as docs/from-the-document.md has them now.

Where the page says what was wrong with an original snippet, the original is run too.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from backend.core.auto_esc_config import AutoEscConfig
from sandbox import Sandbox
from sophia_sync.settings.inputs import Settings
from tests.backend.support import PATH, SECRETS, SLUGS, definition, python, reads
from tests.deploy.conftest import compose
from tests.docs.machine import Machine
from tests.docs.pages import code_in, sections
from tests.support.action import Action
from tests.support.docker_engine import ROOT
from tests.support.inputs import VALID
from tests.support.shell import output as shell

pytestmark = pytest.mark.pulumi

PAGE = sections("docs/from-the-document.md")
SHIPPED = yaml.safe_load((ROOT / "docker-compose.sentry.yml").read_text(encoding="utf-8"))["services"]["sentry-mcp"]
IN_COMPOSE = ("Docker Deployment: Environment Variables", "Integration Points: 3. Docker Compose")
# The document's headings whose snippets a test below runs. `of` fills it.
RUN: list[str] = []

Test = TypeVar("Test", bound=Callable[..., object])


def of(heading: str) -> Callable[[Test], Test]:
    """Register the heading of the document whose snippets a test runs."""
    RUN.append(heading)
    return lambda test: test


def said(heading: str) -> list[str]:
    """Return the document's own snippets under a heading."""
    return code_in(PAGE[heading].split("\n**Now**\n")[0])


def now(heading: str) -> list[str]:
    """Return the snippets that a reader should run now: the document's own, or their replacements."""
    return code_in(PAGE[heading].split("\n**Now**\n")[-1])


@pytest.fixture
def box() -> Iterator[Sandbox]:
    """Run the local services, with the environment that the document names."""
    with Sandbox() as box:
        box.esc.create(PATH, definition(SECRETS))
        yield box


def test_every_snippet_is_run() -> None:
    assert sorted(RUN) == sorted(heading for heading, text in PAGE.items() if code_in(text))


@of("Environment Path")
def test_the_environments_path() -> None:
    [path] = now("Environment Path")
    assert AutoEscConfig({}).esc_path == path.strip()
    assert Settings.model_fields["esc_environment"].default == (path.strip(),)


@of("Access in Code: Python Backend")
def test_access_by_the_backend(reader: dict[str, str]) -> None:
    [code] = now("Access in Code: Python Backend")
    done = python(f"{code}\nprint([sentry_dsn, sentry_api_token])", reader)
    assert done.stdout == f"{[SECRETS['SENTRY_DSN'], SECRETS['SENTRY_API_TOKEN']]}\n", done.stderr


class TestAccessByTheMcpServer:
    heading = "Access in Code: MCP Server"

    @of(heading)
    def test_one_value_is_had_from_the_cache_or_by_default(self, reader: dict[str, str], box: Sandbox) -> None:
        [code] = now(self.heading)
        done = python(f"{code}\nprint([api_token, region])", reader)
        assert done.stdout == f"{[SECRETS['SENTRY_API_TOKEN'], 'us']}\n", done.stderr
        assert reads(box.esc) == 1

    def test_the_documents_own_gave_a_page_for_a_token(self, reader: dict[str, str]) -> None:
        [code] = said(self.heading)
        done = python(f"import subprocess\n{code}\nprint(get_pulumi_esc_value('SENTRY_API_TOKEN', 'x'))", reader)
        assert done.stdout.startswith('# Value\n```json\n"[secret]"\n'), done.stderr


@of(IN_COMPOSE[0])
@of(IN_COMPOSE[1])
@pytest.mark.parametrize("heading", IN_COMPOSE)
def test_the_environment_of_the_container(heading: str, tmp_path: Path) -> None:
    [block] = now(heading)
    lines = yaml.safe_load(block)["environment"]
    assert set(lines) <= set(SHIPPED["environment"])
    file = tmp_path / "compose.yml"
    file.write_text(yaml.safe_dump({"services": {"a": {"image": "a", "environment": lines}}}), encoding="utf-8")
    documented = {"PULUMI_ACCESS_TOKEN": "pul-0", "PULUMI_ORG": "scoobyjava-org"}
    documented |= {"PULUMI_ENVIRONMENT": "sophia-ai-production"}
    assert resolved(file, PULUMI_ACCESS_TOKEN="pul-0").items() <= documented.items()
    names = [line.partition("=")[0] for line in lines]
    assert resolved(file, **dict.fromkeys(names, "other")) == dict.fromkeys(names, "other")
    assert resolved(file)["PULUMI_ACCESS_TOKEN"] == ""


def resolved(file: Path, **environ: str) -> dict[str, str]:
    """Return the service's environment as Compose reads the file. Compose must not warn."""
    done = compose("--file", str(file), "config", "--format", "json", **environ)
    assert (done.returncode, done.stderr) == (0, "")
    environment: dict[str, str] = json.loads(done.stdout)["services"]["a"]["environment"]
    return environment


@of("Local Development: Setup")
@of("Local Development: Testing")
def test_local_development(reader: dict[str, str], box: Sandbox) -> None:
    [setup] = now("Local Development: Setup")
    [testing] = now("Local Development: Testing")
    # Afterwards the login alone gives access.
    printed = shell(f"{setup}\nunset PULUMI_ACCESS_TOKEN PULUMI_BACKEND_URL\n{testing}", reader)
    assert re.search('"SENTRY_DSN": "\\[secret]"', printed)
    assert printed.endswith("\nSentry configured\n")
    assert not [secret for secret in SECRETS.values() if secret in printed]
    box.esc.save(PATH, definition({}))
    line = next(line for line in testing.splitlines() if line.startswith("python "))
    assert shell(line, reader) == "No Sentry config\n"


class TestASecretThatIsNotAvailable:
    heading = "Troubleshooting: Secret Not Available?"

    @of(heading)
    def test_keys_are_seen_without_values_and_one_value_alone(self, reader: dict[str, str]) -> None:
        keys, value = shell(now(self.heading)[0], reader).split("# Definition")
        assert all(f'"{key}": "[secret]"' in keys for key in SECRETS)
        assert all(f'"{key}": "{slug}"' in keys for key, slug in SLUGS.items())
        assert value.endswith(f"{json.dumps(SECRETS['SENTRY_DSN'])}\n")

    def test_the_documents_own_shows_everything(self, reader: dict[str, str]) -> None:
        printed = shell(said(self.heading)[0], reader)
        [shown] = re.findall(r"^```json\n(.*?)^```$", printed, re.DOTALL | re.MULTILINE)
        assert json.loads(shown) == {**SECRETS, **SLUGS}


@pytest.mark.docker
@of("Troubleshooting: MCP Server Can't Access Secrets?")
def test_the_containers_log_tells_why_it_has_no_secrets(machine: Machine) -> None:
    host = machine.host
    host.box.esc.delete(PATH)
    machine.shell("docker build --quiet --file mcp-servers/sentry/Dockerfile --tag sentry-mcp:dev .")
    host.compose("up", "--detach", "--no-build", image="sentry-mcp:dev")
    machine.shell(f"curl --silent --retry 60 --retry-delay 1 --retry-all-errors {host.url}/healthz")
    machine.shell(f"curl --silent {host.url}/readyz")
    [code] = now("Troubleshooting: MCP Server Can't Access Secrets?")
    log = machine.shell(code).stderr
    assert f"Environment '{PATH}' not found" in log
    assert "The server has no SENTRY_API_TOKEN" in log
    assert host.box.esc.token not in log


class TestTheBackendsInitialisation:
    heading = "Integration Points: 1. Backend Initialization"

    @of(heading)
    def test_sentry_is_on(self, reader: dict[str, str]) -> None:
        [code] = now(self.heading)
        done = python(f"{code}\nimport sentry_sdk\nprint(sentry_sdk.get_client().dsn)", reader)
        assert done.stdout == f"{SECRETS['SENTRY_DSN']}\n", done.stderr

    def test_without_a_dsn_it_is_off_and_nothing_fails(self, reader: dict[str, str], box: Sandbox) -> None:
        box.esc.save(PATH, definition({}))
        done = python(now(self.heading)[0], reader)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_the_documents_own_lacked_an_import_and_failed_without_a_dsn(
        self, reader: dict[str, str], box: Sandbox
    ) -> None:
        [code] = said(self.heading)
        assert "NameError" in python(code, reader).stderr
        box.esc.save(PATH, definition({}))
        assert "AttributeError: SENTRY_DSN is configured neither" in python(f"import sentry_sdk\n{code}", reader).stderr


@of("Integration Points: 2. MCP Server")
def test_a_token_that_was_rotated_is_had_by_a_refresh(reader: dict[str, str], box: Sandbox) -> None:
    [code] = now("Integration Points: 2. MCP Server")
    first, rest = code.split("# When Sentry answers 401:\n")
    rotated = f"{first}print(api_token)\ninput()\n{rest}print(api_token)"
    with subprocess.Popen(
        [sys.executable, "-B", "-c", rotated], cwd=ROOT, env=reader, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as backend:
        assert backend.stdin is not None
        assert backend.stdout is not None
        assert backend.stdout.readline().decode().strip() == SECRETS["SENTRY_API_TOKEN"]
        box.esc.save(PATH, definition({"SENTRY_API_TOKEN": "sntrys_rotated"}))
        backend.stdin.write(b"\n")
        backend.stdin.close()
        assert backend.stdout.read() == b"sntrys_rotated\n"


class TestTheSync:
    heading = "Integration Points: 4. GitHub Actions"
    # A value that both a shell and YAML would misread.
    awkward = '0123 #"x" $HOME'

    @of(heading)
    def test_the_step_stores_what_the_document_lists_and_deploys(
        self, box: Sandbox, pulumi: Path, tmp_path: Path
    ) -> None:
        [step] = yaml.safe_load(now(self.heading)[0])
        assert step["uses"].split("@")[0] == "ai-cherry/sentry-esc-sync"
        kept = {
            "SENTRY_DSN": box.sentry.dsn,
            "SENTRY_API_TOKEN": box.sentry.token,
            "SENTRY_CLIENT_SECRET": self.awkward,
            "SENTRY_ORGANIZATION_SLUG": box.sentry.organization,
            "SENTRY_PROJECT_SLUG": box.sentry.project,
        }
        action = Action(box, pulumi, tmp_path)
        inputs = filled(step["with"], {**kept, "PULUMI_ACCESS_TOKEN": box.esc.token})
        around = {"github-token": box.github.token, "pulumi-cloud-url": box.esc.url, "sentry-url": box.sentry.url}
        ran = action.run_child(action.variables({**inputs, **around}))
        assert ran.code == 0, ran.log
        assert box.esc.values(PATH) == kept
        encrypted = {key for key in kept if box.esc.is_secret(PATH, key)}
        assert encrypted == {"SENTRY_DSN", "SENTRY_API_TOKEN", "SENTRY_CLIENT_SECRET"}
        assert [dispatch.workflow for dispatch in box.github.dispatches] == ["deploy-sentry-mcp.yml"]

    def test_one_value_by_hand_is_stored_as_it_is(self, reader: dict[str, str], box: Sandbox) -> None:
        shell(now(self.heading)[1], reader | {"SENTRY_API_TOKEN": self.awkward})
        assert box.esc.values(PATH)["SENTRY_API_TOKEN"] == self.awkward
        assert box.esc.is_secret(PATH, "SENTRY_API_TOKEN")

    def test_the_documents_own_stores_something_else(self, reader: dict[str, str], box: Sandbox) -> None:
        shell(said(self.heading)[0], reader | {"SENTRY_API_TOKEN": "ab #cd"})
        assert box.esc.values(PATH)["SENTRY_API_TOKEN"] == "ab"


@of("Moving from the document's script")
def test_from_the_script_to_the_action_and_back(
    reader: dict[str, str], box: Sandbox, pulumi: Path, tmp_path: Path
) -> None:
    action = Action(box, pulumi, tmp_path)
    mark, tidy, back = now("Moving from the document's script")
    box.esc.save(PATH, "values:\n  # whoever edits it\n  other: thing\n")
    script = f"""
        pulumi login
        pulumi env set {PATH} SENTRY_DSN "$DSN"
        pulumi env set {PATH} SENTRY_API_TOKEN "$TOKEN" --secret
        pulumi env set {PATH} SENTRY_ORGANIZATION_SLUG 0123
        pulumi env set {PATH} SENTRY_PROJECT_SLUG pay-ready --secret
    """
    inputs = VALID | {"sentry-organization-slug": "0123", "sentry-project-slug": "pay-ready"}
    shell(script, reader | {"DSN": inputs["sentry-dsn"], "TOKEN": inputs["sentry-api-token"]})
    shell(mark, reader)
    before = box.esc.definition(PATH)

    changes = {name.replace("-", "_"): inputs[name] for name in ("sentry-organization-slug", "sentry-project-slug")}
    changes |= {"sentry_client_secret": "a-webhook-secret", "esc_environment": PATH}
    dry = action.run(dry_run="true", **changes)
    plan = dict(re.findall(r"^\| `(SENTRY_\w+)` \| \S+ ([^|]+) \|", dry.summary, re.MULTILINE))
    # Each row of the page's table occurs once, in another order.
    assert plan == {
        "SENTRY_DSN": "would be encrypted (is in plain text)",
        "SENTRY_API_TOKEN": "unchanged",
        "SENTRY_ORGANIZATION_SLUG": "would be changed",
        "SENTRY_PROJECT_SLUG": "would be in plain text (is encrypted)",
        "SENTRY_CLIENT_SECRET": "would be added",
    }
    told = re.findall(r"^ *\| (would be [^|]+|unchanged) \| ", PAGE["Moving from the document's script"], re.MULTILINE)
    assert sorted(told) == sorted(plan.values())

    assert action.run(**changes).outputs["result"] == "synced"
    assert action.run(**changes).outputs["result"] == "unchanged"
    assert box.esc.values(PATH)["SENTRY_ORGANIZATION_SLUG"] == "0123"
    assert (Path(reader["HOME"]) / ".pulumi/credentials.json").exists()
    shell(tidy, reader)
    shell(back, reader)
    assert box.esc.definition(PATH) == before


def filled(inputs: dict[str, Any], values: dict[str, str]) -> dict[str, str]:
    """Return a step's inputs as GitHub passes them, with `${{ secrets.X }}` and `${{ vars.X }}` filled in."""
    return {
        name: re.sub(r"\$\{\{ (?:secrets|vars)\.(\w+) }}", lambda at: values[at[1]], text)
        for name, text in inputs.items()
    }
