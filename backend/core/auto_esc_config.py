"""The backend's configuration, out of Pulumi ESC: `from backend.core.auto_esc_config import config`.

Importing this does nothing. The first use opens the ESC environment, all keys in one call of the Pulumi CLI, and keeps
them in memory; `config.sentry_dsn` is then the value of `SENTRY_DSN`. What ESC doesn't give is looked up among the
environment variables.
"""

from __future__ import annotations

import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, overload

if TYPE_CHECKING:
    from pydantic import SecretStr
    from sophia_sync.process import Deadline

    from sophia_sync.esc.opened import Opened

# What a read needs is imported by the read: importing this module stays as cheap as it looks.

DEFAULT_ORGANIZATION: Final = "scoobyjava-org"
DEFAULT_PROJECT: Final = "default"
DEFAULT_ENVIRONMENT: Final = "sophia-ai-production"
DEFAULT_CLOUD: Final = "https://api.pulumi.com"
DEFAULT_CACHE_SECONDS: Final = 300.0
# Seconds. The CLI tries for 7 before it takes an ESC that refuses connections for gone.
DEFAULT_TIMEOUT: Final = 20.0
# Seconds before ESC is asked again after it could not be had: each try holds up whoever asks for a value.
RETRY_AFTER: Final = 30.0
# Seconds that the end of a read which was cut is waited for: it comes at once, but on a busy machine.
_LONGEST_END: Final = 5.0
# The name of a key or an environment variable that holds a secret, where ESC doesn't say so.
_SECRET_NAME: Final = re.compile(r"token|secret|passw|private_?key|credential|api_?key|dsn", re.IGNORECASE)
# Shorter values under such a name, `true` for instance, are settings.
_SHORTEST_SECRET: Final = 8

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _State:
    """What is known at one moment. It is replaced as a whole, so that it can be looked at without a lock."""

    opened: Mapping[str, Opened] = field(default_factory=lambda: MappingProxyType({}))
    """By key, as in ESC."""
    by_name: Mapping[str, Opened] = field(default_factory=lambda: MappingProxyType({}))
    """By the key's lower-case name."""
    secrets: tuple[SecretStr, ...] = ()
    """All that were ever read: a rotated one is still in what was logged before."""
    next_read: float = -math.inf
    """When the values count as old, on the configuration's clock."""
    problem: str | None = None
    """What went wrong in the last read."""


