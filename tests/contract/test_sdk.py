"""The package `pulumi-esc-sdk` against the local ESC."""

from typing import Any

import pytest
from pulumi_esc_sdk import EnvironmentDefinition, EnvironmentDefinitionValues, EscClient, esc_client
from pulumi_esc_sdk.exceptions import ApiException, NotFoundException, UnauthorizedException

from sandbox import Sandbox

ORGANIZATION, PROJECT, NAME = WHERE = "acme", "web", "production"
ENVIRONMENT = "/".join(WHERE)
DEFINITION = """\
values:
  greeting: hello
  token:
    fn::secret: s3cret
  list: [1, two]
"""


@pytest.fixture
def client(box: Sandbox) -> EscClient:
    box.esc.create(ENVIRONMENT, DEFINITION)
    return esc_client.default_client(host=box.esc.url, access_token=box.esc.token)


def test_environments_are_created_listed_cloned_and_deleted(box: Sandbox, client: EscClient) -> None:
    client.create_environment(ORGANIZATION, PROJECT, "staging")
    client.clone_environment(ORGANIZATION, PROJECT, NAME, PROJECT, "copy")
    listed = client.list_environments(ORGANIZATION)
    assert [(item.project, item.name) for item in listed.environments] == [
        (PROJECT, "copy"),
        (PROJECT, "production"),
        (PROJECT, "staging"),
    ]
    assert box.esc.values("acme/web/copy") == box.esc.values(ENVIRONMENT)
    client.delete_environment(ORGANIZATION, PROJECT, "copy")
    with pytest.raises(NotFoundException):
        client.get_environment(ORGANIZATION, PROJECT, "copy")


def test_a_long_list_comes_in_pages(box: Sandbox, client: EscClient) -> None:
    for number in range(120):
        box.esc.create(f"acme/many/environment-{number:03}")
    page = client.list_environments(ORGANIZATION)
    names = [item.name for item in page.environments]
    while page.next_token:
        page = client.list_environments(ORGANIZATION, page.next_token)
        names += [item.name for item in page.environments]
    assert len(names) == len(set(names)) == 121


def test_a_definition_is_read_with_ciphertext_and_decrypted(client: EscClient) -> None:
    stored, raw = client.get_environment(*WHERE)
    assert stored.values.additional_properties["greeting"] == "hello"
    assert b"s3cret" not in raw
    _, decrypted = client.decrypt_environment(*WHERE)
    assert decrypted == DEFINITION


def test_values_are_opened_and_read(client: EscClient) -> None:
    _, values, _ = client.open_and_read_environment(*WHERE)
    assert values == {"greeting": "hello", "token": "s3cret", "list": [1, "two"]}
    session = client.open_environment(*WHERE).id
    value, plain = client.read_open_environment_property(*WHERE, session, "token")
    assert (value.secret, plain) == (True, "s3cret")
    _, plain = client.read_open_environment_property(*WHERE, session, "list[1]")
    assert plain == "two"


def test_a_definition_is_updated_as_text_and_as_an_object(box: Sandbox, client: EscClient) -> None:
    text = "# A note.\nvalues: {greeting: bonjour}\n"
    assert client.update_environment_yaml(*WHERE, text).diagnostics is None
    assert box.esc.definition(ENVIRONMENT) == text
    values = EnvironmentDefinitionValues(additional_properties={"token": {"fn::secret": "new"}})
    client.update_environment(*WHERE, EnvironmentDefinition(values=values))
    assert (box.esc.values(ENVIRONMENT), box.esc.is_secret(ENVIRONMENT, "token")) == ({"token": "new"}, True)


def test_a_definition_with_errors_is_refused(box: Sandbox, client: EscClient) -> None:
    with pytest.raises(ApiException) as refused:
        client.update_environment_yaml(*WHERE, "values: {greeting: '${nobody}'}\n")
    assert (refused.value.status, box.esc.revision(ENVIRONMENT)) == (400, 2)
    refusal: Any = refused.value.data
    assert [item.summary for item in refusal.diagnostics] == ['unknown property "nobody"']
    checked = client.check_environment_yaml(ORGANIZATION, "values: {greeting: '${nobody}'}\n")
    assert [item.summary for item in checked.diagnostics] == ['unknown property "nobody"']
    assert client.check_environment_yaml(ORGANIZATION, DEFINITION).diagnostics is None


def test_revisions_are_listed_read_and_opened(client: EscClient) -> None:
    client.update_environment_yaml(*WHERE, "values: {greeting: bonjour}\n")
    revisions = client.list_environment_revisions(*WHERE)
    assert [(item.number, item.tags) for item in revisions] == [(3, ["latest"]), (2, []), (1, [])]
    assert [item.number for item in client.list_environment_revisions(*WHERE, before=3, count=1)] == [2]
    assert client.get_environment_at_version(*WHERE, "3")[1] == b"values: {greeting: bonjour}\n"
    assert client.open_and_read_environment_at_version(*WHERE, "2")[1]["greeting"] == "hello"


def test_revisions_are_tagged(box: Sandbox, client: EscClient) -> None:
    client.create_environment_revision_tag(*WHERE, "stable", 1)
    client.update_environment_revision_tag(*WHERE, "stable", 2)
    assert client.get_environment_revision_tag(*WHERE, "stable").revision == 2
    assert [tag.name for tag in client.list_environment_revision_tags(*WHERE).tags] == ["latest", "stable"]
    assert [tag.name for tag in client.list_environment_revision_tags(*WHERE, after="latest", count=1).tags] == [
        "stable"
    ]
    assert box.esc.revision_tags(ENVIRONMENT) == {"latest": 2, "stable": 2}
    client.delete_environment_revision_tag(*WHERE, "stable")
    with pytest.raises(NotFoundException):
        client.get_environment_revision_tag(*WHERE, "stable")


def test_environments_are_tagged(box: Sandbox, client: EscClient) -> None:
    client.create_environment_tag(*WHERE, "team", "web")
    client.update_environment_tag(*WHERE, "team", "web", "owner", "platform")
    assert client.get_environment_tag(*WHERE, "owner").value == "platform"
    assert list(client.list_environment_tags(*WHERE).tags) == ["owner"]
    assert box.esc.tags(ENVIRONMENT) == {"owner": "platform"}
    client.delete_environment_tag(*WHERE, "owner")
    assert box.esc.tags(ENVIRONMENT) == {}


def test_the_etag_changes_with_each_revision(box: Sandbox, client: EscClient) -> None:
    def etag() -> str:
        return str(client.esc_api.get_environment_e_tag_with_http_info(*WHERE).headers["ETag"])

    before = etag()
    box.esc.save(ENVIRONMENT, DEFINITION)
    assert before != etag() == box.esc.revisions(ENVIRONMENT)[-1].etag


def test_a_wrong_token_is_refused(box: Sandbox) -> None:
    stranger: Any = esc_client.default_client(host=box.esc.url, access_token="pul-wrong")
    with pytest.raises(UnauthorizedException):
        stranger.list_environments(ORGANIZATION)
