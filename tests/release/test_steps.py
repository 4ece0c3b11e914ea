"""The steps of a release, in order and repeated, against a real remote repository."""

from __future__ import annotations

import pytest
import yaml

from tests.release.project import VERSION, Project, git


class TestCheck:
    def test_the_version_is_the_tags_and_the_notes_are_the_changelogs(self, project: Project) -> None:
        done = project.check()
        assert done.code == 0, done.log
        assert done.outputs == {
            "version": "1.2.0",
            "tag": "v1.2.0",
            "prerelease": "false",
            "image": "",
            "server_image": "",
            "notes": "- 1.2.0!",
            "repository": "ghcr.io/ai-cherry/sentry-esc-sync",
            "server_repository": "ghcr.io/ai-cherry/sentry-mcp",
        }

    def test_a_prerelease_is_told(self, project: Project) -> None:
        done = project.check(project.prepare("1.3.0-rc.1"))
        assert (done.code, done.outputs["prerelease"], done.outputs["tag"]) == (0, "true", "v1.3.0-rc.1")

    def test_of_a_version_that_is_released_the_images_are_told(self, project: Project) -> None:
        assert project.tag().code == 0
        done = project.check()
        assert done.code == 0, done.log
        assert (done.outputs["image"], done.outputs["server_image"]) == project.images()

    def test_nothing_is_pushed(self, project: Project) -> None:
        before = git(project.remote, "for-each-ref")
        project.check()
        assert git(project.remote, "for-each-ref") == before


class TestTag:
    def test_the_release_commit_is_the_source_with_both_images_by_digest(self, project: Project) -> None:
        image, server = project.images()
        done = project.tag()
        assert done.code == 0, done.log
        commit = project.refs()[f"v{VERSION}"]
        assert done.outputs == {"commit": commit}
        assert git(project.remote, "rev-parse", f"{commit}^@") == project.source
        changed = git(project.remote, "diff", "--name-only", project.source, commit).splitlines()
        assert "action.yml" in changed
        assert changed[-1] == "docker-compose.sentry.yml"
        assert not [path for path in changed if path.startswith(".github/")], "GitHub lets no workflow push those"
        lines = git(project.remote, "diff", "--numstat", project.source, commit).splitlines()
        assert {tuple(line.split("\t")[:2]) for line in lines} == {("1", "1")}
        for path in changed[:-1]:
            before = yaml.safe_load(git(project.remote, "show", f"{project.source}:{path}"))
            after = yaml.safe_load(git(project.remote, "show", f"{commit}:{path}"))
            assert after["runs"]["image"] == f"docker://{image}"
            assert {**after, "runs": {**after["runs"], "image": before["runs"]["image"]}} == before
        compose = yaml.safe_load(git(project.remote, "show", f"{commit}:docker-compose.sentry.yml"))
        assert compose["services"]["sentry-mcp"]["image"] == f"${{SENTRY_MCP_IMAGE:-{server}}}"

    def test_it_isnt_on_main_and_no_other_tag_is_touched(self, project: Project) -> None:
        assert project.tag().code == 0
        assert git(project.remote, "rev-parse", "main") == project.source
        assert list(project.refs()) == [f"v{VERSION}"]

    def test_again_it_is_the_same_commit(self, project: Project) -> None:
        first = project.tag()
        again = project.tag()
        assert (again.code, again.outputs) == (0, first.outputs)
        assert "already" in again.log


class TestMove:
    def test_v1_is_the_release_then(self, project: Project) -> None:
        project.tag()
        done = project.move()
        assert (done.code, done.outputs) == (0, {"moved": "true"})
        assert project.refs()["v1"] == project.refs()[f"v{VERSION}"]

    def test_again_nothing_happens(self, project: Project) -> None:
        project.release()
        before = project.refs()
        done = project.move()
        assert (done.code, done.outputs) == (0, {"moved": "false"})
        assert project.refs() == before

    def test_it_moves_on_with_the_next_release(self, project: Project) -> None:
        project.release()
        project.prepare("1.10.0")
        project.release("1.10.0")
        refs = project.refs()
        assert set(refs) == {"v1", "v1.2.0", "v1.10.0"}
        assert refs["v1"] == refs["v1.10.0"]

    def test_it_never_goes_back(self, project: Project) -> None:
        first = project.source
        project.prepare("1.10.0")
        project.release("1.10.0")
        git(project.clone, "checkout", "--quiet", first)
        project.tag()
        done = project.move()
        assert (done.code, done.outputs) == (0, {"moved": "false"})
        assert "v1.10.0, which is newer" in done.log
        assert project.refs()["v1"] == project.refs()["v1.10.0"]

    def test_a_prerelease_moves_nothing(self, project: Project) -> None:
        project.release()
        v1 = project.refs()["v1"]
        project.prepare("1.3.0-rc.1")
        project.release("1.3.0-rc.1")
        assert project.refs()["v1"] == v1
        assert "v1.3.0-rc.1" in project.refs()

    def test_the_next_major_version_has_a_tag_of_its_own(self, project: Project) -> None:
        project.release()
        v1 = project.refs()["v1"]
        project.prepare("2.0.0")
        project.release("2.0.0")
        refs = project.refs()
        assert (refs["v1"], refs["v2"]) == (v1, refs["v2.0.0"])

    @pytest.mark.parametrize("kind", ["--annotate", "--no-sign"])
    def test_a_v1_that_somebody_set_by_hand_to_a_release_moves_on(self, project: Project, kind: str) -> None:
        project.release()
        author = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.com", "-c", "tag.gpgsign=false")
        options = ("--force", kind, *(("--message", "by hand") if kind == "--annotate" else ()))
        git(project.remote, *author, "tag", *options, "v1", f"v{VERSION}")
        project.prepare("1.3.0")
        project.release("1.3.0")
        assert project.refs()["v1"] == project.refs()["v1.3.0"]
