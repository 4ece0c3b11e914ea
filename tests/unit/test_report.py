"""Turn the outcome of a run into the step's summary and outputs."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.cells import cell_len

from sophia_sync import app, report
from sophia_sync.esc.approvals import ChangeRequest
from sophia_sync.outcome import Deployed, Ended, Outcome, Result, Synced, Target
from sophia_sync.runtime.errors import DeployError, EndedBySignalError, EscError, SeveralError, SyncError
from sophia_sync.sync.plan import Action, Plan, Step
from tests.support.examples import examples

ENVIRONMENT = "acme/default/production"
PLAN = Plan(
    (
        Step("SENTRY_DSN", Action.CHANGE, secret=True),
        Step("SENTRY_API_TOKEN", Action.ENCRYPT, secret=True),
        Step("SENTRY_ORGANIZATION_SLUG", Action.ADD, secret=False),
        Step("SENTRY_PROJECT_SLUG", Action.DECRYPT, secret=False),
        Step("SENTRY_CLIENT_SECRET", Action.UNCHANGED, secret=True),
    )
)
NOTHING = Plan(tuple(Step(step.name, Action.UNCHANGED, step.secret) for step in PLAN.steps))
SYNCED = Synced(ENVIRONMENT, Result.SYNCED, PLAN, revision=8, previous_revision=7)
UNCHANGED = Synced(ENVIRONMENT, Result.UNCHANGED, NOTHING)
PLANNED = Synced(ENVIRONMENT, Result.PLANNED, PLAN)
REQUEST = ChangeRequest("0a1b", "https://app.pulumi.example/x?version=0a1b")
PROPOSED = Synced(ENVIRONMENT, Result.PROPOSED, PLAN, proposes=True, change_request=REQUEST)
RUN_URL = "https://github.example/acme/sophia/actions/runs/17"
DEPLOYED = Deployed(Target("acme/sophia", "deploy.yml", None), "main", 17, RUN_URL)


def outcome(
    synced: Synced | None = None,
    deployed: Deployed | None = None,
    error: SyncError | None = None,
    revision: int | None = None,
) -> Outcome:
    """Return the outcome of a run with one environment."""
    return Outcome((Ended(ENVIRONMENT, synced, revision=revision),), deployed, error)


def rows(summary: str) -> dict[str, str]:
    """Return the summary's table: what it says about each key."""
    table = [line.strip("|").split("|") for line in summary.splitlines() if line.startswith("| `")]
    return {cells[0].strip(" `"): " | ".join(cell.strip() for cell in cells[1:]) for cells in table}


