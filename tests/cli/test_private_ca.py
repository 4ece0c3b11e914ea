"""Services with certificates of a private CA: one variable makes requests, PyGithub and the Pulumi CLI trust it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from github import Auth, Github

from sandbox import Sandbox
from sophia_sync.runtime.context import shared_certificates
from tests.support.action import Action
from tests.support.inputs import VALID, environment
from tests.support.tls import PrivateCA, tls_in_front_of

pytestmark = pytest.mark.pulumi


@pytest.fixture
def ca(tmp_path: Path) -> PrivateCA:
    folder = tmp_path / "ca"
    folder.mkdir()
    return PrivateCA(folder)


@pytest.fixture
def by_tls(action: Action, box: Sandbox, ca: PrivateCA) -> Iterator[dict[str, str]]:
    """Yield the variables of a run that reaches Pulumi Cloud and Sentry over TLS."""
    action.create()
    with (
        tls_in_front_of(box.esc.url, ca.context) as esc,
        tls_in_front_of(box.sentry.url, ca.context) as sentry,
    ):
        inputs = action.inputs(
            pulumi_cloud_url=esc,
            sentry_url=sentry,
            sentry_api_token=box.sentry.token,
            sentry_dsn=box.sentry.dsn,
            sentry_organization_slug=box.sentry.organization,
            sentry_project_slug=box.sentry.project,
            preflight="enforce",
        )
        yield action.variables(inputs)


VARIABLES = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]


@pytest.mark.parametrize("variable", VARIABLES)
def test_one_variable_serves_the_cli_and_requests(
    action: Action, box: Sandbox, ca: PrivateCA, by_tls: dict[str, str], variable: str
) -> None:
    ran = action.run_with(by_tls | {variable: str(ca.certificate)})
    assert ran.annotations == ran.warnings == []
    assert ran.code == 0
    assert action.values["SENTRY_DSN"] == box.sentry.dsn
    assert len(box.sentry.requests) == 3


@pytest.mark.parametrize("variable", VARIABLES)
def test_it_serves_pygithub(action: Action, box: Sandbox, ca: PrivateCA, tmp_path: Path, variable: str) -> None:
    auth = Auth.Token(VALID["github-token"])
    with (
        environment({variable: str(ca.certificate)}),
        shared_certificates(tmp_path),
        tls_in_front_of(box.github.url, ca.context) as url,
        Github(auth=auth, base_url=url, retry=None) as github,
    ):
        assert github.get_repo(action.repository).default_branch == "main"


@pytest.mark.full
def test_a_bundle_that_is_not_there_is_told_in_words(action: Action, by_tls: dict[str, str]) -> None:
    ran = action.run_with(by_tls | {"REQUESTS_CA_BUNDLE": "/nowhere.pem", "INPUT_TIMEOUT": "5"})
    assert ran.code == 4
    assert len(ran.annotations) == 1
    assert "Traceback" not in ran.log
