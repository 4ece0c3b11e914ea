"""GitHub's API by PyGithub: sign-in, and requests that are repeated where that may help.

What is asked there is the affair of `dispatch` (the deploy) and `github_actions` (what there is).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from sophia_sync.inputs import Access
from sophia_sync.retries import TRANSIENT_STATUS, asked_wait, retrying
from sophia_sync.runtime.limits import TimeLimit

if TYPE_CHECKING:
    from github import Github

T = TypeVar("T")

# Seconds: GitHub itself ends a request that takes it more than ten.
_LONGEST_REQUEST = 12


class UnexpectedAnswerError(Exception):
    """An answer without what GitHub's API promises."""


class UnusableKeyError(Exception):
    """The GitHub App's private key looks like one, but nothing can be signed with it."""

    def __init__(self) -> None:
        super().__init__("the GitHub App's private key can't be used: it is incomplete, or no RSA key")


def sign_in(
    access: Access, repository: str, api_url: str, deadline: TimeLimit, permissions: dict[str, str] | None
) -> Github:
    """GitHub, as the token or the GitHub App of the settings sees it.

    Args:
        access: The token, or the App's id and private key; one of them is there.
        repository: The repository that the App is installed for.
        api_url: Where GitHub's API is.
        deadline: When all requests must be done.
        permissions: What the App's token shall be good for; None: everything that the App may do.

    Raises:
        UnusableKeyError: The App's private key is none; nobody was asked.
    """
    # PyGithub costs half a second to import: only when GitHub is to be asked.
    from github import Auth, Github, GithubIntegration  # noqa: PLC0415

    # Repeating requests is our own affair: a dispatch whose answer was lost may have started a run.
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
        raise UnusableKeyError from None
    with GithubIntegration(auth=app_auth, **options) as app:
        installation = app.get_repo_installation(owner, name)
        if not isinstance(installation.id, int):
            raise UnexpectedAnswerError
        github = app.get_github_for_installation(installation.id, permissions)
        auth = github.requester.auth
        if auth is None or not isinstance(auth.token, str):
            raise UnexpectedAnswerError
        return github


def unexpected() -> tuple[type[Exception], ...]:
    """What PyGithub makes of an answer that is none of GitHub's."""
    from github import BadAttributeException  # noqa: PLC0415

    return (BadAttributeException, UnexpectedAnswerError, AssertionError, KeyError, TypeError, ValueError)


def repeated(call: Callable[[], T], deadline: TimeLimit) -> T:
    """Call GitHub, again where that may help; what it fails with is raised as it is."""
    from github import GithubException  # noqa: PLC0415
    from requests import RequestException  # noqa: PLC0415

    passing: tuple[type[Exception], ...] = (RequestException, *unexpected())

    def may_pass(error: BaseException) -> bool:
        if isinstance(error, GithubException):
            return error.status in TRANSIENT_STATUS or (error.status == 403 and asked_wait(headers(error)) is not None)
        return isinstance(error, passing)

    return retrying(deadline, may_pass, headers)(call)


def headers(error: BaseException) -> Mapping[str, str]:
    """The headers of the answer that an error stands for."""
    return getattr(error, "headers", None) or {}


def message(data: object) -> str:
    """GitHub's own words for a refusal."""
    return str(data.get("message", "")) if isinstance(data, dict) else ""
