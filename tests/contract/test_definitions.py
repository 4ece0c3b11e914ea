"""What the local ESC does to the text of a definition: it encrypts the secrets, and touches nothing else."""

import base64
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import Sandbox
from sandbox.esc.ciphertext import Cipher, CiphertextError
from sandbox.esc.definition import decrypt, encrypt

ENVIRONMENT = "acme/web/production"
CIPHERTEXT = r"ciphertext: [A-Za-z0-9+/=]+"


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("values:\n  a: {fn::secret: x} # why\n", "values:\n  a: {fn::secret: {*}} # why\n"),
        ("values:\n  a:\n    fn::secret:   'x'  # why\n", "values:\n  a:\n    fn::secret:\n      *  # why\n"),
        ("values:\n  a:\n      fn::secret: x\n\n\n  b: 1", "values:\n  a:\n      fn::secret:\n        *\n\n\n  b: 1"),
        ("values:\n a:\n  fn::secret: |\n   x\n   y\n # b\n", "values:\n a:\n  fn::secret:\n    *\n # b\n"),
        ("values:\n a:\n  fn::secret: >+\n   x\n\n b: 1\n", "values:\n a:\n  fn::secret:\n    *\n\n b: 1\n"),
        ("values:\r\n  a:\r\n    fn::secret: x\r\n", "values:\r\n  a:\r\n    fn::secret:\r\n      *\r\n"),
        ("values:\n  a:\n  - fn::secret: x\n", "values:\n  a:\n  - fn::secret:\n      *\n"),
        ("values:\n  a:\n    fn::secret: # why\n      x\n", "values:\n  a:\n    fn::secret: # why\n      {*}\n"),
        ("values:\n  a:\n    ? fn::secret\n    : x\n", "values:\n  a:\n    ? fn::secret\n    : {*}\n"),
        ("values:\n  a:\n    'fn::secret' : x\n", "values:\n  a:\n    'fn::secret' : {*}\n"),
        ('{"values":{"a":{"fn::secret":"x"}}}', '{"values":{"a":{"fn::secret":{*}}}}'),
        ("\ufeffvalues:\n  ä: 'ß'\n  a: {fn::secret: x}\n", "\ufeffvalues:\n  ä: 'ß'\n  a: {fn::secret: {*}}\n"),
        ("---\nvalues:\n  a: {fn::secret: x}\n...\n", "---\nvalues:\n  a: {fn::secret: {*}}\n...\n"),
        ("values:\n  a:\n    fn::secret: !!str 12\n", "values:\n  a:\n    fn::secret:\n      *\n"),
        ("values: {a: 1}   # no secret\n\n", "values: {a: 1}   # no secret\n\n"),
    ],
)  # fmt: skip
def test_only_the_plaintext_is_replaced(sent: str, stored: str, box: Sandbox) -> None:
    box.esc.create(ENVIRONMENT, sent)
    assert re.sub(CIPHERTEXT, "*", box.esc.definition(ENVIRONMENT)) == stored
    assert yaml.safe_load(box.esc.decrypted(ENVIRONMENT)) == yaml.safe_load(sent)


def test_what_is_encrypted_already_stays_as_it_is(box: Sandbox) -> None:
    box.esc.create(ENVIRONMENT, "values:\n  a: {fn::secret: x}\n")
    stored = box.esc.definition(ENVIRONMENT)
    box.esc.save(ENVIRONMENT, stored + "  b: {fn::secret: y}\n")
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
    box.esc.create(ENVIRONMENT, "values:\n  a: {fn::secret: kept}\n  b: {fn::secret: right}\n  c: right\n")
    stored, before = box.esc.definition(ENVIRONMENT), box.esc.revisions(ENVIRONMENT)[-1]
    lines = stored.splitlines(keepends=True)
    box.esc.corrupt(
        ENVIRONMENT, lambda text: "".join([*text.splitlines(True)[:2], "  b: {fn::secret: wrong}\n", lines[-1]])
    )
    after = box.esc.revisions(ENVIRONMENT)[-1]
    assert (after.number, after.etag) == (before.number, before.etag)
    assert after.definition.startswith("".join(lines[:2]))
    assert box.esc.values(ENVIRONMENT) == {"a": "kept", "b": "wrong", "c": "right"}
    assert box.esc.is_secret(ENVIRONMENT, "b")


@pytest.mark.parametrize("text", ["", "%", "ZXNjeAAAAAE=", "x" * 40])
def test_what_is_no_ciphertext_is_refused(text: str) -> None:
    with pytest.raises(CiphertextError):
        Cipher().decrypt(text)


def test_ciphertext_of_another_server_is_refused() -> None:
    with pytest.raises(CiphertextError):
        Cipher().decrypt(Cipher().encrypt("x"))


values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
wrappings = st.sampled_from(
    [
        "values:\n  a:\n    fn::secret: {}\n  b: 1\n",
        "values:\n  a: {{fn::secret: {}}} # b\n",
        "values: {{a: [{{fn::secret: {}}}, 1]}}\n",
        "values:\n  - 1\n  -   fn::secret: {}   # c\n  - 2",
        '{{"values": {{"a": {{"fn::secret":{}}}}}}}',
        "values:\n  a:\n    ? fn::secret\n    : {}\n",
    ]
)


@settings(deadline=None)
@given(value=values, wrapping=wrappings, style=st.sampled_from(['"', "'"]))
def test_any_value_survives_in_any_place(value: str, wrapping: str, style: str) -> None:
    quoted = yaml.safe_dump(value, default_style=style, allow_unicode=True, width=10**6).rstrip("\n")
    if "\n" in quoted or "\n" in value or "\r" in value:
        quoted = yaml.safe_dump(value, default_style='"', width=10**6).rstrip("\n")
    sent = wrapping.format(quoted)
    cipher = Cipher()
    stored = encrypt(sent, cipher)
    assert quoted not in stored or len(value) < 3
    assert yaml.safe_load(decrypt(stored, cipher)) == yaml.safe_load(sent)
