"""Start Sentry as the backend does: the real SDK in its own process, and a real ingest that stores what it sends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from sandbox import Esc
from sophia_sync.runtime.redact import forms
from tests.backend import ingest
from tests.backend.ingest import Ingest
from tests.backend.support import PATH, SECRETS, SLUGS, definition, python

pytestmark = pytest.mark.pulumi

SETTINGS = {
    **SLUGS,
    "SENTRY_ENVIRONMENT": "staging",
    "SENTRY_RELEASE": "backend@1.2.3",
    "SENTRY_TRACES_SAMPLE_RATE": 1,
    "SENTRY_SAMPLE_RATE": 1.0,
}
# Tokens that only their shape gives away: no configuration holds them.
UNKNOWN = {"github": "ghp_" + "aB3dE6" * 6, "database": "s3cretpass", "sentry": "sntryu_" + "0f" * 32}

# A transport that prints what the SDK would send, as one JSON document for each item.
PRINTING = """
import json, logging, sys
from sentry_sdk.transport import Transport

class Printing(Transport):
    def capture_envelope(self, envelope):
        for item in envelope.items:
            print(json.dumps({"type": item.type, "payload": json.loads(item.get_bytes())}))

logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
"""
# A backend program that puts each secret everywhere in an event that can hold one.
FAILING = """
import base64, json, logging, os, urllib.parse
import sentry_sdk
from backend.core.auto_esc_config import config
from backend.core.sentry_setup import init_sentry

assert init_sentry()
secrets = [config.sentry_api_token, config.sentry_client_secret, config.sentry_dsn, *json.loads(os.environ["UNKNOWN"])]
log = logging.getLogger("backend")
log.setLevel(logging.INFO)

def call(payload, raw, **options):
    local_copy = {"nested": [payload, raw]}
    joined = base64.b64encode(json.dumps(local_copy, default=str).encode()).decode()
    raise RuntimeError(f"call failed with {payload} and {urllib.parse.quote(payload)} as {joined}")

for number, secret in enumerate(secrets):
    with sentry_sdk.new_scope() as scope:
        scope.set_extra("answer", {"body": secret, secret: 1})
        scope.set_context("upstream", {"url": f"https://user:{secret}@host/", "bytes": secret.encode()})
        scope.set_tag("reply", secret)
        scope.set_user({"id": secret})
        scope.add_event_processor(lambda event, hint: {**event, "request": {
            "url": "http://h/", "query_string": f"key={urllib.parse.quote_plus(secret)}", "data": {"field": secret},
            "headers": {"Authorization": f"Bearer {secret}", "X-Other": secret}, "env": {"REMOTE": secret}}})
        sentry_sdk.add_breadcrumb(message=f"sent {secret}", data={"params": [secret], "raw": secret.encode()})
        log.info("breadcrumb with %s", secret)
        try:
            call(secret, secret.encode(), option=secret)
        except RuntimeError:
            log.exception("event %d is kept, but not %s", number, secret)
