"""The steps of a release, one after the other and again, against a real remote repository and a real registry."""

from __future__ import annotations

import json

import pytest
import yaml

from release.settings import PLATFORMS
from tests.release.project import BASES, VERSION, Project, git


@pytest.fixture
def project(unreleased: Project) -> Project:
    return unreleased


def sboms_and_provenance(project: Project, image: str) -> list[tuple[str, str]]:
    attached = project.images.referrers(image.partition("@")[2])
    return sorted((each["artifactType"], each["annotations"].get("platform", "")) for each in attached)


class TestCheck:
    def test_the_version_is_the_tags_and_the_notes_are_the_changelogs(self, project: Project) -> None:
        done = project.run("check", "--tag", "release-1.2.0")
        assert done.code == 0, done.log
        expected = {"version": "1.2.0", "tag": "v1.2.0", "prerelease": "false", "image": "", "notes": "- 1.2.0!"}
        assert done.outputs == expected

    def test_a_prerelease_is_told(self, project: Project) -> None:
        done = project.run("check", "--tag", project.prepare("1.3.0-rc.1"))
        assert (done.code, done.outputs["prerelease"], done.outputs["tag"]) == (0, "true", "v1.3.0-rc.1")

    def test_of_a_version_that_is_released_the_image_is_told(self, project: Project) -> None:
        image = project.pushed()
        assert project.tag(image).code == 0
        done = project.run("check", "--tag", f"release-{VERSION}")
        assert (done.code, done.outputs["image"]) == (0, image)

    def test_nothing_is_pushed(self, project: Project) -> None:
        before = git(project.remote, "for-each-ref")
        project.run("check", "--tag", f"release-{VERSION}")
        assert git(project.remote, "for-each-ref") == before


class TestIndex:
    def test_it_has_all_platforms_under_one_digest(self, project: Project) -> None:
        digests = {platform: project.push_image(platform) for platform in PLATFORMS}
        done = project.index(amd64=digests["linux/amd64"], arm64=digests["linux/arm64"])
        assert done.code == 0, done.log
        assert done.outputs["image"] == f"{project.repository}@{done.outputs['digest']}"
        index = project.images.manifest(done.outputs["digest"]).json
        assert [(each["platform"], each["digest"]) for each in index["manifests"]] == [
            ({"os": "linux", "architecture": "amd64"}, digests["linux/amd64"]),
            ({"os": "linux", "architecture": "arm64"}, digests["linux/arm64"]),
        ]
        assert project.images.manifest(VERSION).digest == done.outputs["digest"]

    def test_an_sbom_for_each_platform_and_the_provenance_are_attached(self, project: Project) -> None:
        image = project.pushed()
        assert sboms_and_provenance(project, image) == [
            ("application/vnd.cyclonedx+json", "linux/amd64"),
            ("application/vnd.cyclonedx+json", "linux/arm64"),
            ("application/vnd.in-toto+json", ""),
        ]
        for platform in PLATFORMS:
            written = (project.folder / "sboms" / f"{platform.replace('/', '-')}.cdx.json").read_text()
            assert json.loads(written)["of"] == platform

    def test_the_provenance_names_the_source_and_the_base_images(self, project: Project) -> None:
        digest = project.pushed().partition("@")[2]
        [entry] = [each for each in project.images.referrers(digest) if "in-toto" in each["artifactType"]]
        manifest = project.images.manifest(entry["digest"]).json
        assert manifest["subject"]["digest"] == digest
        statement = project.images.blob(manifest["layers"][0]["digest"]).json
        assert statement["subject"] == [{"name": project.repository, "digest": {"sha256": digest[7:]}}]
        dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
        assert {"uri": "git+https://github.com/ai-cherry/sentry-esc-sync", "digest": {"gitCommit": project.source}} in (
            dependencies
        )
        for image, base in BASES.items():
            assert {"uri": f"docker://{image}", "digest": {"sha256": base[7:]}} in dependencies

    def test_again_it_is_the_same(self, project: Project) -> None:
        image = project.pushed()
        attached = sboms_and_provenance(project, image)
        assert project.pushed() == image
        assert sboms_and_provenance(project, image) == attached


class TestTag:
    def test_the_release_commit_is_the_source_with_the_image_by_digest(self, project: Project) -> None:
        image = project.pushed()
        done = project.tag(image)
        assert done.code == 0, done.log
        commit = project.refs()[f"v{VERSION}"]
        assert done.outputs == {"commit": commit}
        assert git(project.remote, "rev-parse", f"{commit}^@") == project.source
        changed = git(project.remote, "diff", "--name-only", project.source, commit).splitlines()
        assert changed == ["action.yml"]
        lines = git(project.remote, "diff", "--numstat", project.source, commit).splitlines()
        assert [line.split("\t")[:2] for line in lines] == [["1", "1"]]
        for path in changed:
            before = yaml.safe_load(git(project.remote, "show", f"{project.source}:{path}"))
            after = yaml.safe_load(git(project.remote, "show", f"{commit}:{path}"))
            assert after["runs"]["image"] == f"docker://{image}"
            assert {**after, "runs": {**after["runs"], "image": before["runs"]["image"]}} == before

    def test_it_isnt_on_main_and_no_other_tag_is_touched(self, project: Project) -> None:
        assert project.tag(project.pushed()).code == 0
        assert git(project.remote, "rev-parse", "main") == project.source
        assert list(project.refs()) == [f"v{VERSION}"]

    def test_again_it_is_the_same_commit(self, project: Project) -> None:
        image = project.pushed()
        first = project.tag(image)
        again = project.tag(image)
        assert (again.code, again.outputs) == (0, first.outputs)
        assert "already" in again.log


class TestMove:
    def test_v1_is_the_release_then(self, project: Project) -> None:
        project.tag(project.pushed())
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
        project.tag(project.pushed())
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
