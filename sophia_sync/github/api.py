"""GitHub's API by PyGithub: sign-in, retries, time limits, and failures in words.

`dispatch` makes the deploy's requests, and `actions` those of `doctor`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from sophia_sync.runtime.http import one_line
from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.runtime.retries import TRANSIENT_STATUS, asked_wait, retrying
from sophia_sync.settings.inputs import Access

if TYPE_CHECKING:
    from github import Github, GithubException

T = TypeVar("T")

# Time limit of one request, in seconds. GitHub itself ends a request after ten.
_LONGEST_REQUEST = 12
# Time limit of one attempt with all its requests, in seconds, however slowly the answers arrive.
_LONGEST_ATTEMPT = 45.0
# Time limit of an attempt that begins at the deadline (the last look at a run), in seconds.
_LAST_ATTEMPT = 2.0
# Seconds to wait if GitHub limits the rate and doesn't say for how long.
# Source: docs.github.com, "Rate limits for the REST API", "Exceeding the rate limit".
_RATE_LIMIT_WAIT = "60"

# Words in GitHub's message, the cause and the remedy.
_REASONS: tuple[tuple[str, str, str], ...] = (
    (
        "rate limit",
        "GitHub limits the rate of requests",
        "Run again later; a GitHub App has a limit of its own.",
    ),
    (
        "saml enforcement",
        "the organization demands single sign-on (SAML), and the token isn't authorised for it",
        "Authorise the token: GitHub → Settings → Developer settings → the token → Configure SSO.",
    ),
    (
        "ip allow list",
        "the organization's IP allow list doesn't have the runner's address",
        "Add the runner's address to the allow list, or run the job on a runner that is on it.",
    ),
    (
        "archived",
        "the repository is archived, so nothing can run there",
        "Unarchive it in its settings, or name another one in `deploy-repository`.",
    ),
    (
        "oauth app access restrictions",
        "the organization restricts access by OAuth apps",
        "Use a fine-grained token or a GitHub App.",
    ),
)


class UnexpectedAnswerError(Exception):
    """Raised for an answer that lacks what GitHub's API promises."""


