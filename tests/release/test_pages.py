"""The commands of docs/maintainers/release.md and docs/security.md, as a maintainer and a user type them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from tests.release.project import VERSION, Project, git
from tests.support.docker_engine import ROOT


def commands(page: str) -> str:
    """Return the only block of commands of a page."""
    [block] = re.findall(r"^ *```sh\n(.*?)^ *```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return str(block)


def run(code: str, folder: Path, programs: Path | None = None) -> None:
    path = os.pathsep.join([*([str(programs)] if programs else []), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=folder, env={**os.environ, "PATH": path}, check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_maintainers_tag_is_one_that_can_be_released(project: Project) -> None:
    project.prepare("1.2.3")
    for folder in (project.clone, project.remote):
        git(folder, "tag", "--delete", "release-1.2.3")
    run(commands("docs/maintainers/release.md"), project.clone)
    assert git(project.remote, "rev-parse", "release-1.2.3") == project.source
    done = project.check("release-1.2.3")
    assert (done.code, done.outputs["version"]) == (0, "1.2.3")


def test_a_user_verifies_the_image_that_v1_names(project: Project, tmp_path: Path) -> None:
    project.release()
    image = re.search(r"docker://(\S+)", git(project.remote, "show", f"v{VERSION}:action.yml"))
    assert image
    programs, asked = tmp_path / "bin", tmp_path / "asked"
    programs.mkdir()
    # Stand-ins for GitHub's and Docker's CLIs. They record their arguments.
    (programs / "gh").write_text(
        "#!/bin/sh\n"
        f'case $1 in api) git -C {shlex.quote(str(project.remote))} show "${{4##*ref=}}:action.yml" ;;\n'
        f'attestation) echo "$@" >>{shlex.quote(str(asked))} ;;\nesac\n',
        encoding="utf-8",
    )
    (programs / "docker").write_text(f'#!/bin/sh\necho "$@" >>{shlex.quote(str(asked))}\n', encoding="utf-8")
    for file in programs.iterdir():
        file.chmod(0o755)
    run(commands("docs/security.md"), tmp_path, programs)
    attested, sbom, provenance = asked.read_text(encoding="utf-8").splitlines()
    assert attested.startswith(f"attestation verify oci://{image[1]} --repo ai-cherry/sentry-esc-sync ")
    assert "--signer-workflow ai-cherry/sentry-esc-sync/.github/workflows/release.yml" in attested
    for line, what in ((sbom, "SBOM"), (provenance, "Provenance")):
        assert line == f"buildx imagetools inspect {image[1]} --format {{{{ json .{what} }}}}"
