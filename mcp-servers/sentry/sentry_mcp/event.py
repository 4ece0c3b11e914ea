"""Shows an event as a person reads it: what failed and where, what came before it, and its contexts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from sentry_mcp import shown
from sentry_mcp.outside import MOST_TOKENS, Marker, as_text
from sentry_mcp.shown import is_object, line, number, record, rows, scrubbed, text

MOST_EXCEPTIONS = 10
MOST_THREADS = 30
MOST_FRAMES = 30
MOST_BREADCRUMBS = 40
_CONTEXT_LINES = 2
# These contexts of Sentry's own identify the user, or repeat what other sections show.
_LEFT_OUT_CONTEXTS = frozenset({"user", "feedback", "trace", "geo"})

Json: TypeAlias = dict[str, Any]

_TRACE = record(
    trace_id=shown.HEX, span_id=shown.matching("[0-9a-f]{16}"), parent_span_id=shown.matching("[0-9a-f]{16}"),
    op=line, status=line, description=line,
)  # fmt: skip
_ERROR = record(type=line, message=line, name=line, value=line, data=line)


def _entries(body: Json) -> Json:
    given = body.get("entries")
    found = [row for row in given if is_object(row)] if isinstance(given, list) else []
    return {row["type"]: row.get("data") for row in found if isinstance(row.get("type"), str)}


def _values(data: Any, name: str = "values") -> list[Json]:
    values = data.get(name) if is_object(data) else None
    return [value for value in values if is_object(value)] if isinstance(values, list) else []


def _frames(owner: Json, *, whole: bool) -> tuple[list[Json], bool]:
    """Return the frames of a stack trace, and whether any frame of the program itself has source lines."""
    stack = owner.get("stacktrace") or owner.get("rawStacktrace")
    frames = _values(stack, "frames")
    return (frames if whole else frames[-MOST_FRAMES:]), any(
        frame.get("inApp") is True and _source(frame) for frame in frames
    )


def _source(frame: Json) -> str | None:
    """Return the source lines around a frame's line."""
    at, context = frame.get("lineNo"), frame.get("context")
    near = [
        f"{row[0]}{' >' if row[0] == at else '  '} {row[1]}"
        for row in (context if isinstance(context, list) else [])
        if isinstance(row, list) and len(row) == 2 and isinstance(row[0], int) and isinstance(at, int)
        if abs(row[0] - at) <= _CONTEXT_LINES
    ]
    return "\n".join(near) or None


_FRAME = record(
    function=line, rawFunction=line, module=line, filename=line, absPath=line, package=line, lineNo=number,
    colNo=number, instructionAddr=line, symbolAddr=line, trust=line, inApp=shown.flag, errors=line, source=text,
)  # fmt: skip


def _frame(frame: Json, *, with_source: bool) -> Json:
    """Return a frame without values that repeat others, and with its source lines if wanted."""
    kept = dict(frame)
    kept["source"] = _source(frame) if with_source else None
    for name, same in (("absPath", "filename"), ("rawFunction", "function"), ("symbolAddr", "instructionAddr")):
        if kept.get(name) == kept.get(same):
            kept[name] = None
    if kept.get("function") and not isinstance(kept.get("symbolAddr"), str) and kept.get("lineNo"):
        kept["instructionAddr"] = None
    return kept


def _stack(marker: Marker, owner: Json, *, whole: bool) -> Json:
    """Show the frames of an exception or thread, the innermost first, so that the budget goes to those."""
    frames, has_source = _frames(owner, whole=whole)
    total = len(_values(owner.get("stacktrace") or owner.get("rawStacktrace"), "frames"))
    # If no frame of the program has source lines, show those of the libraries' frames.
    kept = [_frame(frame, with_source=frame.get("inApp") is True or not has_source) for frame in reversed(frames)]
    found = rows(_FRAME, marker, kept)
    left_out = total - len(found)
    marker.cut = marker.cut or left_out > 0
    return {"frames": found} | ({"framesLeftOut": left_out} if left_out else {}) if found else {}


def _exceptions(marker: Marker, body: Json, whole: bool) -> Any:
    """Show the exceptions, the last raised first. In groups, `exception_id` and `parent_id` relate them."""
    values = list(reversed(_values(_entries(body).get("exception"))))

    def one(_: Marker, value: Json) -> Json:
        mechanism = value.get("mechanism")
        mechanism = mechanism if is_object(mechanism) else {}
        head = _EXCEPTION(
            marker, {**value, **{name: mechanism.get(name) for name in _MECHANISM}, "mechanism": mechanism.get("type")}
        )
        return {**(head or {}), **_stack(marker, value, whole=whole)}

    return rows(one, marker, values, 100 if whole else MOST_EXCEPTIONS)