class AutoEscConfig:
    """The values of one ESC environment, by their lower-case names; all of them are strings.

    A key that ESC doesn't hold, or holds empty, and any key while ESC was never reached, is looked up among the
    environment variables by its upper-case name. One that is nowhere is no attribute: `hasattr(config, "sentry_dsn")`
    tells whether it is configured. Threads wait for one read and don't each start one.

    A key that is called like a method here, `REFRESH` for instance, is had by `config.get("REFRESH")`.

    Args:
        environ: The environment variables; also says which ESC environment, see docs/backend.md.
        cache_seconds: How long values are kept before ESC is read again; by default PULUMI_ESC_CACHE_SECONDS or 300.
        timeout: Seconds that one read may take.
        clock: A monotonic clock, in seconds.
    """

    __slots__ = (
        "_cache_seconds",
        "_clock",
        "_deadline",
        "_environ",
        "_is_closed",
        "_is_reading",
        "_lock",
        "_reads",
        "_state",
        "_timeout",
    )

    sentry_dsn: str
    sentry_api_token: str
    sentry_organization_slug: str
    sentry_project_slug: str
    sentry_client_secret: str

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        *,
        cache_seconds: float | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environ = environ
        self._cache_seconds = cache_seconds
        self._timeout = timeout
        self._clock = clock
        # A read may come upon what asks for a value itself, a hook of Sentry's or a signal's handler: the same thread
        # gets what is known then.
        self._lock = threading.RLock()
        self._is_reading = False
        self._is_closed = False
        self._deadline: Deadline | None = None
        self._state = _State()
        self._reads = 0

    def __getattr__(self, name: str) -> str:
        # Python, debuggers and test tools ask for such names; none of them is configuration.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        value = self.get(name)
        if value is None:
            raise AttributeError(f"{name.upper()} is configured neither in Pulumi ESC nor as an environment variable")
        return value

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._state.opened)} keys of {self.esc_path}>"

    @overload
    def get(self, key: str) -> str | None: ...
    @overload
    def get(self, key: str, default: str) -> str: ...
    @overload
    def get(self, key: str, default: str | None) -> str | None: ...
    def get(self, key: str, default: str | None = None) -> str | None:
        """The value of `key`, in the spelling of ESC or in lower case; `default` where it is nowhere."""
        state = self._fresh()
        opened = state.opened.get(key) or state.by_name.get(key.lower())
        value = opened.text.get_secret_value() if opened else ""
        return value or self._environ.get(key.upper()) or default

    def refresh(self) -> bool:
        """Read ESC now. Returns whether that went well; if not, the values stay as they were.

        Threads that ask at the same time share a read, but never one that began before they asked.
        """
        reads = self._reads
        with self._lock:
            own = self._reads == reads and not self._is_reading
            state = self._read() if own else self._state
        if own:
            _tell(state)
        return state.problem is None

    def close(self) -> None:
        """Before the process ends: end a read that is under way, its CLI and private folder too, and begin no other.

        To be called in any thread but one that reads. What is known stays.
        """
        self._is_closed = True
        if self._deadline is not None:
            self._deadline.cut(0)
        # What clears the folder away is the thread that reads.
        if self._lock.acquire(timeout=_LONGEST_END):
            self._lock.release()

    @property
    def esc_path(self) -> str:
        """The path of the ESC environment, `organisation/project/environment`; unchecked."""
        parts = (self._environ.get("PULUMI_ENVIRONMENT") or DEFAULT_ENVIRONMENT).strip().split("/")
        defaults = (
            self._environ.get("PULUMI_ORG") or DEFAULT_ORGANIZATION,
            self._environ.get("PULUMI_PROJECT") or DEFAULT_PROJECT,
        )
        return "/".join([*defaults[: max(0, 3 - len(parts))], *parts])

    @property
    def known_secrets(self) -> tuple[SecretStr, ...]:
        """Every secret that was read so far, former values too, and those among the environment variables.

        For whoever has to hide them. Reads nothing and waits for nobody.
        """
        from pydantic import SecretStr  # noqa: PLC0415

        variables = (self._environ.get(name, "") for name in self._environ if _SECRET_NAME.search(name))
        long_enough = (SecretStr(value) for value in variables if len(value) >= _SHORTEST_SECRET)
        return tuple(dict.fromkeys([*self._state.secrets, *long_enough]))

    def _fresh(self) -> _State:
        """The values, read again if they are old: by one thread, while the others wait for it."""
        state = self._state
        if self._clock() < state.next_read:
            return state
        # While ESC is known to be gone, one thread tries whether it is back, and nobody waits for that.
        if not self._lock.acquire(blocking=state.problem is None):
            return state
        try:
            own = self._clock() >= self._state.next_read and not self._is_reading
            state = self._read() if own else self._state
        finally:
            self._lock.release()
        if own:
            _tell(state)
        return state

    def _read(self) -> _State:
        """Read ESC, with the lock held; if it can't be had, what was known stays."""
        from sophia_sync.errors import SyncError  # noqa: PLC0415

        self._reads += 1
        self._is_reading = True
        try:
            opened = self._open()
        except (SyncError, ValueError, OSError, RuntimeError) as error:  # the last: no more threads can be had
            problem = error.what if isinstance(error, SyncError) else str(error)
            next_read = self._clock() + min(RETRY_AFTER, self._keep())
            self._state = replace(self._state, next_read=next_read, problem=problem)
        else:
            # Of keys that differ in case alone, the one that is spelled like an environment variable.
            by_name = {key.lower(): opened[key] for key in sorted(opened, key=str.isupper)}
            self._state = _State(
                MappingProxyType(opened),
                MappingProxyType(by_name),
                tuple(dict.fromkeys([*self._state.secrets, *_secrets(opened)])),
                next_read=self._clock() + self._keep(),
            )
        finally:
            self._is_reading = False
        return self._state

    def _open(self) -> dict[str, Opened]:
        """Open the environment with the Pulumi CLI, in a private folder that is gone afterwards."""
        from pydantic import SecretStr  # noqa: PLC0415
        from sophia_sync.process import Deadline  # noqa: PLC0415

        from sophia_sync import checks  # noqa: PLC0415
        from sophia_sync.esc.cli import Pulumi, private_folder  # noqa: PLC0415
        from sophia_sync.inputs import child_environment, pulumi_login  # noqa: PLC0415
        from sophia_sync.redact import Redactor  # noqa: PLC0415

        environment = _checked("PULUMI_ENVIRONMENT", checks.environment, self.esc_path)
        token = self._environ.get("PULUMI_ACCESS_TOKEN", "").strip()
        cloud_url = self._environ.get("PULUMI_BACKEND_URL", "") or (DEFAULT_CLOUD if token else "")
        login = None if token else pulumi_login(self._environ)
        if not token and login is None:
            raise ValueError("There is neither PULUMI_ACCESS_TOKEN nor a `pulumi login`.")
        deadline = self._deadline = Deadline(self._timeout)
        if self._is_closed:
            deadline.cut(0)
        with private_folder(deadline) as home:
            pulumi = Pulumi(
                home=home,
                cloud_url=cloud_url and _checked("PULUMI_BACKEND_URL", checks.url, cloud_url),
                access_token=SecretStr(token) if token else None,
                environ=child_environment(self._environ),
                deadline=deadline,
                redact=Redactor(self.known_secrets),
                login=login,
                tries=1,
            )
            pulumi.prepare(environment.partition("/")[0])
            return pulumi.open_values(environment)

    def _keep(self) -> float:
        """Seconds for which values are kept."""
        if self._cache_seconds is not None:
            return self._cache_seconds
        try:
            seconds = float(self._environ.get("PULUMI_ESC_CACHE_SECONDS") or DEFAULT_CACHE_SECONDS)
        except ValueError:
            return DEFAULT_CACHE_SECONDS
        return seconds if 0 < seconds < math.inf else DEFAULT_CACHE_SECONDS


