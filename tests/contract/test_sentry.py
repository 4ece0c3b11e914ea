"""What the local Sentry's web API returns for a token, a project and its client keys."""

import pytest
import requests

from sandbox import Sandbox

PROJECT = "/api/0/projects/pay-ready/pay-ready/"


def get(box: Sandbox, path: str, token: str | None) -> requests.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return requests.get(box.sentry.url + path, headers=headers, timeout=60)


def test_the_index_shows_the_scopes_of_a_token(box: Sandbox) -> None:
    scopes = ["event:read", "event:write", "project:read", "project:write"]
    assert get(box, "/api/0/", box.sentry.token).json() == {"version": "0", "auth": {"scopes": scopes}, "user": None}
    assert get(box, "/api/0/", None).json()["auth"] is None
    box.sentry.scopes.clear()
    assert get(box, "/api/0/", box.sentry.token).json()["auth"] == {"scopes": []}


@pytest.mark.parametrize("path", ["/api/0/", PROJECT, PROJECT + "keys/"])
def test_a_wrong_token_is_refused_everywhere(path: str, box: Sandbox) -> None:
    answer = get(box, path, "sntrys_wrong")
    assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid token"})


def test_a_server_may_take_a_wrong_token_for_none(box: Sandbox) -> None:
    box.sentry.refused_tokens_are_anonymous = True
    assert get(box, "/api/0/", "sntrys_wrong").json()["auth"] is None
    assert get(box, PROJECT, "sntrys_wrong").status_code == 401


def test_a_region_has_no_index_for_anybody(box: Sandbox) -> None:
    box.sentry.has_index = False
    for token in (box.sentry.token, "sntrys_wrong", None):
        answer = get(box, "/api/0/", token)
        assert (answer.status_code, answer.content) == (404, b"")
    assert get(box, PROJECT, box.sentry.token).status_code == 200


@pytest.mark.parametrize("route", ["", "keys/", "keys/?per_page=1"])
def test_a_former_slug_is_redirected(route: str, box: Sandbox) -> None:
    box.sentry.rename_project("pay-ready", "pay-ready", "pay")
    headers = {"Authorization": f"Bearer {box.sentry.token}"}
    url = f"{box.sentry.url}{PROJECT}{route}"
    answer = requests.get(url, headers=headers, timeout=60, allow_redirects=False)
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"/api/0/projects/pay-ready/pay/{route}"
    assert answer.json()["slug"] == "pay"
    assert answer.json()["detail"]["code"] == "resource-moved"
    assert get(box, "/api/0/projects/pay-ready/pay/", box.sentry.token).json()["slug"] == "pay"


def test_a_former_slug_is_not_shown_to_a_token_that_may_not_see_the_project(box: Sandbox) -> None:
    box.sentry.rename_project("pay-ready", "pay-ready", "pay")
    box.sentry.add_token("events-only", ["event:admin"])
    assert get(box, PROJECT, "events-only").status_code == 403


def test_a_project_has_its_number(box: Sandbox) -> None:
    answer = get(box, PROJECT, box.sentry.token)
    assert (answer.json()["id"], answer.json()["slug"]) == (str(box.sentry.project_id), "pay-ready")
    assert int(answer.headers["X-Sentry-Rate-Limit-Remaining"]) > 0


def test_a_key_gives_the_dsn(box: Sandbox) -> None:
    (key,) = get(box, PROJECT + "keys/", box.sentry.token).json()
    assert (key["public"], key["projectId"], key["isActive"]) == (box.sentry.public_key, box.sentry.project_id, True)
    assert key["dsn"]["public"] == box.sentry.dsn
    assert box.sentry.dsn.startswith(f"https://{box.sentry.public_key}@")
    assert box.sentry.dsn.endswith(f"/{box.sentry.project_id}")


def test_keys_may_be_inactive_and_many(box: Sandbox) -> None:
    box.sentry.set_key_active(box.sentry.public_key, False)
    for _ in range(149):
        box.sentry.add_key("pay-ready", "pay-ready")
    first = get(box, PROJECT + "keys/", box.sentry.token)
    assert (len(first.json()), first.json()[0]["isActive"]) == (100, False)
    assert 'rel="next"; results="true"; cursor="0:100:0"' in first.headers["Link"]
    second = get(box, PROJECT + "keys/?cursor=0:100:0", box.sentry.token)
    assert (len(second.json()), 'rel="next"; results="false"' in second.headers["Link"]) == (50, True)
    assert len(get(box, PROJECT + "keys/?status=inactive", box.sentry.token).json()) == 1


@pytest.mark.parametrize("path", [PROJECT, PROJECT + "keys/"])
def test_a_project_needs_a_project_scope(path: str, box: Sandbox) -> None:
    box.sentry.add_token("events-only", ["event:admin"])
    answer = get(box, path, "events-only")
    detail = {"detail": "You do not have permission to perform this action."}
    assert (answer.status_code, answer.json()) == (403, detail)


@pytest.mark.parametrize("path", ["/api/0/projects/pay-ready/other/", "/api/0/projects/other/pay-ready/keys/"])
def test_what_isnt_there_is_404(path: str, box: Sandbox) -> None:
    answer = get(box, path, box.sentry.token)
    assert (answer.status_code, answer.json()) == (404, {"detail": "The requested resource does not exist"})


def test_projects_are_told_apart(box: Sandbox) -> None:
    box.sentry.add_project("pay-ready", "other", 42)
    public = box.sentry.add_key("pay-ready", "other")
    (key,) = get(box, "/api/0/projects/pay-ready/other/keys/", box.sentry.token).json()
    assert (key["public"], key["dsn"]["public"]) == (public, box.sentry.dsn_of(public, 42))
