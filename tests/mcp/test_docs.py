"""docs/mcp-server.md agrees with the code."""

from __future__ import annotations

import re

from sentry_mcp import credentials, web
from sentry_mcp.offers import OFFERS
from sentry_mcp.settings import Settings

from tests.support.docker_engine import ROOT

PAGE = (ROOT / "docs" / "mcp-server.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the rows of the first table under a heading."""
    section = PAGE.split(f"\n{heading}\n")[1]
    table = re.search(r"((?:^\|.*\n)+)", section, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()[2:]]


def test_every_tool_with_its_scopes() -> None:
    told = {tool: re.findall(r"`(.+?)`", row[1]) for row in rows("## Tools") for tool in re.findall(r"`(.+?)`", row[0])}
    assert told == {name: list(offer.scopes) for name, offer in OFFERS.items()}


def test_every_setting_with_its_variable_and_default() -> None:
    told = {row[0].strip("`"): (row[1].strip("`"), row[2].split(" (")[0].strip("`")) for row in rows("## Settings")}
    expected = {}
    for name, field in Settings.model_fields.items():
        default = str(field.default).lower()
        expected["--" + name.replace("_", "-")] = (
            "SENTRY_URL" if name == "sentry_url" else f"SENTRY_MCP_{name.upper()}",
            default,
        )
    assert told == expected


def test_every_credential() -> None:
    told = {key for row in rows("## Credentials") for key in re.findall(r"`(SENTRY_\w+)`", row[0])}
    known = {value for name, value in vars(credentials).items() if name.isupper() and str(value).startswith("SENTRY_")}
    assert told == known


def test_every_route() -> None:
    told = {row[0].strip("`").split(" ")[1] for row in rows("## Over HTTP")}
    assert told == {web.MCP, web.HEALTH, web.READINESS, web.WEBHOOKS}


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