class TestSummary:
    def test_of_a_sync_is_a_table_of_keys(self) -> None:
        text = report.summary(outcome(SYNCED))
        assert text.startswith("## ✅ Sentry credentials synced")
        assert "`acme/default/production`" in text
        assert "revision 7 → **8**" in text
        assert "verified by reading back" in text
        assert rows(text) == {
            "SENTRY_DSN": "🔄 changed | 🔒 encrypted",
            "SENTRY_API_TOKEN": "🔐 encrypted now (was in plain text) | 🔒 encrypted",
            "SENTRY_ORGANIZATION_SLUG": "🆕 added | plain text",
            "SENTRY_PROJECT_SLUG": "🔓 in plain text now (was encrypted) | plain text",
            "SENTRY_CLIENT_SECRET": "· unchanged | 🔒 encrypted",
        }

    def test_of_an_unchanged_environment(self) -> None:
        text = report.summary(outcome(UNCHANGED))
        assert "up to date" in text
        assert "nothing was written" in text
        assert "revision" not in text
        assert "Deploy: not due." in text

    def test_of_a_dry_run_says_what_would_be(self) -> None:
        text = report.summary(outcome(PLANNED))
        assert text.startswith("## 🔎 Dry run")
        assert rows(text)["SENTRY_DSN"].startswith("🔄 would be changed")
        assert rows(text)["SENTRY_PROJECT_SLUG"].startswith("🔓 would be in plain text")
        assert "Deploy" not in text
        assert "verified" not in text

    def test_of_a_dry_run_has_the_total_and_what_to_do_next(self) -> None:
        text = report.summary(outcome(PLANNED))
        assert f"`{ENVIRONMENT}` · **4 of 5 keys would change** · nothing was written" in text
        assert "| Key | What would change | Stored as |" in text
        assert text.endswith("\n**Next:** run it again with `dry-run: false` to write this.\n")

    def test_of_a_dry_run_that_finds_nothing_to_do_says_so(self) -> None:
        text = report.summary(outcome(replace(PLANNED, plan=NOTHING)))
        assert "**0 of 5 keys would change** · nothing was written" in text
        assert text.endswith("\n**Next:** nothing. A sync would write nothing.\n")

    @pytest.mark.parametrize(
        ("proposes", "todo"),
        [
            ((True,), "open the change request"),
            ((True, True), "open the change requests"),
            ((True, False), "open the change request and write the others"),
            ((False, False), "write this"),
        ],
    )
    def test_of_a_dry_run_says_what_a_sync_would_do(self, proposes: tuple[bool, ...], todo: str) -> None:
        ends = [
            Ended(f"a/b/{at}", replace(PLANNED, environment=f"a/b/{at}", proposes=how))
            for at, how in enumerate(proposes)
        ]
        text = report.summary(Outcome((*ends, Ended("a/b/c", replace(PLANNED, plan=NOTHING)))))
        assert text.endswith(f"\n**Next:** run it again with `dry-run: false` to {todo}.\n")

    def test_of_a_dry_run_of_several_environments_has_one_total(self) -> None:
        ends = [Ended(name, replace(PLANNED, environment=name)) for name in ("a/b/c", "a/b/d")]
        text = report.summary(Outcome(tuple(ends)))
        assert text.startswith(
            "## 🔎 Dry run: what a sync would change in Pulumi ESC\n\n**8 of 10 keys would change**, in 2"
        )
        assert "| `a/b/c` | 🔎 4 of 5 keys would change |" in text
        assert [line for line in text.splitlines() if line.startswith("###")] == ["### `a/b/c`", "### `a/b/d`"]
        assert text.count("**Next:**") == 1

    def test_of_a_proposal_says_what_would_change(self) -> None:
        text = report.summary(outcome(PROPOSED))
        assert "| Key | What would change | Stored as |" in text
        assert rows(text)["SENTRY_DSN"].startswith("🔄 would be changed")

    def test_links_the_deploy_run(self) -> None:
        text = report.summary(outcome(SYNCED, DEPLOYED))
        assert f"`deploy.yml` in `acme/sophia` on `main`: [run 17]({RUN_URL})" in text

    def test_of_a_deploy_whose_run_is_not_known_has_no_link(self) -> None:
        deployed = Deployed(DEPLOYED.target, "main", None, None)
        text = report.summary(outcome(SYNCED, deployed))
        assert "`deploy.yml` in `acme/sophia` on `main`" in text
        assert "None" not in text
        assert "](" not in text

    def test_tells_how_the_deploy_ended(self) -> None:
        deployed = Deployed(DEPLOYED.target, "main", 17, RUN_URL, "success")
        assert "**success**" in report.summary(outcome(SYNCED, deployed))

    def test_of_a_failure_says_what_to_do(self) -> None:
        text = report.summary(outcome(error=EscError("It failed.", "Run again.")))
        assert text == "## ❌ Pulumi ESC could not be read or written\n\nIt failed.\n\n**What to do:** Run again.\n"

    def test_of_a_failed_deploy_still_tells_of_the_sync(self) -> None:
        text = report.summary(outcome(SYNCED, error=DeployError("It failed.", "Run again.")))
        assert text.index("## ❌ The sync succeeded, but the deploy failed") < text.index(
            "### ✅ Sentry credentials synced"
        )
        assert rows(text).keys() == {step.name for step in PLAN.steps}
        assert "not due" not in text

    def test_knows_no_revision_that_nobody_told(self) -> None:
        lost = Synced(ENVIRONMENT, Result.SYNCED, PLAN, revision=8)
        text = report.summary(outcome(lost)) + report.headline(lost)
        assert "**8**" in text
        assert "None" not in text


MARKDOWN = MarkdownIt().enable(["table", "strikethrough"])
LARGEST = 1024 * 1024
MARKUP = st.lists(
    st.one_of(
        st.sampled_from([*"\\`*_{}[]()<>#+-=|~!&$:.\n \t1", "](", "<b>", "&lt;", "---", "http://x"]),
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=4),
    )
).map("".join)