class GitHubError(Exception):
    """GitHub refused a request, or didn't answer it.

    Args:
        what: The cause, as a part of a sentence; without the token or the key.
        todo: What to do about it; empty if the caller knows better.
        status: The status of the response, if there was one.
        wait: Seconds to wait before GitHub is asked again, if it says so.
    """

    def __init__(self, what: str, todo: str = "", status: int | None = None, wait: float | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo
        self.status = status
        self.wait = wait

    @property
    def is_final(self) -> bool:
        """Return whether another request would be refused as well."""
        return self.wait is None and self.status in (401, 403, 404)


def sign_in(
    access: Access, repository: str, api_url: str, deadline: TimeLimit, permissions: dict[str, str] | None
) -> Github:
    """Return a client for the token or the GitHub App of the settings.

    Args:
        access: The token, or the App's id and private key. One of them must be set.
        repository: The repository that the App is installed for.
        api_url: The address of GitHub's API.
        deadline: The time limit for all requests.
        permissions: The permissions to ask for in the App's token; None: all that the App has.

    Raises:
        GitHubError: The App can't sign in.
    """
    # PyGithub takes half a second to import: load it only for a request.
    from github import Auth, Github, GithubException, GithubIntegration  # noqa: PLC0415

    # We retry, not PyGithub: a dispatch whose answer was lost may have started a run.
    options: dict[str, Any] = {
        "base_url": api_url,
        "timeout": max(1, min(_LONGEST_REQUEST, int(deadline.remaining()))),
        "retry": None,
        "seconds_between_requests": None,
        "seconds_between_writes": None,
        "lazy": True,  # ask only for what is read
    }
    if access.github_app_id is None or access.github_app_private_key is None:
        assert access.github_token is not None  # noqa: S101 - the caller has seen to it
        return Github(auth=Auth.Token(access.github_token.get_secret_value()), **options)
    owner, _, name = repository.partition("/")
    key = access.github_app_private_key.get_secret_value()
    app_auth = Auth.AppAuth(access.github_app_id, key)
    try:
        app_auth.create_jwt()
    except Exception:  # noqa: BLE001 - by kinds of libraries that PyGithub uses; the text may hold parts of the key
        raise GitHubError(
            "the GitHub App's private key can't be used: it is incomplete, or no RSA key",
            "Store the whole file that GitHub gave for the App in `github-app-private-key`, and run again.",
        ) from None
    with GithubIntegration(auth=app_auth, **options) as app:
        try:
            installation = app.get_repo_installation(owner, name)
            if not isinstance(installation.id, int):
                raise UnexpectedAnswerError
            github = app.get_github_for_installation(installation.id, permissions)
            auth = github.requester.auth
            if auth is None or not isinstance(auth.token, str):
                raise UnexpectedAnswerError
        except GithubException as error:
            raise (_app_refused(error, repository, permissions) or error) from None
        return github


def _app_refused(error: GithubException, repository: str, permissions: Mapping[str, str] | None) -> GitHubError | None:
    """Return why a GitHub App can't sign in; None for a failure that isn't about the App."""
    asked = ", ".join(f"`{name}: {level}`" for name, level in (permissions or {}).items())
    settings = "Settings → Developer settings → GitHub Apps"
    reasons = {
        401: (
            "GitHub refused the sign-in of the GitHub App",
            "`github-app-id` and `github-app-private-key` must be of one App, and the machine's clock must be right.",
        ),
        404: (
            f"the GitHub App isn't installed for {repository}",
            f"Install it there: {settings} → the App → Install App; or check `deploy-repository`.",
        ),
        422: (
            f"the GitHub App lacks a permission there ({asked})",
            f"Give it Actions: Read and write in {settings} → the App → Permissions, and accept the change where it is "
            "installed.",
        ),
    }
    if "suspended" in message(error.data).lower():
        reasons[403] = (
            "the installation of the GitHub App is suspended",
            "Unsuspend it in the organization's settings.",
        )
    if error.status not in reasons:
        return None
    cause, todo = reasons[error.status]
    return GitHubError(f"{cause} ({reason(error)})", todo, error.status)


def ask(call: Callable[[], T], deadline: TimeLimit, api_url: str, *, once: bool = False) -> T:
    """Call GitHub, with retries and a time limit for each attempt.

    Args:
        call: Sends the requests with PyGithub. It must be safe to repeat.
        deadline: The time limit for all attempts.
        api_url: The address of GitHub's API, for the error.
        once: Make only one attempt.

    Raises:
        GitHubError: GitHub refused, or failed until the time limit.
    """
    try:
        found: T = retrying(deadline, may_pass, headers, 1 if once else None)(_within, call, deadline)
    except Exception as error:
        failure = _in_words(error, api_url)
        if failure is None:
            raise
        raise failure from None
    return found


def _within(call: Callable[[], T], deadline: TimeLimit) -> T:
    """Call in a thread, and abandon the thread at the time limit.

    The time limit of `requests` starts again with each byte, so it never ends an answer that arrives byte by byte.

    Raises:
        TimeoutError: The call took too long.
    """
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised by `result`, where it is seen
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return answer.result(timeout=min(_LONGEST_ATTEMPT, deadline.remaining() + _LAST_ATTEMPT))


def _unexpected() -> tuple[type[Exception], ...]:
    """Return the errors that PyGithub raises for an answer that isn't GitHub's."""
    from github import BadAttributeException  # noqa: PLC0415

    return (
        BadAttributeException,
        UnexpectedAnswerError,
        AssertionError,
        KeyError,
        OverflowError,
        RuntimeError,
        TypeError,
        ValueError,
    )


def may_pass(error: BaseException) -> bool:
    """Return whether an error is transient."""
    from github import GithubException  # noqa: PLC0415
    from requests import RequestException  # noqa: PLC0415

    if isinstance(error, GithubException):
        return error.status in TRANSIENT_STATUS or asked_wait(headers(error)) is not None
    return isinstance(error, (RequestException, TimeoutError, *_unexpected()))


def headers(error: BaseException) -> Mapping[str, str]:
    """Return the headers of an error's response. Add `retry-after` if a rate limit doesn't say how long to wait."""
    found: dict[str, str] = dict(getattr(error, "headers", None) or {})
    limited = (
        getattr(error, "status", None) in (403, 429) and "rate limit" in message(getattr(error, "data", "")).lower()
    )
    return {"retry-after": _RATE_LIMIT_WAIT, **found} if limited and asked_wait(found) is None else found


def _in_words(error: Exception, api_url: str) -> GitHubError | None:
    """Return an error as `GitHubError`; None for a defect of ours."""
    from github import GithubException  # noqa: PLC0415
    from requests import RequestException  # noqa: PLC0415

    if isinstance(error, GitHubError):
        return error
    if isinstance(error, GithubException):
        return refused(error)
    again = "Run again later."
    if isinstance(error, TimeoutError):
        return GitHubError(f"GitHub at {api_url} gave no complete answer in time", again)
    if isinstance(error, OSError):
        if isinstance(error, RequestException):
            what = f"could not be reached ({type(error).__name__})"
        else:
            what, again = "can't be asked: the CA bundle can't be read", "Correct SSL_CERT_FILE or REQUESTS_CA_BUNDLE."
        return GitHubError(f"GitHub at {api_url} {what}", again)
    if isinstance(error, _unexpected()):
        todo = "Check that GITHUB_API_URL is GitHub's API, and run again."
        return GitHubError(f"GitHub at {api_url} gave an answer that makes no sense", todo)
    return None


def refused(error: GithubException) -> GitHubError:
    """Return a refusal as `GitHubError`, without a remedy if none is known."""
    said, why = message(error.data).lower(), reason(error)
    if error.status in (403, 429):
        for words, cause, todo in _REASONS:
            if words in said:
                return GitHubError(f"{cause} ({why})", todo, error.status, asked_wait(headers(error)))
    if error.status == 401:
        return GitHubError(
            f"GitHub refused the token ({why})",
            "Check `github-token`: it is wrong, expired or revoked.",
            error.status,
        )
    if error.status >= 500 or error.status in TRANSIENT_STATUS:
        return GitHubError(f"GitHub failed ({why})", "Run again later; see githubstatus.com.", error.status)
    return GitHubError(f"GitHub refused it ({why})", status=error.status)


def reason(error: GithubException) -> str:
    """Return the status and GitHub's own words."""
    said = one_line(message(error.data))
    return f"HTTP {error.status}{f': {said}' if said else ''}"


def message(data: object) -> str:
    """Return GitHub's own words for a refusal."""
    return str(data.get("message") or "") if isinstance(data, dict) else ""