_MECHANISM = ("handled", "exception_id", "parent_id", "is_exception_group", "source", "description")
_EXCEPTION = record(
    type=line, value=text, module=line, threadId=line, mechanism=line, handled=shown.flag, exception_id=number,
    parent_id=number, is_exception_group=shown.flag, source=line, description=line,
)  # fmt: skip
_THREAD = record(id=line, name=line, state=line, crashed=shown.flag, current=shown.flag, main=shown.flag)


def _threads(marker: Marker, body: Json, whole: bool) -> Any:
    """Show all threads that have a stack: the crashed one first, then the current and the main one."""
    threads = [thread for thread in _values(_entries(body).get("threads")) if _frames(thread, whole=True)[0]]
    threads.sort(key=lambda thread: [thread.get(name) is not True for name in ("crashed", "current", "main")])
    return rows(
        lambda _, thread: {**(_THREAD(marker, thread) or {}), **_stack(marker, thread, whole=whole)},
        marker,
        threads,
        1000 if whole else MOST_THREADS,
    )


def _stacktrace(marker: Marker, body: Json, whole: bool) -> Any:
    """Show a stack trace without an exception, such as that of a captured message."""
    return _stack(marker, {"stacktrace": _entries(body).get("stacktrace")}, whole=whole)


def _evidence(marker: Marker, body: Json, whole: bool) -> Any:
    """Show Sentry's evidence for issues that aren't errors, such as performance, uptime and cron issues."""
    occurrence = body.get("occurrence")
    occurrence = occurrence if is_object(occurrence) else {}
    found = record(issueTitle=line, subtitle=line, detectionTime=number)(marker, occurrence) or {}
    display = occurrence.get("evidenceDisplay")
    if isinstance(display, list) and display:
        found["evidence"] = rows(record(name=line, value=text), marker, display)
    data = occurrence.get("evidenceData")
    if is_object(data) and not display:
        found["data"] = text(marker, scrubbed(data))
    spans = _entries(body).get("spans")
    if isinstance(spans, list) and spans:
        found["spans"] = _spans(marker, spans, data if is_object(data) else {}, whole)
    monitor = _context(body, "monitor")
    if monitor is not None:
        found["monitor"] = text(marker, monitor)
    return found


_SPAN = record(
    span_id=shown.matching("[0-9a-f]{16}"), parent_span_id=shown.matching("[0-9a-f]{16}"), op=line, description=line,
    start_timestamp=number, timestamp=number,
)  # fmt: skip


def _spans(marker: Marker, spans: list[Any], evidence: Json, whole: bool) -> list[Any]:
    """Show the spans that the evidence names, or else the first."""
    named = {one for name in ("parentSpanIds", "causeSpanIds", "offenderSpanIds") for one in _texts(evidence.get(name))}
    chosen = [span for span in spans if is_object(span) and str(span.get("span_id")) in named] or spans
    return rows(_SPAN, marker, chosen, 500 if whole else 10)


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _csp(marker: Marker, body: Json, _: bool) -> Any:
    return text(marker, scrubbed(_entries(body).get("csp") or _entries(body).get("expectct")))


def _feedback(marker: Marker, body: Json, _: bool) -> Any:
    """Show what a user wrote and where, without who it was."""
    feedback = _context(body, "feedback")
    report = body.get("userReport")
    found = (
        record(message=text, url=line, source=line, associated_event_id=shown.HEX)(marker, feedback)
        if feedback
        else None
    )
    said = shown.USER_REPORT(marker, report) if is_object(report) else None
    return {name: value for name, value in (("feedback", found), ("userReport", said)) if value}


def _message(marker: Marker, body: Json, _: bool) -> Any:
    data = _entries(body).get("message")
    if not is_object(data):
        return text(marker, data)
    return text(marker, data.get("formatted")) or text(marker, data.get("message"))


def _request(marker: Marker, body: Json, _: bool) -> Any:
    """Show a request's method, address, query and body, scrubbed. Leave out cookies, headers and server variables."""
    request = _entries(body).get("request")
    if not is_object(request):
        return None
    data = request.get("data")
    return record(method=line, url=line, query=line, fragment=line, body=text, inferredContentType=line)(
        marker,
        {
            **request,
            "url": scrubbed(request.get("url")),
            "query": scrubbed(request.get("query")),
            "body": scrubbed(data),
        },
    )


def _context(body: Json, name: str) -> Json | None:
    contexts = body.get("contexts")
    found = contexts.get(name) if is_object(contexts) else None
    return found if is_object(found) else None


def _contexts(marker: Marker, body: Json, _: bool) -> Any:
    contexts = body.get("contexts")
    if not is_object(contexts):
        return line(marker, contexts)
    pairs = [(name, value) for name, value in contexts.items() if name not in _LEFT_OUT_CONTEXTS and name != "monitor"]
    kept = [
        f"{name}: {as_text(scrubbed({key: inner for key, inner in value.items() if key != 'type'}))}"
        if is_object(value)
        else f"{name}: {as_text(value)}"
        for name, value in pairs
        if value
    ]
    return rows(text, marker, kept)


