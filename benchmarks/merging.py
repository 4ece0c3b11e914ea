"""Plan, merge and prove a definition. `make bench` times it in a separate process, because a sync has its own."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping

from pydantic import SecretStr

from sophia_sync.esc.editor import Stored
from sophia_sync.esc.merge import merge
from sophia_sync.esc.shown import Shown, holding
from sophia_sync.sync.bundle import SENTRY_KEYS, Bundle, Entry
from sophia_sync.sync.environment import as_planned, changes_of
from sophia_sync.sync.plan import make_plan


def plan_and_merge(values: Mapping[str, str], text: str) -> float:
    """Return the seconds that a sync takes to plan, merge and prove new keys, without the CLI."""
    gc.set_threshold(10_000)  # as entrypoint.py
    bundle = Bundle(tuple(Entry(key, SecretStr(value), SENTRY_KEYS[key]) for key, value in values.items()))
    started = time.perf_counter()
    found = holding(Shown(text), bundle.names)
    changed = make_plan(bundle, found).changed
    merge(as_planned(Stored(text), found, bundle, "acme/default/large"), changes_of(bundle, changed))
    return time.perf_counter() - started
