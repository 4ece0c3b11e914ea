"""Whatever fails during a release, `v1` stays where it was, and what was pushed already does no harm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.program import Result
from tests.release.conftest import NEXT
from tests.release.project import Project, git


@pytest.fixture
def ready(released_once: Project, tmp_path: Path) -> Iterator[Project]:
    """Yield a repository with a release and a commit ready for the next. Check that `v1` stays where it was."""
    project = released_once.copy(tmp_path / "project")
    before = project.refs()["v1"]
    yield project
    assert project.refs()["v1"] == before
    assert git(project.remote, "rev-parse", "main") == git(project.clone, "rev-parse", "main")


def refused(done: Result, code: int, *words: str) -> None:
    assert done.code == code, done.log
    for word in words:
        assert word in done.error


class TestWhatIsNotFitForARelease:
    """The release ends at its first step: nothing is built or pushed."""

    @pytest.fixture(autouse=True)
    def nothing_else_is_tagged(self, ready: Project) -> Iterator[None]:
        before = ready.refs()
        yield
        assert ready.refs() == before

    def check(self, ready: Project, *words: str, tag: str = f"release-{NEXT}") -> None:
        refused(ready.check(tag), 2, *words)

    @pytest.mark.parametrize(
        ("heading", "words"),
        [
            ("", "CHANGELOG.md has no section ## [1.3.0]"),
            (f"## [{NEXT}]\n\n- Something.", "CHANGELOG.md gives no date for [1.3.0]"),
            (f"## [{NEXT}] - 2026-02-30\n\n- Something.", "CHANGELOG.md gives no date for [1.3.0]"),
            (f"## [{NEXT}] - 2026-11-24\n\n### Added\n", "CHANGELOG.md lists nothing under [1.3.0]"),
        ],
    )
    def test_a_version_of_which_the_changelog_tells_nothing(self, ready: Project, heading: str, words: str) -> None:
        ready.edit("CHANGELOG.md", rf"^## \[{NEXT}\].*\n\n- .*\n", f"{heading}\n")
        ready.commit(NEXT)
        self.check(ready, words)

    def test_a_package_of_another_version(self, ready: Project) -> None:
        ready.edit("pyproject.toml", r'^version = ".*"', 'version = "1.2.9"')
        ready.commit(NEXT)
        self.check(ready, "pyproject.toml says version 1.2.9, but the tag says 1.3.0")

    def test_code_of_another_version(self, ready: Project) -> None:
        ready.edit("sophia_sync/__init__.py", r'^__version__ = ".*"', '__version__ = "1.2.9"')
        ready.commit(NEXT)
        self.check(ready, "sophia_sync.__version__ says version 1.2.9, but the tag says 1.3.0")

    def test_a_commit_that_isnt_on_main(self, ready: Project) -> None:
        git(ready.clone, "update-ref", "refs/remotes/origin/main", "main~1")
        self.check(ready, "isn't on main")

    def test_another_commit_than_the_tags(self, ready: Project) -> None:
        git(ready.clone, "tag", "--force", f"release-{NEXT}", "main~1")
        self.check(ready, f"The tag release-{NEXT} isn't on the commit")

    def test_changes_that_arent_committed(self, ready: Project) -> None:
        ready.edit("README.md", r"^# .*", "# Something else")
        self.check(ready, "changes that aren't committed")

    def test_a_tag_that_is_no_version(self, ready: Project) -> None:
        self.check(ready, "`--tag` must be of the form", tag="v1.3.0")


class TestTheTag:
    def test_an_image_by_a_tag(self, ready: Project) -> None:
        image, server = ready.images(NEXT)
        by_tag = image.replace("@sha256:", ":")
        refused(ready.tag(NEXT, (by_tag, server)), 2, "isn't of the form NAME@sha256")

    def test_a_remote_that_refuses_it(self, ready: Project) -> None:
        ready.hook("update", f'[ "$1" != refs/tags/v{NEXT} ] || {{ echo "no such tags here" >&2; exit 1; }}')
        refused(ready.tag(NEXT), 4, "`git push", "no such tags here")
        assert f"v{NEXT}" not in ready.refs()

    def test_a_remote_that_is_not_there(self, ready: Project) -> None:
        done = ready.run("move", "--version", NEXT, "--remote", str(ready.folder / "nowhere"))
        refused(done, 4, "`git ls-remote")

    def test_a_version_that_is_released_already_with_another_image(self, ready: Project) -> None:
        assert ready.tag(NEXT).code == 0
        before = ready.refs()
        refused(ready.tag(NEXT, ready.images("another build")), 5, f"v{NEXT} stands for {before[f'v{NEXT}']}")
        assert ready.refs() == before

    def test_a_version_that_is_released_already_out_of_another_commit(self, ready: Project) -> None:
        assert ready.tag(NEXT).code == 0
        ready.edit("README.md", r"^# .*", "# Something else")
        ready.commit(NEXT)
        for done in (ready.check(f"release-{NEXT}"), ready.move(NEXT)):
            refused(done, 5, f"v{NEXT} stands for", "give this one another number")

    def test_a_tag_that_somebody_put_on_the_source_itself(self, ready: Project) -> None:
        git(ready.remote, "tag", f"v{NEXT}", "main")
        for done in (ready.check(f"release-{NEXT}"), ready.move(NEXT)):
            refused(done, 5, f"v{NEXT} stands for")

    def test_an_action_that_names_no_dockerfile(self, ready: Project) -> None:
        ready.edit("action.yml", r"^  image: Dockerfile$", "  image: docker://somebody/else")
        ready.commit(NEXT)
        refused(ready.tag(NEXT), 5, "action.yml doesn't name the image of main once")
        assert f"v{NEXT}" not in ready.refs()


class TestTheMove:
    def test_before_the_release_commit_is_tagged(self, ready: Project) -> None:
        refused(ready.move(NEXT), 5, f"There is no v{NEXT}")

    def test_a_remote_that_refuses_it(self, ready: Project) -> None:
        assert ready.tag(NEXT).code == 0
        ready.hook("pre-receive", 'while read -r _ _ ref; do [ "$ref" != refs/tags/v1 ] || exit 1; done')
        refused(ready.move(NEXT), 4, "`git push", "pre-receive hook declined")
        (ready.remote / "hooks" / "pre-receive").unlink()


@pytest.mark.parametrize("moment", ["post-index-change", "pre-push"])
def test_of_two_that_move_v1_at_once_the_later_one_is_refused(project: Project, moment: str) -> None:
    """Somebody else moves `v1` after we have read it, before or during our push. Their change stays."""
    assert project.tag().code == 0
    theirs = git(project.remote, "rev-parse", "main")
    # Git runs this hook of the clone at that moment. The first is when the release commit is rebuilt for comparison.
    script = f"git -C {project.remote} update-ref refs/tags/v1 {theirs}"
    project.hook(moment, script, of=project.clone / ".git")
    refused(project.move(), 4, "`git push")
    assert project.refs()["v1"] == theirs


def test_a_v1_that_is_no_release_is_left_to_a_person(project: Project) -> None:
    git(project.remote, "tag", "v1", "main")
    assert project.tag().code == 0
    before = project.refs()
    refused(project.move(), 5, "v1 stands for", "which is no release")
    assert project.refs() == before
