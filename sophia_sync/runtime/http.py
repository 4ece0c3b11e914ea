"""Send HTTP requests with time limits, retries and bounded answers. A token goes to one address only.

The preflight, the sign-in by OIDC, the approvals and `doctor` use it. PyGithub asks GitHub. For everything else, the
Pulumi CLI asks Pulumi Cloud.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Self
from urllib.parse import urljoin

import anyio
from pydantic import SecretStr
from requests import PreparedRequest, RequestException, Response, Session
from requests.exceptions import (
    ChunkedEncodingError,
    ContentDecodingError,
    HTTPError,
    ProxyError,
    SSLError,
    Timeout,
)
from requests.exceptions import ConnectionError as NoConnectionError
from urllib3.exceptions import HTTPError as Urllib3Error
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from sophia_sync.runtime.context import ca_bundle
from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.runtime.retries import TRANSIENT_STATUS, retrying
from sophia_sync.runtime.tasks import in_thread

LONGEST_REQUEST = 10.0
"""Seconds to connect, and then to wait for each part of the answer."""
MOST_REDIRECTS = 3
"""Maximum number of redirects to follow."""
LONGEST_QUOTE = 300
"""Maximum number of characters to quote from a service."""
LARGEST_ANSWER = 4 * 1024 * 1024
"""Maximum size of an answer, in bytes. Sentry's page of 100 client keys has about 300 kB."""
LONGEST_LOOK = 65_536
"""Maximum size of an answer to `look`, in bytes."""

_PIECE = 65_536
_TRANSIENT = (NoConnectionError, Timeout, ChunkedEncodingError, ContentDecodingError)
# `RequestException` is an OSError. A redirect to an invalid address raises ValueError.
_FAILURES = (OSError, ValueError)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class UnansweredError(Exception):
    """There is no usable answer. The text continues a sentence after the service's name and quotes nothing."""


@dataclass(frozen=True)
class Answer:
    """An answer, read to its end.

    Attributes:
        status: The HTTP status.
        links: The parsed header `Link`, by `rel`.
        body: The parsed JSON. None if the body isn't JSON.
    """

    status: int
    links: Mapping[str, Mapping[str, str]]
    body: Any


