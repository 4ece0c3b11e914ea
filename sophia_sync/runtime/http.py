"""HTTP requests of our own: each with a time limit and retries, none that carries a token to another place.

The dispatch is PyGithub's affair, and Pulumi's API, but for the sign-in and the approvals, the CLI's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
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

from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.runtime.retries import TRANSIENT_STATUS, retrying
from sophia_sync.runtime.tasks import in_thread

LONGEST_REQUEST = 10.0
"""Seconds that a request may take to connect, and then to answer."""
MOST_REDIRECTS = 3
LONGEST_QUOTE = 300
LONGEST_LOOK = 65_536

_TRANSIENT = (NoConnectionError, Timeout, ChunkedEncodingError, ContentDecodingError)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class UnansweredError(Exception):
    """No answer to work with; the text goes on from the service's name, and shows nothing of the request."""


class Client:
    """Asks one service with one token.

    Args:
        token: Sent in the header `Authorization`; None sends none, not even one of the machine's `.netrc`.
        deadline: Ends waits and repetitions.
        scheme: The scheme of that header: `Bearer`, or `token` as Pulumi Cloud takes it.
    """

    def __init__(self, token: SecretStr | None, deadline: TimeLimit, scheme: str = "Bearer") -> None:
        self._session = Session()
        # With an `auth` of ours, requests looks for none in the address or in the machine's `.netrc`.
        self._session.auth = _authorized(token, scheme)
        self._session.headers["Accept"] = "application/json"
        self._deadline = deadline

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def get(self, url: str, parameters: Mapping[str, str] | None = None) -> Response:
        """Ask for `url`; a redirect is followed to the same scheme, host and port only, and at most three times.

        Raises:
            UnansweredError: Nothing came, it broke off, the service failed, or it redirects elsewhere.
        """
        response = self._ask("GET", url, params=parameters)
        for _ in range(MOST_REDIRECTS):
            if not response.is_redirect:
                return response
            target = urljoin(response.url, response.headers["Location"])
            if _origin(target) is None or _origin(target) != _origin(url):
                raise UnansweredError("redirects to another address, where no token is sent")
            response = self._ask("GET", target)
        if response.is_redirect:
            raise UnansweredError("redirects again and again")
        return response

    def post(self, url: str, form: Mapping[str, str]) -> Response:
        """Send a form. It is sent again if no answer came; no redirect is followed.

        Raises:
            UnansweredError: As with `get`.
        """
        response = self._ask("POST", url, data=form)
        if response.is_redirect:
            raise UnansweredError("redirects to another address, where no token is sent")
        return response

    def _ask(self, method: str, url: str, **what: Any) -> Response:
        failures: list[Exception] = []

        def ask() -> Response:
            try:
                return self._once(method, url, what)
            # A redirect to what is no address is a ValueError, even if it isn't followed.
            except (RequestException, ValueError) as error:
                failures.append(error)
                raise

        try:
            return retrying(self._deadline, _is_transient, _headers_of)(ask)
        except (RequestException, ValueError):
            # A last try that the deadline cut short tells less than those before it. None is chained: its text and
            # its cause hold the address, and may hold more.
            telling = [failure for failure in failures if not isinstance(failure, Timeout)] or failures
            raise UnansweredError(_why(telling[-1])) from None

    def _once(self, method: str, url: str, what: dict[str, Any]) -> Response:
        seconds = min(LONGEST_REQUEST, self._deadline.remaining())
        if not seconds:
            raise Timeout
        response = self._session.request(method, url, timeout=seconds, allow_redirects=False, **what)
        if response.status_code in TRANSIENT_STATUS:
            raise HTTPError(response=response)
        return response


async def look(url: str) -> tuple[int, Any]:
    """Ask an address once, with no token and not through a proxy, and follow no redirect.

    Returns:
        The status, and what the answer's JSON is; None if it is none, or longer than `LONGEST_LOOK` bytes.

    Raises:
        UnansweredError: Nothing came in time, or it broke off.
    """

    def ask() -> tuple[int, Any]:
        with Session() as session:
            session.trust_env = False
            with session.get(url, timeout=LONGEST_REQUEST, allow_redirects=False, stream=True) as response:
                body = response.raw.read(LONGEST_LOOK + 1, decode_content=True)
        try:
            return response.status_code, json.loads(body) if len(body) <= LONGEST_LOOK else None
        except (ValueError, RecursionError):
            return response.status_code, None

    # In a thread: neither the look-up of a name nor an answer that comes byte by byte has a limit of its own.
    try:
        with anyio.move_on_after(LONGEST_REQUEST):
            return await in_thread(ask)
    except (RequestException, HTTPException, Urllib3Error, ValueError) as error:
        raise UnansweredError(_why(error)) from None
    raise UnansweredError("gives no answer in time")


def json_of(response: Response) -> Any:
    """The JSON of an answer; None if it is none."""
    try:
        return response.json()
    except ValueError:
        return None


def one_line(text: str) -> str:
    """What a service says, fit for a sentence of ours: in one line, and not too long.

    Redact it before: what is cut off in the middle, no redactor knows.
    """
    words = " ".join(text.split())
    return words if len(words) <= LONGEST_QUOTE else f"{words[:LONGEST_QUOTE]}…"


def _authorized(token: SecretStr | None, scheme: str) -> Callable[[PreparedRequest], PreparedRequest]:
    def authorize(request: PreparedRequest) -> PreparedRequest:
        if token is not None:
            request.headers["Authorization"] = f"{scheme} {token.get_secret_value()}"
        return request

    return authorize


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port, read by the same parser that the connection is made with."""
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
    reasons = {
        Timeout: "gives no answer in time",
        SSLError: "can't be trusted: the TLS handshake failed",
        ProxyError: "can't be reached through the proxy",
        NoConnectionError: "can't be reached, or closes the connection without an answer",
        ChunkedEncodingError: "breaks off in the middle of its answer",
        ContentDecodingError: "sends an answer that can't be decoded",
    }
    return next(
        (reason for kind, reason in reasons.items() if isinstance(error, kind)), "sends an answer that can't be read"
    )