sentry_sdk.capture_message("the last event is kept")
sentry_sdk.flush(30)
print(len(secrets))
"""


@pytest.fixture(scope="module")
def bugsink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingest]:
    with ingest.running(tmp_path_factory.mktemp("bugsink")) as running:
        yield running


def test_a_real_ingest_gets_the_events_and_no_secret(bugsink: Ingest, esc: Esc, environ: dict[str, str]) -> None:
    secrets = {**SECRETS, "SENTRY_DSN": bugsink.dsn}
    esc.save(PATH, definition(secrets, SETTINGS))
    unknown = ["token " + UNKNOWN["github"], f"postgresql://app:{UNKNOWN['database']}@db/x", UNKNOWN["sentry"]]
    done = python(FAILING, environ | {"UNKNOWN": json.dumps(unknown)})
    assert done.stdout == "6\n", done.stderr
    events = [json.loads(event) for event in bugsink.events()]
    assert [event["logentry"]["message"] for event in events if "logentry" in event] == [
        "event %d is kept, but not %s"
    ] * 6
    assert events[-1]["message"] == "the last event is kept"
    assert {(event["environment"], event["release"]) for event in events} == {("staging", "backend@1.2.3")}
    first = events[0]
    assert first["exception"]["values"][0]["value"].startswith("call failed with *** and *** as ")
    frame = first["exception"]["values"][0]["stacktrace"]["frames"][-1]
    assert frame["vars"]["local_copy"] == {"nested": ["'***'", "b'***'"]}
    assert first["extra"]["answer"] == {"body": "***", "***": 1}
    assert "breadcrumb with ***" in [crumb["message"] for crumb in first["breadcrumbs"]["values"]]
    stored = bugsink.everything()
    assert [form for secret in secrets.values() for form in forms(secret) if form in stored] == []
    assert [token for token in UNKNOWN.values() if token in stored] == []


class TestStarting:
    def test_without_a_dsn_is_told_and_does_nothing(self, esc: Esc, environ: dict[str, str]) -> None:
        esc.save(PATH, definition({}))
        done = python(
            PRINTING
            + "from backend.core.sentry_setup import init_sentry\nimport sentry_sdk\n"
            + "print(init_sentry(), sentry_sdk.get_client().is_active())",
            environ,
        )
        assert done.stdout == "False False\n"
        assert done.stderr == (
            "INFO Sentry is off: SENTRY_DSN is configured neither in Pulumi ESC nor as an environment variable.\n"
        )

    @pytest.mark.parametrize(
        "dsn",
        [
            "https://0123456789@sentry.invalid/no-number",
            "https://0123456789@sentry.invalid:port/1",
            "https://[sentry.invalid/1",
        ],
    )
    def test_with_a_broken_dsn_is_told_without_it(self, dsn: str, esc: Esc, environ: dict[str, str]) -> None:
        esc.save(PATH, definition({"SENTRY_DSN": dsn}))
        done = python(PRINTING + "from backend.core.sentry_setup import init_sentry\nprint(init_sentry())", environ)
        assert done.stdout == "False\n"
        assert "ERROR Sentry is off: SENTRY_DSN is no DSN." in done.stderr
        assert "sentry.invalid" not in done.stderr

    def test_a_dsn_that_is_given_counts(self, esc: Esc, environ: dict[str, str]) -> None:
        esc.save(PATH, definition({}))
        code = """
import sentry_sdk
from backend.core.sentry_setup import init_sentry
dsn = "https://0123456789abcdef@sentry.invalid/1"
print(init_sentry(dsn=""), init_sentry(dsn=dsn, transport=Printing()), sentry_sdk.get_client().dsn == dsn)
sentry_sdk.capture_message(f"not {dsn}")
sentry_sdk.flush()
"""
        done = python(PRINTING + code, environ)
        assert done.stdout.startswith("False True True\n")
        assert '"message": "not ***"' in done.stdout

    def test_leaves_out_what_could_not_be_scrubbed(self, environ: dict[str, str]) -> None:
        code = """
import sentry_sdk
from backend.core.sentry_setup import init_sentry
init_sentry(data_collection={"user_info": True}, _experiments={"trace_lifecycle": "stream", "other": 1})
options = sentry_sdk.get_client().options
print(options["_experiments"], options["data_collection"]["user_info"], options["send_default_pii"])
"""
        done = python(PRINTING + code, environ)
        assert done.stdout == "{'other': 1} False False\n"
        assert "WARNING The option data_collection is left out:" in done.stderr
        assert "WARNING The option trace_lifecycle is left out:" in done.stderr

    def test_a_hook_may_ask_for_values_while_esc_is_read(self, environ: dict[str, str]) -> None:
        code = """
from backend.core.auto_esc_config import config
from backend.core.sentry_setup import init_sentry
asked = []
def crumb(item, hint):
    asked.append((item["category"], config.sentry_dsn is not None, config.refresh()))
    return item
init_sentry(before_breadcrumb=crumb)
print(config.refresh(), ("subprocess", True, True) in asked)
"""
        assert python(code, environ).stdout == "True True\n"

    def test_twice_keeps_the_first(self, environ: dict[str, str]) -> None:
        code = """