class TestTextOfAService:
    """The summary shows a service's text as data, without links, images, headings or HTML from it."""

    @settings(max_examples=examples(300), deadline=None)
    @given(text=MARKUP)
    def test_is_shown_as_it_is(self, text: str) -> None:
        text = " ".join(f"a{text}z".split()).replace("\0", "\ufffd")  # as CommonMark shows it
        rendered = MARKDOWN.render(report.summary(outcome(error=EscError(text, "Run again."))))
        shown = rendered.split("</h2>")[1].split("<p><strong>What to do")[0].strip()
        assert set(re.findall(r"<[^>]*>", shown)) <= {"<p>", "</p>", "<code>", "</code>"}
        # Text between backticks becomes code, as in our own messages.
        plain = html.unescape(re.sub("</?p>", "", re.sub("</?code>", "`", shown)))
        assert plain.replace("` ", "`").replace(" `", "`") == text.replace("` ", "`").replace(" `", "`")

    @pytest.mark.parametrize(
        "said",
        [
            "# heading",
            "a\n===",
            "a\n---",
            "> quote",
            "+ item",
            "    code",
            "<img src=x>",
            "![x](http://x)",
            "| a |\n| - |",
        ],
    )
    def test_begins_no_block(self, said: str) -> None:
        rendered = MARKDOWN.render(report.summary(outcome(error=EscError(said, "Run again."))))
        shown = rendered.split("</h2>")[1]
        assert set(re.findall(r"<(\w+)", shown)) == {"p", "strong"}

    def test_keeps_the_blanks_around_code(self) -> None:
        text = report.summary(outcome(error=EscError("It failed.", "Make it with `pulumi env init` if there is none.")))
        assert "with `pulumi env init` if there" in text

    def test_is_cut_off(self) -> None:
        error = EscError("&" * 5_000_000, "😀" * 5_000_000, "`" * 5_000_000)
        text = report.summary(outcome(error=error))
        assert len(text.encode()) < LARGEST
        assert "…" in text
        assert len(report.outputs(outcome(error=error))["environments"]) < 10_000

    @pytest.mark.parametrize(
        "url", ["javascript:alert(1)", "https://x/) ![y](z", "https://x/\n# y", "https://x/<b>", "x" * 5_000]
    )
    def test_is_a_link_only_where_it_is_an_address(self, url: str) -> None:
        text = report.summary(outcome(SYNCED, replace(DEPLOYED, run_url=url)))
        assert url not in text
        assert "](" not in text

    def test_of_a_deploy_is_data_too(self) -> None:
        deployed = Deployed(Target("acme/sophia", "a`b.yml", None), "x`<b>", 17, None, "![a](b)")
        rendered = MARKDOWN.render(report.summary(outcome(SYNCED, deployed))).split("</table>")[1]
        assert set(re.findall(r"<(\w+)", rendered)) <= {"p", "strong", "code"}
        assert "deploy-conclusion" not in report.outputs(outcome(SYNCED, deployed))


class TestSize:
    """GitHub drops the whole summary if it is larger than 1 MiB."""

    @staticmethod
    def many(number: int) -> Outcome:
        """Return the outcome of a run in which half of the environments changed, and one in a hundred failed."""
        ends = []
        for at in range(number):
            name = f"acme/default/{'e' * 80}-{at}"
            if at % 100 == 50:
                ends.append(Ended(name, error=EscError(f"It failed. {'x' * 1_000}", "Run again."), revision=5))
            else:
                ends.append(Ended(name, replace(SYNCED if at % 2 else UNCHANGED, environment=name)))
        return Outcome(tuple(ends), error=app._failure(ends))

    def test_of_a_summary_is_limited(self) -> None:
        text = report.summary(self.many(20_000))
        assert 500_000 < len(text.encode()) < LARGEST

    def test_what_failed_comes_first_and_then_what_changed(self) -> None:
        shown = list(rows(report.summary(self.many(20_000))).values())
        kinds = [how.split()[1] for how in shown if how.split()[1] in ("failed", "synced", "up")]
        assert kinds == sorted(kinds, key=["failed", "synced", "up"].index)
        assert kinds.count("failed") == 200

    def test_what_was_left_out_is_said(self) -> None:
        ran = self.many(20_000)
        text = report.summary(ran)
        listed = sum(line.startswith("| `acme/") for line in text.splitlines())
        detailed = text.count("| Key |")
        assert f"{20_000 - listed} more environments" in text
        assert (
            f"The changes in {len([one for one in ran.synced if one.plan.changed]) - detailed} more environments"
            in text
        )
        assert "the output `environments`" in text

    def test_nothing_is_said_to_be_left_out_where_nothing_is(self) -> None:
        assert "more" not in report.summary(self.many(10)).replace("what_more", "")

    def test_of_a_table_of_keys_is_limited_and_the_changed_come_first(self) -> None:
        steps = tuple(
            Step(f"KEY_{at}", Action.CHANGE if at > 19_000 else Action.UNCHANGED, True) for at in range(20_000)
        )
        text = report.summary(outcome(replace(SYNCED, plan=Plan(steps))))
        shown = list(rows(text))
        assert len(text.encode()) < LARGEST
        assert shown[0] == "KEY_19001"
        assert f"{20_000 - len(shown)} more keys" in text