def _extra(marker: Marker, body: Json, _: bool) -> Any:
    extra = body.get("context")
    if not is_object(extra):
        return text(marker, extra)
    return rows(text, marker, [f"{name}: {as_text(value)}" for name, value in scrubbed(extra).items()])


def _errors(marker: Marker, body: Json, whole: bool) -> Any:
    """Show what Sentry could not process, such as missing symbols or source maps."""
    errors = body.get("errors")
    found = rows(_ERROR, marker, errors, 100 if whole else 10) if isinstance(errors, list) else []
    images = [
        image for image in _values(_entries(body).get("debugmeta"), "images")
        if image.get("debug_status") not in (None, "found", "unused")
    ]  # fmt: skip
    missing = record(code_file=line, debug_id=line, debug_status=line)
    return found + rows(missing, marker, images, 100 if whole else 10)


_CRUMB = record(timestamp=shown.TIME, type=line, category=line, level=shown.LEVEL, message=text)


def _breadcrumbs(marker: Marker, body: Json, whole: bool) -> Any:
    """Show the breadcrumbs, the latest first, so that the budget goes to those."""
    crumbs = list(reversed(_values(_entries(body).get("breadcrumbs"))))

    def one(_: Marker, crumb: Json) -> Any:
        kind = crumb.get("type")
        message = " ".join(part for part in (as_text(crumb.get("message") or ""), _crumb_data(crumb)) if part)
        plain = {**crumb, "message": message, "type": None if kind in ("default", crumb.get("category")) else kind}
        if plain.get("level") == "info":
            plain["level"] = None
        return _CRUMB(marker, plain)

    return rows(one, marker, crumbs, 1000 if whole else MOST_BREADCRUMBS)


def _crumb_data(crumb: Json) -> str:
    """Return a breadcrumb's data as text: a request, a navigation, an exception, connectivity, or anything else."""
    data = scrubbed(crumb.get("data"))
    if not is_object(data):
        return "" if data in (None, "") else as_text(data)
    spelled = (("method", "http.method", "http.request.method"), ("url",), ("status_code", "http.response.status_code"))
    request = [next((data[name] for name in names if data.get(name)), None) for names in spelled]
    if isinstance(request[1], str):
        return " ".join(as_text(value) for value in request if value is not None)
    if "from" in data or "to" in data:
        return f"{as_text(data.get('from') or '')} → {as_text(data.get('to') or '')}"
    kept = {name: value for name, value in data.items() if value not in (None, "", {}, [])}
    return as_text(kept) if kept else ""


Section: TypeAlias = Callable[[Marker, Json, bool], Any]

SECTIONS: dict[str, tuple[Section, int]] = {
    "exceptions": (_exceptions, 7_500),
    "stacktrace": (_stacktrace, 4_000),
    "message": (_message, 1_600),
    "evidence": (_evidence, 3_200),
    "csp": (_csp, 1_600),
    "feedback": (_feedback, 2_600),
    "threads": (_threads, 5_000),
    "errors": (_errors, 1_300),
    "request": (_request, 2_000),
    "breadcrumbs": (_breadcrumbs, 3_200),
    "tags": (lambda marker, body, _: shown.tags(marker, body.get("tags")), 2_000),
    "contexts": (_contexts, 2_000),
    "extra": (_extra, 2_000),
}
"""The sections by name: the function that shows each, and its token budget when all sections are shown."""

_HEAD = record(
    id=shown.HEX, groupID=shown.ID, title=line, culprit=line, location=line, type=line, level=shown.LEVEL,
    platform=line, dateCreated=shown.TIME, dateReceived=shown.TIME, dist=line, release=line, sdk=line, trace=_TRACE,
    previousEventID=shown.HEX, nextEventID=shown.HEX,
)  # fmt: skip


def show(marker: Marker, body: Json, only: str | None = None) -> Json:
    """Show an event.

    Args:
        marker: Marks the event's texts, and holds the budget.
        body: Sentry's JSON.
        only: The one section to show, as whole as an answer may be.
    """
    release, sdk = body.get("release"), body.get("sdk")
    found: Json = _HEAD(
        marker,
        {
            **body,
            "release": release.get("version") if is_object(release) else release,
            "sdk": " ".join(str(sdk[name]) for name in ("name", "version") if sdk.get(name)) if is_object(sdk) else sdk,
            "trace": _context(body, "trace"),
        },
    ) or {}  # fmt: skip
    cut = []
    for name, (section, budget) in SECTIONS.items():
        if only in (None, name):
            before, marker.cut = marker.cut, False
            with marker.section(MOST_TOKENS if only else budget):
                value = section(marker, body, only is not None)
            if value not in (None, "", [], {}):
                found[name] = value
            if marker.cut:
                cut.append(name)
            marker.cut = marker.cut or before
    if cut and not only:
        found["shortened"] = f"{', '.join(cut)}: call get_event again with `section` set to one of these to see more."
    elif cut:
        found["shortened"] = f"{only} is longer than an answer may be. Sentry's own page shows the rest."
    return found