def _tell(state: _State) -> None:
    """Log what went wrong in a read. Not under the lock: what handles the log may ask what is to be hidden."""
    if state.problem is not None:
        kept = "The values from before are kept." if state.opened else "Environment variables stand in for it."
        logger.warning("Pulumi ESC could not be read: %s %s", state.problem, kept)


def _checked(name: str, check: Callable[[str], str], value: str) -> str:
    try:
        return check(value)
    except ValueError as error:
        raise ValueError(f"{name} {error}.") from None


def _secrets(opened: Mapping[str, Opened]) -> list[SecretStr]:
    found = [secret for value in opened.values() for secret in value.secrets]
    named = [value.text for key, value in opened.items() if _SECRET_NAME.search(key)]
    return found + [text for text in named if len(text.get_secret_value()) >= _SHORTEST_SECRET]


config: Final = AutoEscConfig()
"""The environment that PULUMI_ORG, PULUMI_PROJECT and PULUMI_ENVIRONMENT name."""


@overload
def get_pulumi_esc_value(key: str) -> str | None: ...
@overload
def get_pulumi_esc_value(key: str, default: str) -> str: ...
@overload
def get_pulumi_esc_value(key: str, default: str | None) -> str | None: ...
def get_pulumi_esc_value(key: str, default: str | None = None) -> str | None:
    """One value, such as `SENTRY_API_TOKEN`, from the same cache as `config`; `default` where it is nowhere."""
    return config.get(key, default)