class TestLog:
    @pytest.mark.parametrize(
        ("synced", "line"),
        [
            (SYNCED, "4 of 5 keys changed in one revision, 7 → 8, verified by reading back"),
            (UNCHANGED, "all 5 keys are up to date, nothing was written"),
            (PLANNED, "dry run, 4 of 5 keys would change, nothing was written"),
        ],
    )
    def test_headline(self, synced: Synced, line: str) -> None:
        assert report.headline(synced) == f"{ENVIRONMENT}: {line}"

    @pytest.mark.parametrize("synced", [SYNCED, UNCHANGED, PLANNED])
    def test_the_notice_of_one_environment_is_its_headline(self, synced: Synced) -> None:
        assert report.notice(outcome(synced)) == report.headline(synced)

    @pytest.mark.parametrize(("dry_run", "word"), [(False, "  changed"), (True, "  would be changed")])
    def test_plan_has_one_line_a_key(self, dry_run: bool, word: str) -> None:
        lines = report.plan_lines(PLAN, dry_run=dry_run)
        assert [line.split()[1] for line in lines] == [str(step.name) for step in PLAN.steps]
        assert lines[0].endswith(word)

    def test_the_names_of_a_plan_stand_below_each_other(self) -> None:
        lines = report.plan_lines(PLAN, dry_run=False)
        assert len({cell_len(line.partition("SENTRY_")[0]) for line in lines}) == 1

    def test_a_plan_of_nothing_is_no_line(self) -> None:
        assert report.plan_lines(Plan(()), dry_run=False) == []


