"""A definition's secrets, encrypted and decrypted in its text.

ESC stores no plaintext: when a definition is saved, the argument of each `fn::secret` becomes `{ciphertext:
…}`, and `…/decrypt` turns it back (`EncryptSecrets` and `DecryptSecrets` in `eval/crypt.go` of
github.com/pulumi/esc). Pulumi's code writes the whole document anew for it; here only the arguments are
spliced, so that a test can hold every other byte of what is stored to what was sent.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import yaml

from sandbox.esc.ciphertext import Cipher
from sandbox.esc.document import Document, children, is_string

SECRET = "fn::secret"  # noqa: S105 - the name of the function
CIPHERTEXT = "ciphertext"

# What needs no quotes in a definition; `json.dumps` quotes the rest as YAML's double-quoted style wants it,
# except for these characters, which YAML wants escaped too.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./@-]*( [A-Za-z0-9_./@-]+)*")
_KEYWORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


@dataclass(frozen=True)
class _Call:
    """A call of `fn::secret` in a document."""

    key: yaml.Node
    argument: yaml.Node
    secret: yaml.ScalarNode
    """The plaintext, or the ciphertext within the argument."""
    in_flow: bool

    @property
    def encrypted(self) -> bool:
        return self.argument is not self.secret


def encrypt(text: str, cipher: Cipher) -> str:
    """The text with each plaintext argument of `fn::secret` encrypted."""
    document = Document("", text)
    newline = "\r\n" if "\r\n" in text else "\n"

    def encrypted(call: _Call) -> tuple[int, int, str]:
        ciphertext = f"{CIPHERTEXT}: {cipher.encrypt(call.secret.value)}"
        begin, end = document.start(call.argument), document.end(call.argument)
        colon = re.fullmatch(r":[ \t]+", text[document.end(call.key) : begin])
        if call.in_flow or colon is None:
            return begin, end, "{" + ciphertext + "}"
        indent = " " * (call.key.start_mark.column + 2)
        return document.end(call.key) + 1, end, newline + indent + ciphertext

    return _splice(document, lambda call: not call.encrypted, encrypted)


def decrypt(text: str, cipher: Cipher) -> str:
    """The text with each encrypted argument of `fn::secret` under `values` in plain text."""
    document = Document("", text)

    def decrypted(call: _Call) -> tuple[int, int, str]:
        plaintext = quote(cipher.decrypt(call.secret.value))
        begin, end = document.start(call.argument), document.end(call.argument)
        after_key = document.end(call.key)
        if re.fullmatch(r":\s+", text[after_key:begin]):
            return after_key + 1, end, " " + plaintext
        return begin, end, plaintext

    return _splice(document, lambda call: call.encrypted, decrypted)


def is_secret(text: str, key: str) -> bool:
    """Whether the top-level key under `values` is a call of `fn::secret`."""
    values = _entry(Document("", text).root, "values")
    entry = _entry(values, key)
    return entry is not None and _call(entry) is not None


def quote(value: str) -> str:
    """A YAML scalar for the value: as it is where that is safe, else double-quoted."""
    if _PLAIN.fullmatch(value) and value.lower() not in _KEYWORDS:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def _splice(document: Document, which: Callable[[_Call], bool], edit: Callable[[_Call], tuple[int, int, str]]) -> str:
    pieces = []
    done = 0
    for begin, end, replacement in sorted(edit(call) for call in _calls(document.root) if which(call)):
        pieces += [document.text[done:begin], replacement]
        done = end
    return "".join([*pieces, document.text[done:]])


def _calls(node: yaml.Node | None) -> Iterator[_Call]:
    if node is None:
        return
    call = _call(node)
    if call is not None:
        yield call
    elif isinstance(node, yaml.CollectionNode):
        for child in children(node):
            yield from _calls(child)


def _call(node: yaml.Node) -> _Call | None:
    if not isinstance(node, yaml.MappingNode) or len(node.value) != 1:
        return None
    key, argument = node.value[0]
    if key.value != SECRET:
        return None
    secret = argument
    if isinstance(argument, yaml.MappingNode) and len(argument.value) == 1 and argument.value[0][0].value == CIPHERTEXT:
        secret = argument.value[0][1]
    if not is_string(secret):
        return None
    return _Call(key, argument, secret, bool(node.flow_style))


def _entry(node: yaml.Node | None, name: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if key.value == name), None)
