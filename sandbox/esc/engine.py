"""Pulumi ESC's own evaluator, as one child process of the local ESC.

The program is `tools/esc-engine`, which is built on the Go module github.com/pulumi/esc. Requests and answers are
JSON lines on its standard input and output.
"""

import base64
import json
import secrets
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tools import esc_engine

Json: TypeAlias = dict[str, Any]
Load: TypeAlias = Callable[[str], str]
"""Return the definition of an import, as it is stored. Raise `LookupError` where there is none."""


class EngineError(Exception):
    """Raised where the engine can't carry out a request, for instance for a definition that isn't YAML."""


@dataclass(frozen=True)
class Evaluated:
    """The answer to `check` and `open`.

    Attributes:
        environment: An `Environment` as in esc's `environment.go`, as JSON; None where a definition has no values.
        diagnostics: `EnvironmentDiagnostic`s as in `cmd/esc/cli/client/apitype.go`.
    """

    environment: Json | None
    diagnostics: list[Json] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return any(diagnostic["severity"] == "error" for diagnostic in self.diagnostics)

    @property
    def properties(self) -> Json:
        """The evaluated values, each with its secret and unknown flags."""
        return dict((self.environment or {}).get("properties") or {})

    def plain(self) -> dict[str, object]:
        """Return the values alone, secrets shown, as `env open` prints them."""
        return {name: _plain(value) for name, value in self.properties.items()}


def _plain(value: Json) -> object:
    # As `Value.ToJSON` in esc's `value.go`.
    if value.get("unknown"):
        return "[unknown]"
    match value.get("value"):
        case dict(entries):
            return {name: _plain(entry) for name, entry in entries.items()}
        case list(items):
            return [_plain(item) for item in items]
        case scalar:
            return scalar


class Engine:
    """The engine, with its own key. It starts at the first request, and again at the first request after `close`."""

    def __init__(self) -> None:
        self._key = base64.b64encode(secrets.token_bytes(32)).decode()
        self._lock = threading.RLock()
        self._child: subprocess.Popen[bytes] | None = None

    def encrypt(self, name: str, definition: str) -> str:
        """Return the definition as ESC stores it: reformatted, with secrets encrypted."""
        return str(self._ask("encrypt", name=name, definition=definition)["definition"])

    def decrypt(self, name: str, definition: str) -> str:
        """Return the definition as ESC shows it decrypted: reformatted, with secrets in plain text."""
        return str(self._ask("decrypt", name=name, definition=definition)["definition"])

    def check(self, name: str, definition: str, load: Load, *, show_secrets: bool = False) -> Evaluated:
        """Evaluate a definition without opening providers."""
        return _evaluated(self._ask("check", load, name=name, definition=definition, showSecrets=show_secrets))

    def open(self, name: str, definition: str, load: Load) -> Evaluated:
        """Evaluate a definition as its consumers get it."""
        return _evaluated(self._ask("open", load, name=name, definition=definition))

    def property(self, environment: Json, path: str) -> Json | None:
        """Return the value at a property path of an evaluated environment; None where there is none."""
        value: Json | None = self._ask("property", environment=environment, path=path).get("value")
        return value

    def close(self) -> None:
        """End the child process."""
        with self._lock:
            child, self._child = self._child, None
            if child is not None:
                child.communicate()

    def _ask(self, do: str, load: Load | None = None, **arguments: object) -> Json:
        with self._lock:
            answer = self._exchange({"do": do, **arguments})
            while "import" in answer:
                answer = self._exchange(_imported(load, answer["import"]))
        if "error" in answer:
            raise EngineError(answer["error"])
        return answer

    def _exchange(self, message: Json) -> Json:
        if self._child is None:
            self._child = subprocess.Popen(  # noqa: S603 - a program of our own making
                [esc_engine.ensure()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self._send(self._child, {"key": self._key})
        self._send(self._child, message)
        answer: Json = json.loads(self._child.stdout.readline()) if self._child.stdout else {}
        return answer

    @staticmethod
    def _send(child: "subprocess.Popen[bytes]", message: Json) -> None:
        if child.stdin:
            child.stdin.write(json.dumps(message).encode() + b"\n")
            child.stdin.flush()


def _imported(load: Load | None, name: str) -> Json:
    if load is None:
        return {"error": "nothing can be imported here"}
    try:
        return {"definition": load(name)}
    except LookupError as error:
        return {"error": str(error)}


def _evaluated(answer: Json) -> Evaluated:
    return Evaluated(answer.get("environment"), answer.get("diagnostics", []))
