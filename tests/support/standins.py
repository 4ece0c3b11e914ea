"""Stand-ins for the actions that a release uses: the same inputs and outputs, on this machine's Docker engine.

Each input exists in the version that the workflow pins; see the `action.yml` of that version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

HEAD = """\
set -eu
digest_of() { docker push "$1" | sed -n 's/.*digest: \\(sha256:[0-9a-f]*\\).*/\\1/p'; }
"""


@dataclass(frozen=True)
class StandIn:
    """A composite action.

    Args:
        inputs: The names of the inputs that the real action has, as far as the workflow uses them.
        script: The shell script that it runs; each input is a variable in upper case, with `_` for `-`.
        outputs: The names of its outputs.
    """

    inputs: tuple[str, ...]
    script: str = "true"
    outputs: tuple[str, ...] = field(default=())


ACTIONS: Mapping[str, StandIn] = {
    "docker/setup-qemu-action": StandIn(("image", "platforms", "cache-image")),
    "docker/setup-buildx-action": StandIn(("cache-binary", "driver-opts")),
    "docker/login-action": StandIn(("registry", "username", "password"), 'test -n "$REGISTRY$USERNAME$PASSWORD"'),
    "docker/metadata-action": StandIn(
        ("images", "tags", "flavor", "labels"),
        'echo "tags=$IMAGES:${TAGS##*value=}" >>"$GITHUB_OUTPUT"\n'
        'echo "labels=org.opencontainers.image.revision=$GITHUB_SHA" >>"$GITHUB_OUTPUT"',
        ("tags", "labels"),
    ),
    "docker/build-push-action": StandIn(
        ("context", "file", "platforms", "outputs", "no-cache", "provenance", "sbom", "tags", "labels"),
        # Another test covers the build itself. This image's label shows which file was asked for.
        'test "$OUTPUTS" = "type=image,push=true,compression-level=9"\n'
        'test "${SBOM%%=*} $PROVENANCE" = "generator mode=max"\n'
        'printf \'FROM %s\\nLABEL built-from=%s\\nENTRYPOINT ["python3", "-c", ""]\\n\' "$BASE" \\\n'
        '    "${FILE:-Dockerfile}" | docker build --quiet --label "$LABELS" --tag "$TAGS" -\n'
        'echo "digest=$(digest_of "$TAGS")" >>"$GITHUB_OUTPUT"',
        ("digest",),
    ),
    "actions/attest": StandIn(
        ("subject-name", "subject-digest", "push-to-registry", "create-storage-record"),
        'echo "attested $SUBJECT_NAME@$SUBJECT_DIGEST" >>"$RECORD"',
    ),
    "actions/upload-artifact": StandIn(
        ("name", "path", "if-no-files-found", "retention-days"), 'mkdir -p "$SHARED"; cp -r "$PATH_" "$SHARED/$NAME"'
    ),
    "actions/download-artifact": StandIn(("name", "path"), 'mkdir -p "$PATH_"; cp -r "$SHARED/$NAME/." "$PATH_"'),
    "pypa/gh-action-pypi-publish": StandIn(
        ("skip-existing", "packages-dir"), 'for file in dist/*; do echo "published ${file#dist/}" >>"$RECORD"; done'
    ),
}


def write(folder: Path, environ: Mapping[str, str]) -> dict[str, Path]:
    """Write all stand-ins; return their folders by the actions' names.

    Args:
        folder: The folder to write to.
        environ: Further variables of the scripts.
    """
    found = {}
    for name, action in ACTIONS.items():
        found[name] = folder / name.replace("/", "-")
        found[name].mkdir(parents=True)
        (found[name] / "action.yml").write_text(yaml.safe_dump(_definition(name, action, environ)), encoding="utf-8")
    return found


def _definition(name: str, action: StandIn, environ: Mapping[str, str]) -> dict[str, Any]:
    variables = {_variable(each): f"${{{{ inputs.{each} }}}}" for each in action.inputs}
    run = {"id": "run", "shell": "bash", "run": HEAD + action.script + "\n", "env": {**variables, **environ}}
    return {
        "name": name,
        "description": "A stand-in",
        "inputs": {each: {"description": each, "required": False, "default": ""} for each in action.inputs},
        "outputs": {
            each: {"description": each, "value": f"${{{{ steps.run.outputs.{each} }}}}"} for each in action.outputs
        },
        "runs": {"using": "composite", "steps": [run]},
    }


def _variable(name: str) -> str:
    return "PATH_" if name == "path" else name.upper().replace("-", "_")
