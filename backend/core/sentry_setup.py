"""Start Sentry for the backend with settings from Pulumi ESC, and hide every secret in what it sends.

from backend.core.sentry_setup import init_sentry

init_sentry()
"""

from __future__ import annotations

import logging
import math
import os
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from pydantic import SecretStr
from sentry_sdk.utils import Dsn

from backend.core.auto_esc_config import AutoEscConfig
from backend.core.auto_esc_config import config as backend_config
from backend.core.scrubbing import Scrubber

if TYPE_CHECKING:
    from sentry_sdk.types import Hint

# Configuration keys, and the SDK options that they set. The SDK's own environment variables have the same names.
_TEXTS: Final = {"SENTRY_ENVIRONMENT": "environment", "SENTRY_RELEASE": "release"}
_RATES: Final = {
    "SENTRY_SAMPLE_RATE": "sample_rate",
    "SENTRY_TRACES_SAMPLE_RATE": "traces_sample_rate",
    "SENTRY_PROFILES_SAMPLE_RATE": "profiles_sample_rate",
}
_LEFT_OUT: Final = {
    "data_collection": "it goes before send_default_pii, which keeps personal data out",
    "trace_lifecycle": "the names and the envelopes of spans that are sent one by one pass no hook",
}

logger = logging.getLogger(__name__)


class _Started:
    """The SDK client that `init_sentry` started, if any."""

    lock = threading.Lock()
    client: sentry_sdk.client.BaseClient | None = None


def _renew_lock() -> None:
    """Replace the lock in a forked child: another thread of the parent may have held it."""
    _Started.lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def init_sentry(config: AutoEscConfig = backend_config, **options: Any) -> bool:
    """Start Sentry. Without a DSN, only log that Sentry is off. If Sentry is on already, do nothing.

    Args:
        config: Where the DSN, the environment, the release and the sample rates come from.
        options: Further options of `sentry_sdk.init`, such as `integrations`. They override the configuration.
            A `before_…` hook among them is called first, and its result is scrubbed. Options that would send
            personal data, or data that no hook sees, are left out with a warning.

    Returns:
        Whether Sentry is on.
    """
    with _Started.lock:
        client = sentry_sdk.get_client()
        if client is _Started.client and client.transport is not None:  # a closed client has none
            return True
        dsn = options["dsn"] if "dsn" in options else config.get("SENTRY_DSN")
        if not dsn:
            logger.info("Sentry is off: SENTRY_DSN is configured neither in Pulumi ESC nor as an environment variable.")
            return False
        try:
            Dsn(dsn)
        except ValueError:  # the error's text may hold the DSN
            logger.error("Sentry is off: SENTRY_DSN is no DSN. It looks like https://PUBLIC_KEY@HOST/PROJECT_ID.")
            return False
        chosen = {**_settings(config), **_allowed(options), "dsn": dsn, "send_default_pii": False}
        own = SecretStr(str(dsn))
        scrubber = Scrubber(lambda: (*config.known_secrets, own))
        scrubber.text("")  # make the forms of the secrets now, not while a request is answered
        chosen |= _hooks(scrubber, options)
        with warnings.catch_warnings():
            # Newer versions of the SDK deprecate this option, but it keeps personal data out in every version.
            warnings.filterwarnings("ignore", "The send_default_pii option", DeprecationWarning)
            sentry_sdk.init(**chosen)
        _Started.client = sentry_sdk.get_client()
        return True


def _settings(config: AutoEscConfig) -> dict[str, object]:
    """Return the configured values as SDK options. The SDK has defaults for the rest."""
    texts = {option: config.get(key) for key, option in _TEXTS.items()}
    rates = {option: _rate(key, config.get(key)) for key, option in _RATES.items()}
    return {option: value for option, value in (texts | rates).items() if value is not None}


def _rate(key: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 <= rate <= 1:
        logger.warning("%s is no number from 0 to 1; Sentry's default is used.", key)
        return None
    return rate


def _allowed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without those in `_LEFT_OUT`. Warn about each that is left out."""
    allowed = dict(options)
    experiments = dict(allowed.get("_experiments") or {})
    for name, why in _LEFT_OUT.items():
        if name in allowed or name in experiments:
            logger.warning("The option %s is left out: %s.", name, why)
        allowed.pop(name, None)
        experiments.pop(name, None)
    return {**allowed, "_experiments": experiments} if "_experiments" in allowed else allowed


def _hooks(scrubber: Scrubber, options: dict[str, Any]) -> dict[str, Any]:
    """Return a hook for each kind of item. It calls the given hook, if there is one, and then the scrubber.

    Breadcrumbs need no hook: they are scrubbed with the event that carries them, and most are never sent.
    """
    hooks: dict[str, Callable[[Any], Any]] = {
        "before_send": scrubber.event,
        "before_send_transaction": scrubber.event,
        "before_send_log": scrubber.log,
        "before_send_metric": scrubber.metric,
    }
    known = sentry_sdk.consts.DEFAULT_OPTIONS
    return {name: _behind(options.get(name), scrub) for name, scrub in hooks.items() if name in known}


def _behind(first: Callable[[Any, Hint], Any] | None, scrub: Callable[[Any], Any]) -> Callable[[Any, Hint], Any]:
    def both(item: Any, hint: Hint) -> Any:
        if first is not None:
            item = first(item, hint)
        return None if item is None else scrub(item)

    return both
