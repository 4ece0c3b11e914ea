"""Sign-in without a stored token: a job's identity token from GitHub, exchanged with ESC."""

import pytest
import requests

from sandbox import Sandbox

REPOSITORY = "ai-cherry/sophia-ai"
AUDIENCE = "urn:pulumi:org:acme"
ACCESS_TOKEN = "urn:pulumi:token-type:access_token"


@pytest.fixture
def form(box: Sandbox) -> dict[str, str]:
    box.github.add_repository(REPOSITORY)
    box.esc.create("acme/web/production", "values: {a: 1}\n")
    box.esc.create("other/web/production")
    return {
        "audience": AUDIENCE,
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": f"{ACCESS_TOKEN}:organization",
        "scope": "",
        "expiration": "3600",
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "subject_token": id_token(box),
    }


def id_token(box: Sandbox, audience: str = AUDIENCE) -> str:
    headers = {"Authorization": f"Bearer {box.github.id_token_request_token}"}
    answer = requests.get(f"{box.github.id_token_url}&audience={audience}", headers=headers, timeout=60)
    return str(answer.json()["value"])


def exchange(box: Sandbox, form: dict[str, str]) -> requests.Response:
    return requests.post(f"{box.esc.url}/api/oauth/token", form, timeout=60)


def test_an_identity_token_is_exchanged(box: Sandbox, form: dict[str, str]) -> None:
    granted = exchange(box, form).json()
    assert (granted["token_type"], granted["expires_in"]) == ("token", 3600)
    headers = {"Authorization": f"token {granted['access_token']}"}
    user = requests.get(f"{box.esc.url}/api/user", headers=headers, timeout=60).json()
    assert user["tokenInfo"]["organization"] == "acme"
    for organization, status in (("acme", 200), ("other", 404)):
        url = f"{box.esc.url}/api/esc/environments/{organization}/web/production"
        assert requests.get(url, headers=headers, timeout=60).status_code == status


def test_team_and_personal_tokens(box: Sandbox, form: dict[str, str]) -> None:
    box.esc.teams.add("web")
    for kind, scope, status in (
        ("team", "team:web", 200),
        ("team", "team:nobody", 403),
        ("team", "", 400),
        ("personal", "user:sandbox", 200),
        ("personal", "user:nobody", 403),
        ("organization", "team:web", 400),
        ("organization", "admin", 200),
    ):
        asked = {**form, "requested_token_type": f"{ACCESS_TOKEN}:{kind}", "scope": scope}
        assert exchange(box, asked).status_code == status, (kind, scope)


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("audience", "acme", 400),
        ("audience", "urn:pulumi:org:other", 401),
        ("grant_type", "password", 400),
        ("requested_token_type", ACCESS_TOKEN, 400),
        ("expiration", "soon", 400),
        ("expiration", "9999999", 400),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt", 400),
        ("subject_token", "", 401),
        ("subject_token", "a.b.c", 401),
    ],
)
def test_each_field_is_checked(name: str, value: str, status: int, box: Sandbox, form: dict[str, str]) -> None:
    answer = exchange(box, form | {name: value})
    assert (answer.status_code, answer.json()["code"]) == (status, status)


def test_an_identity_token_for_another_audience_is_refused(box: Sandbox, form: dict[str, str]) -> None:
    assert exchange(box, form | {"subject_token": id_token(box, "sts.amazonaws.com")}).status_code == 401


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Bearer {token}"])
def test_only_the_jobs_request_token_gets_an_identity_token(
    box: Sandbox, form: dict[str, str], authorization: str | None
) -> None:
    headers = {"Authorization": authorization.format(token=box.github.token)} if authorization else {}
    assert requests.get(box.github.id_token_url, headers=headers, timeout=60).status_code == 401


def test_the_account_is_shown_as_the_published_schema_says(box: Sandbox) -> None:
    """Source: `provider/pkg/cloud/spec.json` in github.com/pulumi/pulumi-pulumiservice."""
    box.esc.create("acme/web/production")
    headers = {"Authorization": f"token {box.esc.token}"}
    default = requests.get(f"{box.esc.url}/api/user/organizations/default", headers=headers, timeout=60).json()
    assert default == {"GitHubLogin": "acme", "Messages": []}
    user = requests.get(f"{box.esc.url}/api/user", headers=headers, timeout=60).json()
    assert {"hasMFA", "isManagedByMultiOrg", "isOrgManaged"} <= user.keys()
    assert [row["role"] for row in user["organizations"]] == ["member"]
