"""Check each answer of the local GitHub, and each request that we send to it, against GitHub's published OpenAPI."""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import request
from github import Auth, Github, GithubException
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from werkzeug.wrappers import Response

from sandbox import GitHub, Permissions
from sandbox.github.routes import ID_TOKENS
from sophia_sync.github.actions import Reader
from sophia_sync.github.dispatch import Dispatcher
from sophia_sync.outcome import Target
from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.settings import inputs
from tests.support.inputs import VALID, as_runner, environment
from tools import github_schema

pytestmark = pytest.mark.full

BASE = "urn:github"
REPOSITORY, WORKFLOW = "acme/sophia", "deploy-sentry-mcp.yml"


@dataclass(frozen=True)
class Exchange:
    method: str
    path: str
    query: dict[str, str]
    body: Any
    status: int
    answer: Any
    rule: str


class Observed(GitHub):
    """The local GitHub, which records its requests and answers."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        super().__init__()

    def finish(self, response: Response) -> Response:
        response = super().finish(response)
        sent = request.get_json(force=True, silent=True) if request.data else None
        answer = json.loads(response.get_data()) if response.get_data() else None
        rule = "" if request.url_rule is None else f"{request.method} {request.url_rule}"
        query = request.args.to_dict()
        self.exchanges.append(Exchange(request.method, request.path, query, sent, response.status_code, answer, rule))
        return response


def as_json_schema(schema: Any) -> Any:
    """Return a schema of OpenAPI 3.0 as JSON Schema: they differ in `nullable`."""
    if isinstance(schema, list):
        return [as_json_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("$ref"), str):
        return {"$ref": BASE + schema["$ref"]}
    converted = {name: as_json_schema(value) for name, value in schema.items() if name not in ("nullable", "example")}
    return {"anyOf": [converted, {"type": "null"}]} if schema.get("nullable") is True else converted


class Description:
    """GitHub's OpenAPI description."""

    def __init__(self, file: Path) -> None:
        self._document = json.loads(file.read_text(encoding="utf-8"))
        components = {"components": {"schemas": as_json_schema(self._document["components"]["schemas"])}}
        self._registry = Registry().with_resource(BASE, DRAFT202012.create_resource(components))
        # The most literal template is tried first.
        self._templates = sorted(self._document["paths"], key=lambda path: (path.count("{"), -len(path)))

    def problems(self, exchange: Exchange) -> list[str]:
        """Return how a request or its answer differs from the description."""
        operation = self._operation(exchange)
        return [
            f"{exchange.method} {exchange.path} {exchange.status}: {problem}"
            for problem in (
                *self._of_query(operation, exchange),
                *self._of_body(operation, exchange),
                *self._of_answer(operation, exchange),
            )
        ]

    def _operation(self, exchange: Exchange) -> dict[str, Any]:
        for template in self._templates:
            pattern = re.sub(r"\\\{path\\\}", ".+", re.escape(template))
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", pattern)
            if re.fullmatch(pattern, exchange.path) and exchange.method.lower() in self._document["paths"][template]:
                found: dict[str, Any] = self._document["paths"][template][exchange.method.lower()]
                return found
        raise AssertionError(f"GitHub has no {exchange.method} {exchange.path}")

    def _of_query(self, operation: dict[str, Any], exchange: Exchange) -> Iterator[str]:
        described = {one["name"]: one for one in map(self._resolved, operation.get("parameters", ()))}
        for name, value in exchange.query.items():
            if name not in described:
                yield f"the query has {name}"
            else:
                schema = as_json_schema(described[name]["schema"])
                yield from self._of(schema, int(value) if schema.get("type") == "integer" else value, f"query {name}")

    def _of_body(self, operation: dict[str, Any], exchange: Exchange) -> Iterator[str]:
        if exchange.status >= 400:
            return
        described = self._resolved(operation.get("requestBody", {}))
        if exchange.body is not None and not described:
            yield "a body is sent"
        elif exchange.body is not None:
            schema = as_json_schema(described["content"]["application/json"]["schema"])
            yield from self._of(schema, exchange.body, "request")
            unknown = set(exchange.body) - set(schema.get("properties", ()))
            yield from (f"request has {name}" for name in sorted(unknown))

    def _of_answer(self, operation: dict[str, Any], exchange: Exchange) -> Iterator[str]:
        response = operation["responses"].get(str(exchange.status))
        if response is None and exchange.status < 400:
            yield "the status isn't described"
            return
        content = self._resolved(response or {}).get("content", {})
        if exchange.status >= 400 and "application/json" not in content:
            content = {"application/json": {"schema": {"$ref": "#/components/schemas/basic-error"}}}
        if "application/json" in content:
            yield from self._of(as_json_schema(content["application/json"]["schema"]), exchange.answer, "answer")
        elif exchange.answer is not None:
            yield "an answer has a body"

    def _of(self, schema: dict[str, Any], value: Any, where: str) -> Iterator[str]:
        # Imported here, because it takes 3 seconds to load, and every test run would wait for it.
        from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # noqa: PLC0415

        validator = Draft202012Validator(schema, registry=self._registry)
        for error in validator.iter_errors(value):
            yield f"{where} {error.json_path}: {error.message[:200]}"

    def _resolved(self, part: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in part:
            return part
        steps = part["$ref"].removeprefix("#/").split("/")
        return functools.reduce(lambda found, step: found[step], steps, self._document)


@pytest.fixture(scope="module")
def description() -> Description:
    try:
        return Description(github_schema.ensure())
    except github_schema.NoSchemaError as error:
        pytest.skip(str(error))


@pytest.fixture
def github() -> Iterator[Observed]:
    with Observed() as server:
        server.add_repository(REPOSITORY)
        server.add_workflow(REPOSITORY, WORKFLOW, inputs=["revision"])
        server.add_token("ghp_lister", Permissions(names=True, organization_names=True))
        for owner in ("acme", REPOSITORY):
            server.add_secret(owner, "SENTRY_DSN")
            server.add_variable(owner, "SENTRY_PROJECT_SLUG", "web")
        yield server


def settings(**changes: str) -> inputs.Settings:
    given = {name.replace("_", "-"): value for name, value in changes.items()}
    with environment(as_runner(VALID | given)):
        return inputs.load()[0]


def deploy(github: Observed, **changes: str) -> None:
    """Check, dispatch and wait."""
    loaded = settings(**{"github_token": github.token, "deploy_repository": REPOSITORY, **changes})
    dispatcher = Dispatcher(loaded, Target(REPOSITORY, WORKFLOW, None), github.url, TimeLimit(60))
    try:
        assert dispatcher.check({"revision": "1"}) == []
        deployed = dispatcher.dispatch({"revision": "1"})
        github.run_script.clear()
        github.complete(github.dispatches[-1].run_id)
        assert dispatcher.wait(deployed, TimeLimit(60), lambda _: None).conclusion == "success"
    finally:
        dispatcher.close()


def by_token(github: Observed) -> None:
    deploy(github)


def on_an_older_server(github: Observed) -> None:
    github.return_run_details = False
    github.dispatches.clear()
    github.runs.clear()
    deploy(github)


def by_an_app(github: Observed) -> None:
    app = github.add_app([REPOSITORY])
    deploy(github, github_app_id=str(app.id), github_app_private_key=app.private_key)


def by_apps_that_may_not(github: Observed) -> None:
    elsewhere = github.add_app(["acme/elsewhere"])
    reader = github.add_app([REPOSITORY], actions="read")
    for app_id, key in (
        (elsewhere.id, elsewhere.private_key),
        (reader.id, reader.private_key),
        (1, reader.private_key),
    ):
        loaded = settings(github_app_id=str(app_id), github_app_private_key=key)
        dispatcher = Dispatcher(loaded, Target(REPOSITORY, WORKFLOW, None), github.url, TimeLimit(60))
        assert len(dispatcher.check({})) == 1


def by_doctor(github: Observed) -> None:
    github.start_run(REPOSITORY, WORKFLOW, event="schedule", created=datetime(2026, 1, 2, tzinfo=UTC))
    reader = Reader(settings(github_token="ghp_lister"), REPOSITORY, github.url, TimeLimit(60))
    try:
        assert reader.facts().full_name == REPOSITORY
        assert reader.workflow(WORKFLOW) is not None
        assert reader.workflow("missing.yml") is None
        assert [one.name for one in reader.names("secrets", "organization")] == ["SENTRY_DSN"]
        assert [one.name for one in reader.names("secrets", "repository")] == ["SENTRY_DSN"]
        assert [one.name for one in reader.names("variables", "organization")] == ["SENTRY_PROJECT_SLUG"]
        assert [one.name for one in reader.names("variables", "repository")] == ["SENTRY_PROJECT_SLUG"]
        assert [one.name for one in reader.of_organization("secrets")] == ["SENTRY_DSN"]
        assert [one.name for one in reader.of_organization("variables")] == ["SENTRY_PROJECT_SLUG"]
    finally:
        reader.close()


def by_others(github: Observed) -> None:
    """Use the routes that our programs don't use, and provoke refusals."""
    run = github.start_run(REPOSITORY, WORKFLOW)
    github.add_token("ghp_none", Permissions(actions="none"))
    for token in (github.token, "ghp_none", "ghp_wrong"):
        requester = Github(auth=Auth.Token(token), base_url=github.url, retry=None).requester
        for path in (
            "actions/workflows",
            "actions/runs?status=queued&per_page=1",
            f"actions/runs/{run}",
            f"actions/runs/{run}/jobs?filter=all",
            "actions/secrets",
            "contents/.github/workflows/missing.yml",
        ):
            with contextlib.suppress(GithubException):
                requester.requestJsonAndCheck("GET", f"/repos/{REPOSITORY}/{path}")


SCENES: list[Callable[[Observed], None]] = [
    by_token,
    on_an_older_server,
    by_an_app,
    by_apps_that_may_not,
    by_doctor,
    by_others,
]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_what_is_asked_and_answered_is_as_github_describes_it(
    scene: Callable[[Observed], None], github: Observed, description: Description
) -> None:
    scene(github)
    assert github.exchanges
    assert [problem for exchange in github.exchanges for problem in description.problems(exchange)] == []


def test_no_route_is_left_out(github: Observed) -> None:
    for scene in SCENES:
        github.return_run_details = True
        scene(github)
    answered = {exchange.rule for exchange in github.exchanges if exchange.status < 400}
    # The identity tokens of Actions aren't part of the REST API.
    assert answered == {line for line, _ in github.routes()} - {f"GET {ID_TOKENS}"}
