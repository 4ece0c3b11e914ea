"""Verifies Sentry's webhooks and keeps the latest ones.

Source: docs.sentry.io/organization/integrations/integration-platform/webhooks. The signature covers only the body, so
anybody could change a request's time and id. A repeat is therefore recognised by its body.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import SecretStr

from sentry_mcp.untrusted import parsed_json

LARGEST_BODY = 1024 * 1024
"""Maximum size of a body, in bytes."""
MOST_SECONDS_APART = 300.0
KEPT = 100
REMEMBERED = 10_000
"""Number of bodies to remember, so that repeats are recognised."""

RESOURCE = "sentry-hook-resource"
SIGNATURE = "sentry-hook-signature"
TIMESTAMP = "sentry-hook-timestamp"

_RESOURCES = re.compile(r"[a-z_]{1,40}")


class WebhookError(Exception):
    """A request is refused; `status` is the HTTP status to answer with."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Received:
    """The parts of a webhook that are kept. Its text is unmarked until it is shown."""

    received: datetime
    resource: str
    action: Any
    issue_id: Any
    event_id: Any
    title: Any
    actor: Any


@dataclass(frozen=True)
class Whose:
    """The project that a webhook must belong to."""

    number: str
    slug: str


def verify(headers: Mapping[str, str], body: bytes, secret: SecretStr, now: float) -> None:
    """Check that Sentry sent a request, and recently.

    Args:
        headers: With names in lower case.
        body: Every byte as received.
        secret: The client secret of the integration.
        now: Seconds since the epoch.

    Raises:
        WebhookError: Sentry didn't send it, or its time is missing or more than `MOST_SECONDS_APART` off.
    """
    wanted = hmac.new(secret.get_secret_value().encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted.encode(), headers.get(SIGNATURE, "").encode("latin-1", "replace")):
        raise WebhookError(401, "The signature is not that of this body.")
    stamp = headers.get(TIMESTAMP, "")
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", stamp) or abs(now - float(stamp)) > MOST_SECONDS_APART:
        raise WebhookError(401, "The time of the request is missing or more than five minutes off.")


class Inbox:
    """The last webhooks of one project.

    Args:
        clock: Seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.foreign = 0
        """Number of webhooks dropped because they weren't the project's."""
        self._kept: deque[Received] = deque(maxlen=KEPT)
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    @property
    def latest(self) -> list[Received]:
        """Return the kept webhooks, the latest first."""
        return list(reversed(self._kept))

    def is_repeat(self, body: bytes) -> bool:
        """Tell whether the same body was taken before."""
        return hashlib.sha256(body).digest() in self._seen

    def take(self, resource: str, body: bytes, whose: Whose) -> Literal["taken", "repeat", "of another project"]:
        """Keep a verified webhook, unless it is a repeat or belongs to another project.

        Raises:
            WebhookError: The body or the resource is malformed.
        """
        if self.is_repeat(body):
            return "repeat"
        try:
            message = parsed_json(body)
        except ValueError:
            message = None
        if not isinstance(message, dict) or not _RESOURCES.fullmatch(resource):
            raise WebhookError(400, "The body is no webhook of Sentry's.")
        self._seen[hashlib.sha256(body).digest()] = None
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        data = message.get("data")
        subject = _subject(resource, data if isinstance(data, dict) else {})
        if not _is_of(subject, whose):
            self.foreign += 1
            return "of another project"
        actor = message.get("actor")
        self._kept.append(
            Received(
                received=datetime.fromtimestamp(self.clock(), UTC),
                resource=resource,
                action=message.get("action"),
                issue_id=subject.get("issue_id") or (subject.get("id") if resource == "issue" else None),
                event_id=subject.get("event_id"),
                title=subject.get("title") or subject.get("comment"),
                actor=actor.get("name") if isinstance(actor, dict) else None,
            )
        )
        return "taken"


def _subject(resource: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the object that a webhook is about. For a comment, that is `data` itself."""
    inner = data.get({"event_alert": "event"}.get(resource, resource))
    return inner if isinstance(inner, dict) else data


def _is_of(subject: dict[str, Any], whose: Whose) -> bool:
    """Tell whether a webhook names our project. One that names no project isn't ours."""
    project = subject.get("project", subject.get("project_id"))
    if isinstance(project, dict):
        project = project.get("id")
    if project is not None:
        return str(project) == whose.number
    if "project_slug" in subject:
        return bool(subject["project_slug"] == whose.slug)
    projects = subject.get("projects")
    return isinstance(projects, list) and projects == [whose.slug]