class Client:
    """An HTTP client for one service, with one token.

    Args:
        token: Sent in the header `Authorization`. None sends no token, not even one from the machine's `.netrc`.
        deadline: Ends waits and retries.
        scheme: The scheme of that header: `Bearer`, or `token` for Pulumi Cloud.
    """

    def __init__(self, token: SecretStr | None, deadline: TimeLimit, scheme: str = "Bearer") -> None:
        self._session = Session()
        # Without an `auth`, requests would look for one in the address and in the machine's `.netrc`.
        self._session.auth = _authorized(token, scheme)
        self._session.headers["Accept"] = "application/json"
        self._deadline = deadline

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def get(self, url: str, parameters: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a GET. Follow redirects only to the same scheme, host and port.

        Raises:
            UnansweredError: There is no complete answer, the service failed, or it redirects elsewhere.
        """
        answer, target = self._ask("GET", url, params=parameters)
        for _ in range(MOST_REDIRECTS):
            if target is None:
                return answer
            if _origin(target) is None or _origin(target) != _origin(url):
                raise UnansweredError("redirects to another address, where no token is sent")
            answer, target = self._ask("GET", target)
        if target is not None:
            raise UnansweredError("redirects again and again")
        return answer

    def post(self, url: str, form: Mapping[str, str]) -> Answer:
        """Return the answer to a form. Send it again if there was no answer. Follow no redirect.

        Raises:
            UnansweredError: As with `get`.
        """
        answer, target = self._ask("POST", url, data=form)
        if target is not None:
            raise UnansweredError("redirects to another address, where no token is sent")
        return answer

    def _ask(self, method: str, url: str, **what: Any) -> tuple[Answer, str | None]:
        """Return the answer, and the address that it redirects to."""
        failures: list[Exception] = []

        def ask() -> tuple[Answer, str | None]:
            try:
                return self._once(method, url, what)
            except _FAILURES as error:
                failures.append(error)
                raise

        try:
            return retrying(self._deadline, _is_transient, _headers_of)(ask)
        except _FAILURES:
            # An earlier error says more than that of a last attempt that the deadline cut short. Don't chain errors:
            # their texts and causes hold the address, and may hold more.
            telling = [failure for failure in failures if not isinstance(failure, Timeout)] or failures
            raise UnansweredError(_why(telling[-1])) from None

    def _once(self, method: str, url: str, what: dict[str, Any]) -> tuple[Answer, str | None]:
        seconds = min(LONGEST_REQUEST, self._deadline.remaining())
        if not seconds:
            raise Timeout
        with self._session.request(
            method, url, timeout=seconds, allow_redirects=False, stream=True, **what
        ) as response:
            if response.status_code in TRANSIENT_STATUS:
                raise HTTPError(response=response)
            answer = Answer(response.status_code, response.links, parsed(_read(response)))
            target = urljoin(response.url, response.headers["Location"]) if response.is_redirect else None
            return answer, target


def _read(response: Response) -> bytes:
    """Return the body.

    Raises:
        UnansweredError: It is larger than `LARGEST_ANSWER`.
    """
    content = bytearray()
    for piece in response.iter_content(_PIECE):
        content += piece
        if len(content) > LARGEST_ANSWER:
            raise UnansweredError(f"sends an answer of more than {LARGEST_ANSWER} bytes")
    return bytes(content)


async def look(url: str) -> tuple[int, Any]:
    """Ask an address once, without a token and without a proxy. Follow no redirect.

    Returns:
        The status and the parsed JSON. None stands for a body that isn't JSON or is longer than `LONGEST_LOOK`.

    Raises:
        UnansweredError: There was no complete answer in time.
    """

    def ask() -> tuple[int, Any]:
        with Session() as session:
            session.trust_env = False
            session.verify = ca_bundle() or True
            with session.get(url, timeout=LONGEST_REQUEST, allow_redirects=False, stream=True) as response:
                body = response.raw.read(LONGEST_LOOK + 1, decode_content=True)
        return response.status_code, parsed(body) if len(body) <= LONGEST_LOOK else None

    # In a thread: a name lookup has no time limit, and neither has an answer that arrives byte by byte.
    try:
        with anyio.move_on_after(LONGEST_REQUEST):
            return await in_thread(ask)
    except (*_FAILURES, HTTPException, Urllib3Error) as error:
        raise UnansweredError(_why(error)) from None
    raise UnansweredError("gives no answer in time")


def parsed(content: bytes) -> Any:
    """Parse JSON that a service sent. Return None if it isn't JSON, or is nested too deeply."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def one_line(text: str) -> str:
    """Return a service's words as one line of at most `LONGEST_QUOTE` characters.

    Cut between two words: the redactor, which runs later, doesn't find a secret that is cut off in the middle.
    """
    words = " ".join(text.split())
    if len(words) <= LONGEST_QUOTE:
        return words
    return words[: LONGEST_QUOTE + 1].rpartition(" ")[0] + "…"


def _authorized(token: SecretStr | None, scheme: str) -> Callable[[PreparedRequest], PreparedRequest]:
    def authorize(request: PreparedRequest) -> PreparedRequest:
        if token is not None:
            request.headers["Authorization"] = f"{scheme} {token.get_secret_value()}"
        return request

    return authorize


def _origin(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port, parsed as the connection parses them."""
    try:
        parts = parse_url(url)
    except LocationParseError:
        return None
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme or "")
    return (parts.scheme, parts.host, port) if parts.scheme and parts.host and port else None


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, (*_TRANSIENT, HTTPError))


def _headers_of(error: BaseException) -> Mapping[str, str]:
    return error.response.headers if isinstance(error, HTTPError) and error.response is not None else {}


def _why(error: Exception) -> str:
    if isinstance(error, HTTPError) and error.response is not None:
        return f"answers HTTP {error.response.status_code}"
    if isinstance(error, OSError) and not isinstance(error, RequestException):
        return "can't be asked: the CA bundle that SSL_CERT_FILE or REQUESTS_CA_BUNDLE names can't be read"
    reasons = {
        Timeout: "gives no answer in time",
        SSLError: "can't be trusted: the TLS handshake failed (a private CA is given by SSL_CERT_FILE)",
        ProxyError: "can't be reached through the proxy",
        NoConnectionError: "can't be reached, or closes the connection without an answer",
        ChunkedEncodingError: "breaks off in the middle of its answer",
        ContentDecodingError: "sends an answer that can't be decoded",
    }
    return next(
        (reason for kind, reason in reasons.items() if isinstance(error, kind)), "sends an answer that can't be read"
    )
