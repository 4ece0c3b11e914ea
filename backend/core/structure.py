"""List the parts of Sentry's items that stay unchanged, because Sentry reads them, or groups or links items by them.

Source: develop.sentry.dev, "Event Payloads", "Logs" and "Metrics", and what sentry-sdk 2.75 sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeAlias, Union


class Kept(Enum):
    """How much of a part stays."""

    WHOLE = "whole"
    VALUES = "values"  # only the names in it are scrubbed


Parts: TypeAlias = Mapping[str, Union[Kept, "Parts"]]
"""Parts by name. Those of a list are the parts of each of its items."""


def _whole(names: str) -> dict[str, Kept]:
    return dict.fromkeys(names.split(), Kept.WHOLE)


_FRAME: Final[Parts] = _whole(
    "lineno colno in_app module function filename abs_path package platform instruction_addr addr_mode symbol_addr"
)
_STACK: Final[Parts] = {"frames": _FRAME, "registers": Kept.WHOLE}
_MECHANISM: Final[Parts] = _whole("type handled synthetic exception_id parent_id source is_exception_group")
_EXCEPTION: Final[Parts] = {
    **_whole("type module thread_id"),
    "mechanism": _MECHANISM,
    "stacktrace": _STACK,
}
_THREAD: Final[Parts] = {**_whole("id crashed current main state"), "stacktrace": _STACK}
# Attributes of logs, metrics, spans and traces, among them OpenTelemetry's and Sentry's names for places in the code.
_ATTRIBUTES: Final[Parts] = _whole(
    "sentry.environment sentry.release sentry.sdk.name sentry.sdk.version sentry.trace.parent_span_id sentry.origin "
    "sentry.op sentry.source sentry.sample_rate sentry.segment.id logger.name "
    "code.file.path code.filepath code.function code.function.name code.namespace code.lineno "
    "code.line.number thread.id thread.name process.pid"
)
_SPAN: Final[Parts] = {
    **_whole("trace_id span_id parent_span_id segment_id op status origin sampled client_sample_rate is_segment"),
    **_whole("timestamp start_timestamp exclusive_time hash same_process_as_parent measurements"),
    "data": _ATTRIBUTES,
    "tags": _whole("status"),
    # `transaction` isn't kept, because the application sets its text.
    "dynamic_sampling_context": _whole(
        "trace_id public_key org_id environment release sample_rate sample_rand sampled"
    ),
}
_BREADCRUMB: Final[Parts] = _whole("type level category timestamp")

EVENT: Final[Parts] = {
    **_whole("event_id timestamp start_timestamp received type level platform logger sdk modules environment release"),
    **_whole("dist transaction_info measurements debug_meta"),
    "_meta": Kept.VALUES,
    "exception": {**_EXCEPTION, "values": _EXCEPTION},
    "threads": {**_THREAD, "values": _THREAD},
    "stacktrace": _STACK,
    "contexts": {"trace": _SPAN},
    "spans": _SPAN,
    "breadcrumbs": {**_BREADCRUMB, "values": _BREADCRUMB},
}
LOG: Final[Parts] = {
    **_whole("severity_text severity_number time_unix_nano trace_id span_id timestamp level"),
    "attributes": _ATTRIBUTES,
}
METRIC: Final[Parts] = {
    **_whole("timestamp trace_id span_id type unit"),
    "attributes": _ATTRIBUTES,
}
