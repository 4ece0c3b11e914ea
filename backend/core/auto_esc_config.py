"""Give the backend its configuration from Pulumi ESC: `from backend.core.auto_esc_config import config`.

The import reads nothing. The first use of a value opens the ESC environment: one call of the Pulumi CLI reads all keys,
and they stay in memory. `config.sentry_dsn` is the value of `SENTRY_DSN`. A key that ESC doesn't hold is looked up
among the environment variables.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, overload

from backend.core.forks import forks_wait

if TYPE_CHECKING:
    from pydantic import SecretStr

    from backend.core.esc_reader import Read
    from sophia_sync.esc.opened import Opened

# The first read imports what reads need, so that importing this module stays cheap.

DEFAULT_ORGANIZATION: Final = "scoobyjava-org"
DEFAULT_PROJECT: Final = "default"
DEFAULT_ENVIRONMENT: Final = "sophia-ai-production"
DEFAULT_CACHE_SECONDS: Final = 300.0
# Time limit of the first read, in seconds. Whoever asks for a value waits for it. The CLI takes 7 s to give up on an
# ESC that refuses connections.
DEFAULT_FIRST_SECONDS: Final = 10.0
# Time limit of every other read, in seconds. Only the caller of `refresh` waits for it.
DEFAULT_TIMEOUT: Final = 20.0
# Pause after a failed read before the next one, in seconds.
RETRY_AFTER: Final = 30.0
# Time for which a replaced value still counts as a secret, in seconds: texts that hold it may still be on their way.
FORMER_SECONDS: Final = 3600.0
# Smallest and largest accepted value of the variables that hold seconds.
LEAST_SECONDS: Final = 1.0
MOST_SECONDS: Final = 86_400.0
# Time for which the secrets found among the environment variables are cached, in seconds.
_VARIABLES_SECONDS: Final = 1.0
# Maximum wait of `close` for the read that it ended, in seconds. The read ends at once, except on a busy machine.
_LONGEST_END: Final = 5.0
# Names of keys and environment variables whose values count as secrets, even if ESC doesn't say so.
_SECRET_NAME: Final = re.compile(r"token|secret|passw|private_?key|credential|api_?key|dsn", re.IGNORECASE)
# Minimum characters of such a value. A shorter one, such as `true`, is a setting.
_SHORTEST_SECRET: Final = 8
# Values of PULUMI_ESC_DISABLED that leave ESC on.
_OFF: Final = frozenset({"", "0", "false", "no", "off"})

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _State:
    """A snapshot of what is known. Each update replaces it as a whole, so that readers need no lock.

    Attributes:
        path: The ESC environment that the values come from; None while there are no values.
        opened: The values by key, spelled as in ESC.
        by_name: The values by lower-case key.
        secrets: Each secret, and the time until which it counts, on the configuration's clock.
        next_read: The time from which the values count as old, on the same clock; None until the first read has ended.
        problem: Why the last read failed; None if it didn't.
    """

    path: str | None = None
    opened: Mapping[str, Opened] = field(default_factory=lambda: MappingProxyType({}))
    by_name: Mapping[str, Opened] = field(default_factory=lambda: MappingProxyType({}))
    secrets: Mapping[SecretStr, float] = field(default_factory=lambda: MappingProxyType({}))
    next_read: float | None = None
    problem: str | None = None


_ALL: Final[weakref.WeakSet[AutoEscConfig]] = weakref.WeakSet()


class AutoEscConfig:
    """The values of one ESC environment, as attributes with lower-case names. Every value is a string.

    A key that ESC lacks or holds empty is looked up among the environment variables, by its upper-case name. Until ESC
    was read once, that holds for every key. A key that is in neither is no attribute: `hasattr(config, "sentry_dsn")`
    tells whether it is configured.

    The first read blocks every thread that asks for a value; all of them share it. Later reads run in the background.

    A test may set a value with `monkeypatch.setattr(config, "sentry_dsn", "…")`, or delete one. Read a key that has the
    name of a method, such as `REFRESH`, with `config.get("REFRESH")`.

    Args:
        environ: The environment variables. They also name the ESC environment: see docs/backend.md.
        cache_seconds: How long values are kept before ESC is read again; by default PULUMI_ESC_CACHE_SECONDS or 300.
        timeout: Time limit of a read, in seconds; by default 20, and PULUMI_ESC_FIRST_READ_SECONDS or 10 for the first.
        clock: A monotonic clock, in seconds.
    """

    __slots__ = (
        "__weakref__",
        "_cache_seconds",
        "_clock",
        "_environ",
        "_is_closed",
        "_is_reading",
        "_lock",
        "_read_now",
        "_reads",
        "_refreshing",
        "_set",
        "_state",
        "_timeout",
        "_variables",
        "_warned",
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
        timeout: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environ = environ
        self._cache_seconds = cache_seconds
        self._timeout = timeout
        self._clock = clock
        self._is_closed = False
        self._state = _State()
        self._reads = 0
        # The values that a test has set, by lower-case name; None for a value that it has deleted.
        self._set: dict[str, str | None] = {}
        self._warned: frozenset[str] = frozenset()
        self._variables: tuple[float, _State, tuple[SecretStr, ...]] | None = None
        self._renew()
        _ALL.add(self)

    def _renew(self) -> None:
        """Forget every read that is under way: at the start, and in a forked child, which has no other threads."""
        # The lock is reentrant: during a read, a Sentry hook or a signal handler may ask for a value in the same
        # thread. It gets what is known then.
        self._lock = threading.RLock()
        self._is_reading = False
        self._read_now: Read | None = None
        self._refreshing: threading.Thread | None = None

    def __getattr__(self, name: str) -> str:
        # Python, debuggers and test tools ask for such names; none of them is configuration.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        value = self.get(name)
        if value is None:
            raise AttributeError(f"{name.upper()} is configured neither in Pulumi ESC nor as an environment variable")
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
            return
        _refuse_own(name)
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a string, as every value is. Delete it to test without it.")
        others = {key: set_value for key, set_value in self._set.items() if key != name.lower()}
        self._set = others
        # A test that puts the original value back leaves nothing set, so that a rotated value counts again.
        if value != self._known(name):
            self._set = {**others, name.lower(): value}

    def __delattr__(self, name: str) -> None:
        _refuse_own(name)
        key = name.lower()
        if key in self._set:
            self._set = {other: value for other, value in self._set.items() if other != key}
        elif self.get(name) is None:
            raise AttributeError(name)
        else:
            self._set = {**self._set, key: None}

    def __repr__(self) -> str:
        state = self._state
        return f"<{type(self).__name__}: {len(state.opened)} keys of {state.path or self.esc_path}>"

    def __copy__(self) -> AutoEscConfig:
        """Return a new configuration with the same settings, which has read nothing."""
        return AutoEscConfig(self._environ, cache_seconds=self._cache_seconds, timeout=self._timeout, clock=self._clock)

    def __deepcopy__(self, memo: dict[int, Any]) -> AutoEscConfig:
        del memo
        return self.__copy__()

    def __reduce__(self) -> tuple[Callable[..., AutoEscConfig], tuple[float | None, float | None]]:
        """Let `pickle` make a new configuration. The pickle holds no value and no environment variable."""
        if self._environ is not os.environ or self._clock is not time.monotonic:
            raise TypeError(
                "An AutoEscConfig with environment variables of its own can't be pickled: they would be stored. "
                "Make a new one where it is needed."
            )
        return _fresh, (self._cache_seconds, self._timeout)

    @overload
    def get(self, key: str) -> str | None: ...
    @overload
    def get(self, key: str, default: str) -> str: ...
    @overload
    def get(self, key: str, default: str | None) -> str | None: ...
    def get(self, key: str, default: str | None = None) -> str | None:
        """Return the value of `key`, spelled as in ESC or in lower case. Return `default` if it isn't configured."""
        if key.lower() in self._set:
            value = self._set[key.lower()]
            return default if value is None else value
        return self._known(key) or default

    def _known(self, key: str) -> str | None:
        """Return the value of `key` in ESC or among the environment variables."""
        state = self._current()
        opened = state.opened.get(key) or state.by_name.get(key.lower())
        value = opened.text.get_secret_value() if opened else ""
        return value or self._environ.get(key.upper()) or None

    def refresh(self) -> bool:
        """Read the environment that PULUMI_ENVIRONMENT names now. Return whether the read succeeded.

        If it failed, the values stay as they were. Threads that call at the same time share a read, but only one that
        began after their call. In a coroutine, use `await asyncio.to_thread(config.refresh)`.
        """
        if self._is_disabled:
            return True
        reads = self._reads
        with self._lock:
            own = self._reads == reads and not self._is_reading
            state = self._read(self.esc_path, self._timeout or DEFAULT_TIMEOUT) if own else self._state
        if own:
            _tell(state)
        return state.problem is None

    def close(self) -> None:
        """End the read that is under way, with its CLI and private folder, and begin no other. The values stay.

        Call it before the process ends, from a thread that isn't reading.
        """
        self._is_closed = True
        if self._read_now is not None:
            self._read_now.end()
        # Wait until the reading thread has removed the folder.
        if self._lock.acquire(timeout=_LONGEST_END):
            self._lock.release()

    @property
    def esc_path(self) -> str:
        """Return the ESC environment that the variables name now, `organization/project/environment`, unchecked."""
        names = {"PULUMI_ORG": DEFAULT_ORGANIZATION, "PULUMI_PROJECT": DEFAULT_PROJECT}
        defaults = [self._environ.get(name, "").strip() or default for name, default in names.items()]
        environment = self._environ.get("PULUMI_ENVIRONMENT", "").strip() or DEFAULT_ENVIRONMENT
        parts = [part for part in environment.split("/") if part]
        return "/".join([*defaults[: max(0, 3 - len(parts))], *parts])

    @property
    def known_secrets(self) -> tuple[SecretStr, ...]:
        """Return the secrets to hide: ESC's, those replaced within the last hour, and the environment variables'.

        This starts no read and waits for none.
        """
        with forks_wait():
            from pydantic import SecretStr  # noqa: PLC0415

        state, now = self._state, self._clock()
        if self._variables is None or self._variables[1] is not state or now >= self._variables[0]:
            variables = (self._environ.get(name, "") for name in self._environ if _SECRET_NAME.search(name))
            found = [SecretStr(value) for value in variables if len(value) >= _SHORTEST_SECRET]
            current = [secret for secret, until in state.secrets.items() if now < until]
            self._variables = (now + _VARIABLES_SECONDS, state, tuple(dict.fromkeys([*current, *found])))
        set_here = [
            SecretStr(value)
            for name, value in self._set.items()
            if value is not None and len(value) >= _SHORTEST_SECRET and _SECRET_NAME.search(name)
        ]
        return (*self._variables[2], *set_here)

    @property
    def _is_disabled(self) -> bool:
        return self._environ.get("PULUMI_ESC_DISABLED", "").strip().lower() not in _OFF

    def _current(self) -> _State:
        """Return what is known. Wait for the first read; after that, return at once, however old the values are."""
        if self._is_disabled:
            return _State()
        state = self._state
        if state.next_read is None:
            return self._first()
        if self._clock() >= state.next_read and not self._is_reading:
            self._begin_refresh()
        return state

    def _first(self) -> _State:
        with self._lock:
            own = self._state.next_read is None and not self._is_reading
            if own:
                seconds = self._timeout or self._seconds("PULUMI_ESC_FIRST_READ_SECONDS", DEFAULT_FIRST_SECONDS)
                self._read(self.esc_path, seconds)
            state = self._state
        if own:
            _tell(state)
        return state

    def _begin_refresh(self) -> None:
        """Start a read in the background, unless one is under way. Nobody waits for it."""
        if self._is_closed or not self._lock.acquire(blocking=False):
            return
        try:
            if self._refreshing is not None and self._refreshing.is_alive():
                return
            thread = threading.Thread(target=self._refresh_old, name="esc-refresh", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the system has no more threads, or the interpreter is shutting down
                self._state = replace(self._state, next_read=self._clock() + RETRY_AFTER)
                logger.warning("Pulumi ESC can't be read again: %s.", error)
                return
            self._refreshing = thread
        finally:
            self._lock.release()

    def _refresh_old(self) -> None:
        with self._lock:
            state = self._state
            own = state.next_read is not None and self._clock() >= state.next_read
            if own:
                # Read the environment that the values come from. Only `refresh` turns to another one.
                state = self._read(state.path or self.esc_path, self._timeout or DEFAULT_TIMEOUT)
        if own:
            _tell(state)

    def _read(self, path: str, seconds: float) -> _State:
        """Read ESC and return the new state. If the read fails, the values stay. The caller holds the lock."""
        with forks_wait():
            from backend.core.esc_reader import Read, ReadError  # noqa: PLC0415

        self._reads += 1
        self._is_reading = True
        self._read_now = Read(self._environ, path, self.known_secrets)
        if self._is_closed:
            self._read_now.end()
        keep = self._cache_seconds or self._seconds("PULUMI_ESC_CACHE_SECONDS", DEFAULT_CACHE_SECONDS)
        try:
            opened = self._read_now.values(seconds)
        except (ReadError, OSError) as error:
            next_read = self._clock() + min(RETRY_AFTER, keep)
            self._state = replace(self._state, next_read=next_read, problem=str(error))
        else:
            # Of keys that differ only in case, the upper-case one counts.
            by_name = {key.lower(): opened[key] for key in sorted(opened, key=str.isupper)}
            self._state = _State(
                path,
                MappingProxyType(opened),
                MappingProxyType(by_name),
                MappingProxyType(self._with_former(_secrets(opened))),
                next_read=self._clock() + keep,
            )
        finally:
            self._is_reading = False
            self._read_now = None
        return self._state

    def _with_former(self, secrets: list[SecretStr]) -> dict[SecretStr, float]:
        """Return the current secrets and the former ones that still count, each with the end of that time."""
        now = self._clock()
        former = {secret: min(until, now + FORMER_SECONDS) for secret, until in self._state.secrets.items()}
        return {secret: until for secret, until in former.items() if until > now} | dict.fromkeys(secrets, math.inf)

    def _seconds(self, name: str, default: float) -> float:
        """Return the seconds that a variable sets, else the default. Warn once about a value that isn't accepted."""
        text = self._environ.get(name, "").strip()
        if not text:
            return default
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if LEAST_SECONDS <= seconds <= MOST_SECONDS:
            return seconds
        if f"{name}={text}" not in self._warned:
            self._warned |= {f"{name}={text}"}
            logger.warning(
                "%s isn't a number of seconds from %.0f to %.0f, such as 300; %.0f is used.",
                name,
                LEAST_SECONDS,
                MOST_SECONDS,
                default,
            )
        return default


def _refuse_own(name: str) -> None:
    """Refuse a name that isn't a value's.

    Raises:
        AttributeError: It names a method or a property.
    """
    if hasattr(AutoEscConfig, name):
        raise AttributeError(f"{name} isn't a value; replace it in the class: AutoEscConfig.{name}")


def _fresh(cache_seconds: float | None, timeout: float | None) -> AutoEscConfig:
    return AutoEscConfig(cache_seconds=cache_seconds, timeout=timeout)


def _renew_all() -> None:
    for each in list(_ALL):
        each._renew()


def _close_all() -> None:
    """End the background reads, each with its CLI and its private folder."""
    for each in list(_ALL):
        each.close()


os.register_at_fork(after_in_child=_renew_all)
atexit.register(_close_all)


def _tell(state: _State) -> None:
    """Log why a read failed. Call it without the lock: a log handler may ask for the secrets to hide."""
    if state.problem is not None:
        kept = "The values from before are kept." if state.opened else "Environment variables stand in for it."
        logger.warning("Pulumi ESC could not be read: %s %s", state.problem, kept)


def _secrets(opened: Mapping[str, Opened]) -> list[SecretStr]:
    found = [secret for value in opened.values() for secret in value.secrets]
    named = [value.text for key, value in opened.items() if _SECRET_NAME.search(key)]
    return found + [text for text in named if len(text.get_secret_value()) >= _SHORTEST_SECRET]


config: Final = AutoEscConfig()
"""The configuration from the environment that PULUMI_ORG, PULUMI_PROJECT and PULUMI_ENVIRONMENT name."""


@overload
def get_pulumi_esc_value(key: str) -> str | None: ...
@overload
def get_pulumi_esc_value(key: str, default: str) -> str: ...
@overload
def get_pulumi_esc_value(key: str, default: str | None) -> str | None: ...
def get_pulumi_esc_value(key: str, default: str | None = None) -> str | None:
    """Return the value of a key such as `SENTRY_API_TOKEN`, as `config.get` does, or `default`."""
    return config.get(key, default)