import sentry_sdk
from concurrent.futures import ThreadPoolExecutor
from backend.core.sentry_setup import init_sentry
with ThreadPoolExecutor(8) as pool:
    print(set(pool.map(lambda _: (init_sentry(), id(sentry_sdk.get_client())), range(8))) ==
        {(True, id(sentry_sdk.get_client()))})
client = sentry_sdk.get_client()
print(init_sentry(), sentry_sdk.get_client() is client)
client.close()
print(init_sentry(), sentry_sdk.get_client() is client)
"""
        assert python(code, environ).stdout == "True\nTrue True\nTrue False\n"

    def test_takes_the_rates_and_leaves_personal_data_out(self, esc: Esc, environ: dict[str, str]) -> None:
        rates = {
            "SENTRY_SAMPLE_RATE": "0.5",
            "SENTRY_TRACES_SAMPLE_RATE": "0.25",
            "SENTRY_PROFILES_SAMPLE_RATE": "often",
        }
        esc.save(PATH, definition(SECRETS, rates))
        code = """
import sentry_sdk
from backend.core.sentry_setup import init_sentry
init_sentry(send_default_pii=True, max_breadcrumbs=7)
names = "sample_rate traces_sample_rate profiles_sample_rate max_breadcrumbs send_default_pii environment"
print([sentry_sdk.get_client().options[name] for name in names.split()])
"""
        done = python(PRINTING + code, environ)
        assert done.stdout == "[0.5, 0.25, None, 7, False, 'production']\n"
        assert "WARNING SENTRY_PROFILES_SAMPLE_RATE is no number from 0 to 1" in done.stderr

    def test_takes_the_environment_variables_while_esc_is_gone(self, environ: dict[str, str]) -> None:
        variables = {
            "PULUMI_ACCESS_TOKEN": "pul-refused",
            "SENTRY_DSN": "https://0123456789abcdef@sentry.invalid/1",
            "SENTRY_RELEASE": "backend@2",
        }
        code = """
import sentry_sdk
from backend.core.sentry_setup import init_sentry
print(init_sentry(), sentry_sdk.get_client().options["release"])
"""
        done = python(code, environ | variables)
        assert done.stdout == "True backend@2\n"
        assert "0123456789abcdef" not in done.stderr


SENDING = """
import sentry_sdk
from backend.core.auto_esc_config import config
from backend.core.sentry_setup import init_sentry

seen = []
def first(item, hint):
    seen.append(item)
    return None if item.get("message") == "dropped" else item

init_sentry(transport=Printing(), before_send=first, enable_logs=True)
token = config.sentry_api_token
with sentry_sdk.start_transaction(name=f"GET /{token}") as transaction:
    with sentry_sdk.start_span(op="http", name=f"call {token}") as span:
        span.set_data("url", token)
sentry_sdk.logger.warning("log {value}", value=token)
sentry_sdk.metrics.count("calls", 1, attributes={"argument": token})
sentry_sdk.capture_message("dropped")
sentry_sdk.capture_message(f"kept {token}")
sentry_sdk.flush()
print(json.dumps({"type": "seen", "payload": [item["message"] for item in seen] == ["dropped", f"kept {token}"]}))
"""


def test_every_kind_of_item_is_scrubbed(esc: Esc, environ: dict[str, str]) -> None:
    esc.save(PATH, definition(SECRETS, SETTINGS))
    done = python(PRINTING + SENDING, environ)
    items = [json.loads(line) for line in done.stdout.splitlines()]
    payloads = {item["type"]: item["payload"] for item in items}
    assert payloads.keys() >= {"event", "transaction", "log", "trace_metric", "seen"}, done.stderr
    assert payloads["event"]["message"] == "kept ***"
    assert payloads["transaction"]["transaction"] == "GET /***"
    assert payloads["transaction"]["spans"][0]["description"] == "call ***"
    assert payloads["log"]["items"][0]["body"] == "log ***"
    assert payloads["seen"] is True  # the caller's hook sees the item before it is scrubbed, and may drop it
    leaked = [form for secret in SECRETS.values() for form in forms(secret) if form in done.stdout]
    assert leaked == []
    assert re.fullmatch(r"[0-9a-f]{32}", payloads["event"]["event_id"])
    assert payloads["event"]["contexts"]["trace"]["trace_id"] != "***"
