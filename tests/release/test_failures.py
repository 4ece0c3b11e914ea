"""Whatever fails on the way of a release, `v1` stays where it was, and what was pushed already harms nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from release.registry import DOCKER_INDEX, OCI_INDEX, index_of
from tests.deploy.program import Result
from tests.release.project import BASES, PYTHON, VERSION, Project, as_content, git

NEXT = "1.3.0"
NOBODY = "127.0.0.1:1/ai-cherry/sentry-esc-sync"


@pytest.fixture
def project(unreleased: Project) -> Iterator[Project]:
    """A repository with one release and a commit that is ready for the next; at the end `v1` is where it was."""
    project = unreleased
    project.seem_released()
    project.prepare(NEXT)
    before = project.refs()["v1"]
    yield project
    assert project.refs()["v1"] == before
    assert git(project.remote, "rev-parse", "main") == git(project.clone, "rev-parse", "main")


def refused(done: Result, code: int, *words: str) -> None:
    assert done.code == code, done.log
    for word in words:
        assert word in done.error


class TestWhatIsNotFitForARelease:
    """It ends at the first step: nothing is built or pushed."""

    @pytest.fixture(autouse=True)
    def nothing_else_is_tagged(self, project: Project) -> Iterator[None]:
        before = project.refs()
        yield
        assert project.refs() == before

    def check(self, project: Project, *words: str, tag: str = f"release-{NEXT}") -> None:
        refused(project.run("check", "--tag", tag), 2, *words)

    @pytest.mark.parametrize(
        ("heading", "words"),
        [
            ("", "CHANGELOG.md has no section ## [1.3.0]"),
            (f"## [{NEXT}]\n\n- Something.", "CHANGELOG.md gives no date for [1.3.0]"),
            (f"## [{NEXT}] - 2026-02-30\n\n- Something.", "CHANGELOG.md gives no date for [1.3.0]"),
            (f"## [{NEXT}] - 2026-11-24\n\n### Added\n", "CHANGELOG.md lists nothing under [1.3.0]"),
        ],
    )
    def test_a_version_of_which_the_changelog_tells_nothing(self, project: Project, heading: str, words: str) -> None:
        project.edit("CHANGELOG.md", rf"^## \[{NEXT}\].*\n\n- .*\n", f"{heading}\n")
        project.commit(NEXT)
        self.check(project, words)

    def test_a_package_of_another_version(self, project: Project) -> None:
        project.edit("pyproject.toml", r'^version = ".*"', 'version = "1.2.9"')
        project.commit(NEXT)
        self.check(project, "pyproject.toml says version 1.2.9, but the tag says 1.3.0")

    def test_code_of_another_version(self, project: Project) -> None:
        project.edit("sophia_sync/__init__.py", r'^__version__ = ".*"', '__version__ = "1.2.9"')
        project.commit(NEXT)
        self.check(project, "sophia_sync.__version__ says version 1.2.9, but the tag says 1.3.0")

    def test_a_commit_that_isnt_on_main(self, project: Project) -> None:
        git(project.clone, "update-ref", "refs/remotes/origin/main", "main~1")
        self.check(project, "isn't on main")

    def test_another_commit_than_the_tags(self, project: Project) -> None:
        git(project.clone, "tag", "--force", f"release-{NEXT}", "main~1")
        self.check(project, f"The tag release-{NEXT} isn't on the commit")

    def test_changes_that_arent_committed(self, project: Project) -> None:
        project.edit("README.md", r"^# .*", "# Something else")
        self.check(project, "changes that aren't committed")

    @pytest.mark.parametrize("tag", ["v1.3.0", "release-1.3", "release-01.3.0", "release-1.3.0+mine", "release-latest"])
    def test_a_tag_that_is_no_version(self, project: Project, tag: str) -> None:
        self.check(project, "`--tag` must be of the form", tag=tag)


class TestTheImage:
    def test_a_registry_that_is_not_there(self, project: Project) -> None:
        digest = project.push_image("linux/amd64", version=NEXT)
        options = ("--version", NEXT, "--to", NOBODY, "--bases", json.dumps(BASES), "--sboms", str(project.folder))
        manifests = [f"--manifest={platform}={digest}" for platform in ("linux/amd64", "linux/arm64")]
        refused(project.run("index", *options, *manifests), 4, "can't be reached")
        refused(project.tag(f"{NOBODY}@{digest}", NEXT), 4, "can't be reached")

    def test_a_digest_that_was_never_pushed(self, project: Project) -> None:
        refused(project.index(NEXT, amd64=f"sha256:{'0' * 64}"), 5, f"has no sha256:{'0' * 64}")

    def test_an_image_for_another_platform(self, project: Project) -> None:
        arm64 = project.push_image("linux/arm64", version=NEXT)
        refused(project.index(NEXT, amd64=arm64), 5, "has the platform linux/arm64, not linux/amd64")

    @pytest.mark.parametrize(
        ("label", "value"), [("version", "1.2.9"), ("revision", "0" * 40), ("base.digest", f"sha256:{'3' * 64}")]
    )
    def test_an_image_out_of_another_source(self, project: Project, label: str, value: str) -> None:
        other = project.push_image("linux/arm64", **{"version": NEXT, label: value})
        refused(project.index(NEXT, arm64=other), 5, label, value)

    def test_a_platform_that_is_missing(self, project: Project) -> None:
        amd64 = project.push_image("linux/amd64", version=NEXT)
        options = ("--version", NEXT, "--to", project.repository, "--bases", json.dumps(BASES))
        done = project.run("index", *options, "--sboms", str(project.folder), f"--manifest=linux/amd64={amd64}")
        refused(done, 2, "for each of linux/amd64, linux/arm64")

    def test_a_base_image_of_which_no_digest_is_known(self, project: Project) -> None:
        platform = ("--version", NEXT, "--platform", "linux/amd64")
        some = {name: digest for name, digest in BASES.items() if name != PYTHON}
        refused(project.run("build", *platform, "--bases", json.dumps(some)), 2, f"no digest of {PYTHON}")

    def test_an_image_without_an_sbom(self, project: Project) -> None:
        pushed = project.images.manifest(project.push_image("linux/amd64", version=NEXT))
        bare = as_content(pushed.media_type, {**pushed.json, "annotations": {"with": "nothing attached"}})
        project.images.put_manifest(bare)
        refused(project.index(NEXT, amd64=bare.digest), 5, "has 0 SBOMs, not one")


class TestTheTag:
    def test_an_image_with_nothing_attached(self, project: Project) -> None:
        manifests = [project.images.manifest(project.push_image("linux/amd64", version=NEXT))]
        index = index_of(
            [each.descriptor(platform={"os": "linux", "architecture": "amd64"}) for each in manifests], DOCKER_INDEX
        )
        project.images.put_manifest(index)
        done = project.tag(f"{project.repository}@{index.digest}", NEXT)
        refused(done, 5, "lacks linux/arm64, the SBOM for linux/amd64, the SBOM for linux/arm64, the provenance")
        assert f"v{NEXT}" not in project.refs()

    def test_an_image_whose_sboms_are_gone(self, project: Project) -> None:
        image = project.pushed(NEXT)
        digest = image.partition("@")[2]
        project.images.put_manifest(index_of([], OCI_INDEX), digest.replace(":", "-"))
        refused(project.tag(image, NEXT), 5, "lacks the SBOM for linux/amd64")
        assert f"v{NEXT}" not in project.refs()

    def test_an_image_by_a_tag(self, project: Project) -> None:
        refused(project.tag(f"{project.repository}:{NEXT}", NEXT), 2, "`--image` isn't of the form")

    def test_a_remote_that_refuses_it(self, project: Project) -> None:
        image = project.pushed(NEXT)
        project.hook("update", f'[ "$1" != refs/tags/v{NEXT} ] || {{ echo "no such tags here" >&2; exit 1; }}')
        refused(project.tag(image, NEXT), 4, "`git push` failed", "no such tags here")
        assert f"v{NEXT}" not in project.refs()

    def test_a_remote_that_is_not_there(self, project: Project) -> None:
        image = project.pushed(NEXT)
        done = project.run("tag", "--version", NEXT, "--image", image, "--remote", str(project.folder / "nowhere"))
        refused(done, 4, "`git ls-remote` failed")

    def test_a_version_that_is_released_already_with_another_image(self, project: Project) -> None:
        assert project.tag(project.pushed(NEXT), NEXT).code == 0
        before = project.refs()
        other = project.index(NEXT, amd64=project.push_image("linux/amd64", version=NEXT, title="built again"))
        assert other.code == 0, other.log
        refused(project.tag(other.outputs["image"], NEXT), 5, f"v{NEXT} stands for {before[f'v{NEXT}']}")
        assert project.refs() == before

    def test_a_version_that_is_released_already_out_of_another_commit(self, project: Project) -> None:
        assert project.tag(project.pushed(NEXT), NEXT).code == 0
        project.edit("README.md", r"^# .*", "# Something else")
        project.commit(NEXT)
        for done in (project.run("check", "--tag", f"release-{NEXT}"), project.move(NEXT)):
            refused(done, 5, f"v{NEXT} stands for", "give this one another number")

    def test_a_tag_that_somebody_put_on_the_source_itself(self, project: Project) -> None:
        git(project.remote, "tag", f"v{NEXT}", "main")
        for done in (project.run("check", "--tag", f"release-{NEXT}"), project.move(NEXT)):
            refused(done, 5, f"v{NEXT} stands for")

    def test_an_action_that_names_no_dockerfile(self, project: Project) -> None:
        image = project.pushed(NEXT)
        project.edit("action.yml", r"^  image: Dockerfile$", "  image: docker://somebody/else")
        project.commit(NEXT)
        refused(project.tag(image, NEXT), 5, "An action.yml doesn't name the Dockerfile as its image once")
        assert f"v{NEXT}" not in project.refs()


class TestTheMove:
    def test_before_the_release_commit_is_tagged(self, project: Project) -> None:
        project.pushed(NEXT)
        refused(project.move(NEXT), 5, f"There is no v{NEXT}")

    def test_a_remote_that_refuses_it(self, project: Project) -> None:
        assert project.tag(project.pushed(NEXT), NEXT).code == 0
        project.hook("pre-receive", 'while read -r _ _ ref; do [ "$ref" != refs/tags/v1 ] || exit 1; done')
        refused(project.move(NEXT), 4, "`git push` failed", "pre-receive hook declined")
        (project.remote / "hooks" / "pre-receive").unlink()

    def test_an_image_that_is_gone_from_the_registry(self, project: Project) -> None:
        image = project.pushed(NEXT)
        assert project.tag(image, NEXT).code == 0
        digest = image.partition("@")[2]
        project.images.put_manifest(index_of([], OCI_INDEX), digest.replace(":", "-"))
        refused(project.move(NEXT), 5, "lacks the SBOM for linux/amd64")


@pytest.mark.parametrize("moment", ["post-index-change", "pre-push"])
def test_of_two_that_move_v1_at_once_the_later_one_is_refused(unreleased: Project, moment: str) -> None:
    """Somebody else moves `v1` after our look at it, before our push or in the midst of it: what they did stays."""
    assert unreleased.tag(unreleased.pushed(), VERSION).code == 0
    theirs = git(unreleased.remote, "rev-parse", "main")
    # A hook of the clone's that Git runs at that moment: when the release commit is made anew, to be compared.
    script = f"git -C {unreleased.remote} update-ref refs/tags/v1 {theirs}"
    unreleased.hook(moment, script, of=unreleased.clone / ".git")
    refused(unreleased.move(), 4, "`git push` failed")
    assert unreleased.refs()["v1"] == theirs


def test_a_v1_that_is_no_release_is_left_to_a_person(unreleased: Project) -> None:
    git(unreleased.remote, "tag", "v1", "main")
    assert unreleased.tag(unreleased.pushed(), VERSION).code == 0
    before = unreleased.refs()
    refused(unreleased.move(), 5, "v1 stands for", "which is no release")
    assert unreleased.refs() == before
