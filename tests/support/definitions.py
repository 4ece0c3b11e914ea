"""Random ESC definitions in every YAML style, made of segments that are ours or somebody else's."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

OURS = ("SENTRY_DSN", "SENTRY_API_TOKEN", "SENTRY_ORGANIZATION_SLUG", "SENTRY_PROJECT_SLUG", "SENTRY_CLIENT_SECRET")
_WORDS = (
    "alpha",
    "beta gamma",
    "it's",
    'say "hi"',
    "a#b",
    "x: y",
    "0123",
    "true",
    "~",
    "é ü",
    "日本",
    "100%",
    "\\n",
    "@a",
)
_COMMENTS = ("", "", "", "  # why", "  # it's: [odd] {comment} --- é")


@dataclass(frozen=True)
class Sample:
    """A definition, and the pieces of it that a change of our keys must leave alone, in their order."""

    text: str
    foreign: tuple[str, ...]


class _Writer:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.newline = rng.choice(("\n", "\n", "\n", "\r\n"))
        self.parts: list[tuple[str, bool]] = []
        self.anchors = itertools.count()  # PyYAML refuses a repeated anchor; yaml.v3 accepts it

    def put(self, text: str, *, foreign: bool = True) -> None:
        for line in text.replace("\n", self.newline).splitlines(keepends=True):
            self.parts.append((line, foreign))

    def scalar(self) -> str:
        word = self.rng.choice(_WORDS)
        style = self.rng.randrange(3)
        if style == 0 and word in ("alpha", "beta gamma", "it's", "a#b", "0123", "true", "日本", "100%"):
            return word
        if style == 1:
            return "'" + word.replace("'", "''") + "'"
        return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def flow_value(self) -> str:
        return self.rng.choice(
            (
                self.scalar(),
                f"[1, {self.scalar()}]",
                f"{{fn::secret: {self.scalar()}}}",
                '{"fn::secret": {"ciphertext": "ZXNjeA=="}}',
                "{}",
                "[]",
                f"&anchor{next(self.anchors)} {{a: 1}}",
                "${other.key}",
            )
        )

    def block_value(self, pad: str) -> str:  # noqa: PLR0911 - one a style
        """Return a value in block style: the text after the key's colon, to the end of the last line."""
        deep = pad + " " * self.rng.choice((1, 2, 4))
        comment = self.rng.choice(_COMMENTS)
        between = self.rng.choice(("", "", f"{deep}# inner\n"))
        style = self.rng.randrange(12)
        if style == 0:
            return f"{comment}\n"
        if style == 1:
            header = self.rng.choice(("|", "|-", "|+", ">", ">-"))
            blank = self.rng.choice(("", "\n", "\n\n"))
            return f" {header}{comment}\n{deep}line --- 1\n\n{deep}  # no comment\n{deep}---\n{blank}"
        if style == 2:
            return f"{comment}\n{between}{deep}fn::secret:\n{deep}  ciphertext: ZXNjeA=={self.rng.choice(_COMMENTS)}\n"
        if style == 3:
            return f"{comment}\n{between}{deep}fn::secret: {self.scalar()}{self.rng.choice(_COMMENTS)}\n"
        if style == 4:
            item = self.rng.choice((pad, deep))
            return f"{comment}\n{between}{item}- {self.scalar()}{comment}\n{item}- b\n"
        if style == 5:
            return f"{comment}\n{deep}fn::open::aws-login:\n{deep}  oidc:\n{deep}    roleArn: arn:aws:iam::1:role/x\n"
        if style == 6:
            return f"{comment}\n{deep}a:\n{deep}  b: {self.scalar()}\n{deep}c: |\n{deep}  text\n"
        if style == 7:
            return f" !!str {self.scalar()}{comment}\n"
        if style == 8:
            return f" plain text\n{deep}over two lines{comment}\n"
        return f" {self.flow_value()}{comment}\n"

    def noise(self, pad: str) -> str:
        return self.rng.choice(("", "", "", "\n", f"{pad}# a comment: 'x\n", "\n\n# at the margin\n"))

    def key(self, name: str) -> str:
        return self.rng.choice((name, name, name, f'"{name}"', f"'{name}'"))

    def names(self) -> list[str]:
        ours = [name for name in OURS if self.rng.random() < 0.4]
        others = [f"OTHER_{number}" for number in range(self.rng.randrange(5))]
        names = ours + others
        self.rng.shuffle(names)
        return names

    def block_values(self, pad: str) -> None:
        for name in self.names():
            self.put(self.noise(pad))
            colon = self.rng.choice(("", "", " "))
            self.put(f"{pad}{self.key(name)}{colon}:{self.block_value(pad)}", foreign=name not in OURS)
        self.put(self.noise(pad))

    def flow_values(self) -> None:
        self.put("{")
        space = self.rng.choice((" ", "\n    ", "\n    # c\n    "))
        for place, name in enumerate(self.names()):
            self.put("," + space if place else self.rng.choice(("", space)))
            value = self.rng.choice((f": {self.flow_value()}", f": {self.flow_value()}", ": ", ""))
            self.put(f"{self.key(name)}{value}", foreign=name not in OURS)
        self.put(self.rng.choice(("}", " }", "\n  }")))

    def values(self) -> None:
        style = self.rng.randrange(8)
        if style == 0:
            self.put(f"values:{self.rng.choice(_COMMENTS)}\n")
        elif style == 1:
            self.put("values: {")
            self.put(f"{self.rng.choice(('}', ' }'))}{self.rng.choice(_COMMENTS)}\n")
        elif style == 2:
            self.put("values: ")
            self.flow_values()
            self.put(f"{self.rng.choice(_COMMENTS)}\n")
        else:
            pad = " " * self.rng.choice((1, 2, 2, 4))
            self.put(f"values:{self.rng.choice(_COMMENTS)}\n")
            self.block_values(pad)

    def document(self) -> Sample:
        self.put(self.rng.choice(("", "", "# head\n", "\n\n# head\n\n", "--- # start\n")))
        if self.rng.random() < 0.15:
            self.put(self.rng.choice(("{", "{imports: [a/b], ")))
            self.put("values: ")
            self.flow_values()
            self.put("}\n")
        else:
            sections = ["imports", "values", "other"]
            self.rng.shuffle(sections)
            for section in sections[: self.rng.randrange(4)]:
                if section == "imports":
                    self.put(self.rng.choice(("imports:\n  - a/b\n  - c/d # é\n", "imports: [a/b]\n")))
                elif section == "other":
                    self.put("other:\n  - |+\n   kept\n\n")
                else:
                    self.values()
        self.put(self.rng.choice(("", "", "# end\n", "\n")))
        parts = list(self.parts)
        if self.rng.random() < 0.15:
            while parts and not parts[-1][0]:
                parts.pop()
            if parts:
                parts[-1] = (parts[-1][0].rstrip("\r\n"), parts[-1][1])
        return Sample("".join(text for text, _ in parts), tuple(text for text, foreign in parts if foreign and text))


def sample(rng: random.Random) -> Sample:
    """Return a random definition."""
    return _Writer(rng).document()


def value(rng: random.Random) -> str:
    """Return a random value, of the kinds that break naive YAML writers."""
    pieces = (
        "-----BEGIN KEY-----\nabc\n-----END KEY-----\n", "'", '"', "#", " #", ":", ": ", "%", "\\", "\\n", "@x",
        "0123", "true", "null", "~", "é", "日本", "🔑", "\u2028", "\x85", "\ufeff", "\t", "\r\n", "---", "\n---\n",
        "{", "]", "!t", "&a", "*a", "|", ">", "x" * 200, " ", "=", "<<", "1:20", "2001-01-01", "$a", "\x1b", "\x7f",
    )  # fmt: skip
    return "".join(rng.choice(pieces) for _ in range(rng.randrange(1, 6)))