class TestOutputs:
    def test_of_a_sync_with_its_deploy(self) -> None:
        outputs = report.outputs(outcome(SYNCED, DEPLOYED))
        changed = ["SENTRY_DSN", "SENTRY_API_TOKEN", "SENTRY_ORGANIZATION_SLUG", "SENTRY_PROJECT_SLUG"]
        assert outputs["result"] == "synced"
        assert json.loads(outputs["changed-keys"]) == changed
        assert (outputs["revision"], outputs["previous-revision"]) == ("8", "7")
        assert json.loads(outputs["environments"]) == [
            {
                "environment": ENVIRONMENT,
                "result": "synced",
                "changed_keys": changed,
                "revision": 8,
                "previous_revision": 7,
                "change_request_id": None,
                "change_request_url": None,
                "error": None,
            }
        ]
        assert (outputs["deploy-run-id"], outputs["deploy-run-url"]) == ("17", RUN_URL)

    def test_of_an_unchanged_environment(self) -> None:
        outputs = report.outputs(outcome(UNCHANGED))
        assert (outputs["result"], outputs["changed-keys"]) == ("unchanged", "[]")
        assert (outputs["revision"], outputs["previous-revision"]) == ("", "")
        assert "deploy-run-id" not in outputs

    def test_of_a_dry_run(self) -> None:
        outputs = report.outputs(outcome(PLANNED))
        assert outputs["result"] == "planned"
        assert len(json.loads(outputs["changed-keys"])) == 4

    def test_of_a_failure_before_anything_is_known(self) -> None:
        assert report.outputs(Outcome(error=EscError("It failed.", "Run again."))) == {}

    def test_of_a_failure_name_the_environment_and_the_error(self) -> None:
        outputs = report.outputs(outcome(error=EscError("It failed.", "Run again.")))
        (environment,) = json.loads(outputs["environments"])
        assert environment["environment"] == ENVIRONMENT
        assert environment["result"] is None
        assert environment["error"] == "It failed."

    def test_of_a_failed_deploy_say_that_the_environment_is_right(self) -> None:
        outputs = report.outputs(outcome(SYNCED, error=DeployError("It failed.", "Run again.")))
        (environment,) = json.loads(outputs["environments"])
        assert outputs["result"] == environment["result"] == "synced"
        assert environment["error"] is None

    def test_of_a_deploy_whose_run_is_not_known_are_empty(self) -> None:
        deployed = Deployed(DEPLOYED.target, "main", None, None)
        outputs = report.outputs(outcome(SYNCED, deployed))
        assert (outputs["deploy-run-id"], outputs["deploy-run-url"]) == ("", "")
        assert "deploy-conclusion" not in outputs

    def test_tell_how_the_deploy_ended(self) -> None:
        deployed = Deployed(DEPLOYED.target, "main", 17, RUN_URL, "failure")
        assert report.outputs(outcome(SYNCED, deployed))["deploy-conclusion"] == "failure"

    def test_of_a_failure_after_the_write_tell_its_revision(self) -> None:
        outputs = report.outputs(outcome(error=EscError("It failed.", "Run again."), revision=8))
        assert outputs["revision"] == "8"
        assert json.loads(outputs["environments"])[0]["revision"] == 8
        assert "result" not in outputs


class TestProposals:
    END = Ended(ENVIRONMENT, PROPOSED, change_request=REQUEST)

    def test_the_summary_leads_to_the_change_request(self) -> None:
        text = report.summary(Outcome((self.END,)))
        assert text.startswith("## 📝 Sentry credentials proposed to Pulumi ESC")
        assert f"[**change request 0a1b**]({REQUEST.url})" in text
        assert "the environment is unchanged" in text
        assert rows(text)["SENTRY_DSN"] == "🔄 would be changed | 🔒 encrypted"
        assert text.endswith("Deploy: due with the first sync after the change request is applied.\n")

    def test_without_a_console_it_is_named(self) -> None:
        synced = replace(PROPOSED, change_request=replace(REQUEST, url=""))
        assert "**change request 0a1b** ·" in report.summary(outcome(synced))
        assert "in change request 0a1b, which is still open;" in report.headline(synced)

    def test_a_new_one_is_told_from_one_that_is_still_open(self) -> None:
        new = replace(PROPOSED, change_request=replace(REQUEST, is_new=True))
        assert "still open" not in report.headline(new)
        assert "opened now" in report.summary(outcome(new))
        assert "still open, with the same values" in report.summary(outcome(PROPOSED))

    def test_the_outputs_name_it(self) -> None:
        outputs = report.outputs(Outcome((self.END,)))
        assert (outputs["result"], outputs["revision"]) == ("proposed", "")
        assert (outputs["change-request-id"], outputs["change-request-url"]) == (REQUEST.id, REQUEST.url)

    def test_one_that_waits_makes_the_result_of_all(self) -> None:
        ends = (Ended("acme/default/one", SYNCED), self.END)
        assert report.outputs(Outcome(ends))["result"] == "proposed"
        assert rows(report.summary(Outcome(ends)))[ENVIRONMENT] == "📝 proposed | "

    def test_others_that_wait_are_not_called_synced(self) -> None:
        broken = Ended("acme/default/one", error=EscError("It failed.", "Run again."))
        assert "or their change is proposed" in str(app._failure((broken, self.END)))
        assert "proposed" not in str(app._failure((broken, Ended("acme/default/two", SYNCED))))


