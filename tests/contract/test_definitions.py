"""What the local ESC does to a definition: Pulumi's own code checks, encrypts, formats and evaluates it."""

import base64
import re
from contextlib import closing

import pytest
import requests

from sandbox import RefusedError, Sandbox
from sandbox.esc.engine import Engine, EngineError

ENVIRONMENT = "acme/web/production"
CIPHERTEXT = r"ciphertext: [A-Za-z0-9+/=]+"


def _patch(box: Sandbox, definition: str) -> requests.Response:
    url = f"{box.esc.url}/api/esc/environments/{ENVIRONMENT}"
    return requests.patch(url, definition.encode(), headers={"Authorization": f"token {box.esc.token}"}, timeout=60)


def test_a_definition_is_stored_formatted_and_kept_as_it_was_sent(box: Sandbox) -> None:
    sent = "---\r\nvalues:\r\n    a:   {fn::secret: x}\r\n\r\n    b:   'y'   # why\r\n"
    box.esc.create(ENVIRONMENT)
    assert _patch(box, sent).status_code == 200
    stored = re.sub(CIPHERTEXT, "*", box.esc.definition(ENVIRONMENT))
    assert stored == "values:\n  a: {'fn::secret': {*}}\n  b: 'y' # why\n"
    assert box.esc.sent(ENVIRONMENT) == sent
    assert box.esc.decrypted(ENVIRONMENT) == "values:\n  a: {'fn::secret': x}\n  b: 'y' # why\n"
    assert box.esc.values(ENVIRONMENT) == {"a": "x", "b": "y"}


def test_what_is_encrypted_already_stays_as_it_is(box: Sandbox) -> None:
    box.esc.create(ENVIRONMENT, "values:\n  a:\n    fn::secret: x\n")
    stored = box.esc.definition(ENVIRONMENT)
    box.esc.save(ENVIRONMENT, stored + "  b:\n    fn::secret: y\n")
    assert box.esc.definition(ENVIRONMENT).startswith(stored)
    assert box.esc.values(ENVIRONMENT) == {"a": "x", "b": "y"}


def test_no_form_of_a_secret_is_served_without_decryption(box: Sandbox) -> None:
    secret = "correct horse battery staple"
    box.esc.create(ENVIRONMENT, f"values:\n  a:\n    fn::secret: {secret}\n")
    stored = box.esc.definition(ENVIRONMENT)
    for form in (secret, secret[::-1], base64.b64encode(secret.encode()).decode(), secret.encode().hex()):
        assert form not in stored
    ciphertext = base64.b64decode(re.findall("ciphertext: (.*)", stored)[0])
    assert secret.encode() not in ciphertext


def test_the_same_secret_never_looks_the_same_twice(box: Sandbox) -> None:
    box.esc.create(ENVIRONMENT, "values:\n  a: {fn::secret: x}\n  b: {fn::secret: x}\n")
    box.esc.save(ENVIRONMENT, "values:\n  a: {fn::secret: x}\n")
    stored = [revision.definition for revision in box.esc.revisions(ENVIRONMENT)]
    ciphertexts = re.findall(CIPHERTEXT, "".join(stored))
    assert len(ciphertexts) == len(set(ciphertexts)) == 3


def test_each_revision_has_an_etag_of_its_own(box: Sandbox) -> None:
    box.esc.create(ENVIRONMENT, "values: {a: 1}\n")
    box.esc.save(ENVIRONMENT, "values: {a: 2}\n")
    box.esc.save(ENVIRONMENT, "values: {a: 1}\n")
    revisions = box.esc.revisions(ENVIRONMENT)
    assert [revision.number for revision in revisions] == [1, 2, 3, 4]
    assert len({revision.etag for revision in revisions}) == 4
    assert box.esc.revision_tags(ENVIRONMENT) == {"latest": 4}


def test_a_corrupted_revision_is_still_the_same_one(box: Sandbox) -> None:
    box.esc.create(ENVIRONMENT, "values:\n  a:\n    fn::secret: kept\n  b:\n    fn::secret: right\n")
    before = box.esc.revisions(ENVIRONMENT)[-1]
    box.esc.corrupt(ENVIRONMENT, lambda text: "".join([*text.splitlines(True)[:4], "  b:\n    fn::secret: wrong\n"]))
    after = box.esc.revisions(ENVIRONMENT)[-1]
    assert (after.number, after.etag, after.sent) == (before.number, before.etag, before.sent)
    assert box.esc.values(ENVIRONMENT) == {"a": "kept", "b": "wrong"}
    assert box.esc.is_secret(ENVIRONMENT, "b")


def test_ciphertext_of_another_server_is_refused() -> None:
    with closing(Engine()) as one, closing(Engine()) as another:
        encrypted = one.encrypt("one", "values:\n  a:\n    fn::secret: x\n")
        with pytest.raises(EngineError, match="authentication failed"):
            another.decrypt("another", encrypted)


def test_the_engine_starts_anew_with_its_key() -> None:
    with closing(Engine()) as engine:
        encrypted = engine.encrypt("one", "values:\n  a:\n    fn::secret: x\n")
        engine.close()
        assert engine.decrypt("one", encrypted) == "values:\n  a:\n    fn::secret: x\n"


def test_imports_are_merged_key_by_key(box: Sandbox) -> None:
    box.esc.create("acme/default/a", "values: {object: {x: 1, y: {p: 1}}, list: [1], text: a}\n")
    box.esc.create("acme/shared/b", "imports: [a]\nvalues: {object: {y: {q: {fn::secret: s}}}, list: [2]}\n")
    box.esc.create(ENVIRONMENT, "imports: [shared/b]\nvalues: {object: {z: '${object.x}'}}\n")
    assert box.esc.values(ENVIRONMENT) == {
        "object": {"x": 1, "y": {"p": 1, "q": "s"}, "z": 1},
        "list": [2],
        "text": "a",
    }


def test_a_provider_gives_its_inputs_back(box: Sandbox) -> None:
    box.esc.create(ENVIRONMENT, "values: {a: {fn::open::any: {x: 1}}, b: '${a.x}'}\n")
    assert box.esc.values(ENVIRONMENT) == {"a": {"x": 1}, "b": 1}


def test_a_definition_with_an_error_is_refused_with_esc_s_own_diagnostic(box: Sandbox) -> None:
    box.esc.create(ENVIRONMENT)
    answer = _patch(box, "values:\n  1: x\n")
    first = answer.json()["diagnostics"][0]
    assert (answer.status_code, box.esc.revision(ENVIRONMENT)) == (400, 1)
    assert (first["summary"], first["range"]["begin"]["line"]) == ("mapping keys must be strings", 2)


def test_a_warning_does_not_stop_a_definition(box: Sandbox) -> None:
    box.esc.create(ENVIRONMENT)
    answer = _patch(box, "unknown: 1\n")
    assert (answer.status_code, answer.headers["Pulumi-ESC-Revision"]) == (200, "2")
    assert [item["severity"] for item in answer.json()["diagnostics"]] == ["warning"]


def test_another_writer_is_told_too(box: Sandbox) -> None:
    with pytest.raises(RefusedError) as refused:
        box.esc.create(ENVIRONMENT, "values: {a: '${b}'}")
    assert refused.value.status == 400
    assert 'unknown property "b"' in refused.value.details["diagnostics"][0]["summary"]