class TestSeveralEnvironments:
    ENDS = (
        Ended("acme/default/one", replace(SYNCED, environment="acme/default/one"), revision=8),
        Ended("acme/default/two", replace(UNCHANGED, environment="acme/default/two")),
    )
    BROKEN = Ended("acme/default/three", error=EscError("It failed.", "Run again."), revision=5)

    def test_the_summary_names_all_and_shows_what_changed(self) -> None:
        text = report.summary(Outcome(self.ENDS))
        assert text.startswith("## Sentry credentials in Pulumi ESC")
        assert rows(text)["acme/default/one"] == "✅ synced | 8"
        assert rows(text)["acme/default/two"] == "✅ up to date | "
        assert text.count("| Key |") == 1
        assert "revision 7 → **8**" in text

    def test_the_notice_has_a_line_for_what_changed_and_one_for_the_rest(self) -> None:
        changed, unchanged = self.ENDS
        lines = report.notice(Outcome((unchanged, changed, unchanged))).splitlines()
        assert changed.synced is not None
        assert lines == [
            report.headline(changed.synced),
            "2 of 3 environments are up to date, nothing was written there",
        ]

    def test_a_notice_is_never_longer_than_the_runner_shows(self) -> None:
        changed = self.ENDS[0]
        text = report.notice(Outcome((changed,) * 500))
        shown = text.splitlines()
        assert 3_900 < len(text) < 4_096
        assert shown[-1] == f"and {500 - len(shown) + 1} more"

    def test_the_summary_of_a_failure_names_it_first(self) -> None:
        ends = (*self.ENDS, self.BROKEN)
        error = app._failure(ends)
        text = report.summary(Outcome(ends, error=error))
        assert text.startswith(
            "## ❌ Environments could not be synced\n\n1 of 3 environments could not be synced: acme/default/three.\n"
            "- acme/default/three: It"
        )
        assert rows(text)["acme/default/three"] == "❌ failed | 5"
        assert "Deploy" not in text

    def test_of_many_that_failed_an_annotation_names_all(self) -> None:
        failed = [
            (f"acme/default/environment-{number}", EscError("It broke. " * 20, "Mend it.")) for number in range(99)
        ]
        shown = str(SeveralError(failed, 100, others=""))[:4_096]
        assert [name for name, _ in failed if name not in shown] == []

    def test_where_the_run_ended_before_it_each_tells_its_own_state(self) -> None:
        ends = [Ended(f"acme/default/{number}") for number in range(1_344)]
        outcome = Outcome(
            tuple(ends), error=EndedBySignalError("SIGTERM ended the run. " + "x" * 5_000, "Run again.", 15)
        )
        outcome = outcome.with_state("acme/default/7", 3, "Revision 3 was saved.")
        outcome = outcome.with_state("acme/default/8", None, "Nothing was written.")
        told = json.loads(report.outputs(outcome)["environments"])
        assert told[7]["error"] == "A signal ended the run. Revision 3 was saved."
        assert told[8]["error"] == "A signal ended the run. Nothing was written."
        assert rows(report.summary(outcome))["acme/default/7"] == "not verified | 3"
        assert rows(report.summary(outcome))["acme/default/8"] == "not done | "

    def test_the_outputs_are_of_all_and_the_revisions_of_the_first(self) -> None:
        outputs = report.outputs(Outcome(self.ENDS))
        assert (outputs["result"], outputs["revision"], outputs["previous-revision"]) == ("synced", "8", "7")
        assert json.loads(outputs["changed-keys"]) == list(PLAN.changed_keys)
        found = json.loads(outputs["environments"])
        assert [each["environment"] for each in found] == ["acme/default/one", "acme/default/two"]
        assert [each["result"] for each in found] == ["synced", "unchanged"]

    def test_the_result_of_all_is_unchanged_only_if_nothing_was_written(self) -> None:
        assert report.outputs(Outcome((self.ENDS[1], self.ENDS[1])))["result"] == "unchanged"

    def test_there_is_no_result_of_all_where_one_failed(self) -> None:
        ends = (*self.ENDS, self.BROKEN)
        outputs = report.outputs(Outcome(ends, error=app._failure(ends)))
        assert "result" not in outputs
        found = json.loads(outputs["environments"])
        assert [each["error"] for each in found] == [None, None, "It failed."]
        assert found[2]["revision"] == 5

    def test_those_that_a_signal_ended_have_its_error(self) -> None:
        error = EndedBySignalError("SIGTERM ended the run.", "Run again.", 15)
        outputs = report.outputs(Outcome((self.ENDS[0], Ended("acme/default/two")), error=error))
        assert [each["error"] for each in json.loads(outputs["environments"])] == [None, "SIGTERM ended the run."]
