"""How far a matrix of environments goes, on paper: the tables of docs/scale.md. `python -m benchmarks.reach`

The arithmetic alone; where each figure comes from stands in the page's own tables.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from sophia_sync.checks import LARGEST
from sophia_sync.environments import AT_ONCE
from sophia_sync.matrix.legs import MOST_LEGS

# Measured. Requests: tests/benchmarks/test_reach.py. Seconds: a hundredth of 100 environments in docs/performance.md.
READ_REQUESTS, CHANGE_REQUESTS = 2, 9
START, READ_SECONDS, CHANGE_SECONDS = 0.2, 0.039, 0.110

# Assumed.
LATENCY = 0.1
"""Seconds that a request takes on the way to ESC and back."""
JOB = 30.0
"""Seconds of a job before our program begins and after it has ended: a machine, the image."""
ENTRY = 40
"""Bytes that an ESC environment takes in the list."""
RUNS_A_DAY = 4

# Published.
TOKEN_REQUESTS_AN_HOUR = 1_000
DOLLARS_A_MINUTE = 0.006
DOLLARS_A_SECRET = 0.50
SECRETS = 3
"""That the action keeps encrypted in an environment."""


@dataclass(frozen=True)
class Fleet:
    """So many ESC environments, spread evenly over so many legs.

    Attributes:
        environments: ESC environments, all of them.
        legs: GitHub environments, each a leg.
        at_once: Legs at a time.
    """

    environments: int
    legs: int
    at_once: int = 20

    @property
    def each(self) -> int:
        """ESC environments of a leg."""
        return ceil(self.environments / self.legs)

    @property
    def calls(self) -> int:
        """Calls of the workflow: by the limit of legs, and by that of the list's length."""
        return max(ceil(self.legs / MOST_LEGS), ceil(self.environments * ENTRY / LARGEST))

    def leg_seconds(self, *, changed: bool) -> float:
        """What our program takes in a leg: the processor's share, and the waits, eight environments at a time."""
        seconds, requests = (CHANGE_SECONDS, CHANGE_REQUESTS) if changed else (READ_SECONDS, READ_REQUESTS)
        return START + self.each * seconds + ceil(self.each / AT_ONCE) * requests * LATENCY

    def seconds(self, *, changed: bool) -> float:
        """From the first job to the last, one call after the other: plan, waves of legs, gather."""
        waves = ceil(ceil(self.legs / self.calls) / self.at_once)
        gather = self.legs / self.calls * LATENCY
        return self.calls * (2 * JOB + gather + waves * (JOB + self.leg_seconds(changed=changed)))

    def esc_requests(self, *, changed: bool) -> int:
        """One more a leg, for the organisation's name."""
        return self.environments * (CHANGE_REQUESTS if changed else READ_REQUESTS) + self.legs

    def esc_rate(self, *, changed: bool) -> float:
        """ESC's requests a second while legs run."""
        running = min(self.at_once, ceil(self.legs / self.calls))
        requests = CHANGE_REQUESTS if changed else READ_REQUESTS
        return running * (self.each * requests + 1) / self.leg_seconds(changed=changed)

    @property
    def github_requests(self) -> int:
        """Of all `gather` jobs: the jobs, a hundred a page, and each leg's annotations."""
        legs = ceil(self.legs / self.calls)
        return self.calls * (ceil((legs + 2) / 100) + legs)

    @property
    def minutes_a_day(self) -> int:
        """Billed: GitHub rounds up each job."""
        leg = ceil((JOB + self.leg_seconds(changed=False)) / 60)
        return RUNS_A_DAY * (self.legs * leg + 2 * self.calls)

    @property
    def _name(self) -> str:
        return f"| {self.environments:,} | {self.legs:,} of {self.each:,} | {self.calls:,} "

    def time_row(self) -> str:
        return (
            f"{self._name}| {_time(self.seconds(changed=False))} | {_time(self.seconds(changed=True))} "
            f"| {self.esc_requests(changed=False):,} | {self.esc_requests(changed=True):,} "
            f"| {self.esc_rate(changed=False):,.0f} |"
        )

    def cost_row(self) -> str:
        return (
            f"{self._name}| {self.github_requests:,} | {self.minutes_a_day:,} "
            f"| ${self.minutes_a_day * DOLLARS_A_MINUTE:,.2f} "
            f"| ${self.environments * SECRETS * DOLLARS_A_SECRET:,.0f} |"
        )


FLEETS = (
    Fleet(10, 10),
    Fleet(1_000, 1_000),
    Fleet(1_000, 100),
    Fleet(1_000, 20),
    Fleet(100_000, 100_000),
    Fleet(100_000, 6_250),
    Fleet(100_000, 500),
)


def _time(seconds: float) -> str:
    if seconds < 3 * 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3 * 3600 else f"{seconds / 3600:.0f} h"


def _most_in_a_leg(seconds: float) -> int:
    """How many changed environments a leg is done with in that time."""
    count = 1
    while Fleet(count + 1, 1).leg_seconds(changed=True) <= seconds:
        count += 1
    return count


def times() -> str:
    """The table of what a run takes."""
    header = (
        "ESC environments | legs | calls | nothing changed | all changed "
        "| requests of ESC, nothing changed | all changed | a second"
    )
    return _table(header, [fleet.time_row() for fleet in FLEETS])


def costs() -> str:
    """The table of what it costs."""
    header = (
        "ESC environments | legs | calls | requests of GitHub's API a run | billed minutes a day "
        "| they cost a day | the secrets cost a month"
    )
    return _table(header, [fleet.cost_row() for fleet in FLEETS])


def figures() -> str:
    """The table of what all others are worked out from."""
    docs = "https://docs.github.com/en"
    limits_page = f"[GitHub]({docs}/actions/reference/limits)"
    rows = [
        ("requests of ESC for an environment where nothing changed", f"{READ_REQUESTS}", "measured, held by a test"),
        ("the same where all keys changed, with the revision tag", f"{CHANGE_REQUESTS}", "measured, held by a test"),
        ("seconds of our program for nothing at all", f"{START}", "[measured](performance.md) on 2 cores"),
        (
            "seconds of two cores for each unchanged environment",
            f"{READ_SECONDS}",
            "measured: 100 in [3.89 s](performance.md)",
        ),
        (
            "the same for each changed one",
            f"{CHANGE_SECONDS}",
            "measured: 100 in [11.00 s](performance.md), without the tag",
        ),
        ("environments of a leg at a time", f"{AT_ONCE}", "the code"),
        ("seconds of a request to ESC and back", f"{LATENCY}", "assumed"),
        ("seconds of a job besides, its machine and the image", f"{JOB:.0f}", "assumed"),
        ("bytes of an ESC environment in the list", f"{ENTRY}", "assumed"),
        ("syncs a day", f"{RUNS_A_DAY}", "assumed"),
        ("jobs of a matrix", f"{MOST_LEGS}", limits_page),
        ("jobs at a time on GitHub's machines", "20 (Free), 60 (Team), 500 (Enterprise)", limits_page),
        (
            "requests of GITHUB_TOKEN an hour and repository",
            f"{TOKEN_REQUESTS_AN_HOUR:,}; 15,000 (Enterprise Cloud)",
            f"[GitHub]({docs}/rest/using-the-rest-api/rate-limits-for-the-rest-api)",
        ),
        (
            "dollars a minute of Linux with 2 cores; each job's minutes are rounded up",
            f"{DOLLARS_A_MINUTE}",
            f"[GitHub]({docs}/billing/reference/actions-runner-pricing)",
        ),
        ("bytes of a variable of a process", f"{LARGEST:,}", "Linux, `MAX_ARG_STRLEN`"),
        (
            "dollars a secret and month",
            f"{DOLLARS_A_SECRET:.2f}",
            "[Pulumi](https://www.pulumi.com/pricing/), Essentials, September 2026",
        ),
        ("requests that ESC takes a second", "not published", "it answers 429 where they are too many"),
    ]
    return _table("figure | it is | from", [f"| {what} | {value} | {source} |" for what, value, source in rows])


def limits() -> str:
    """The table of the limits, in the order in which a growing fleet meets them."""
    full = Fleet(MOST_LEGS, MOST_LEGS)
    rows = [
        ("legs at a time on GitHub's smallest plan", "20", "more wait; it takes longer"),
        ("legs of a call", f"{MOST_LEGS}", "`plan` refuses the list and says how to group or split it"),
        (
            f"calls with {MOST_LEGS} legs an hour, by {TOKEN_REQUESTS_AN_HOUR:,} requests of GITHUB_TOKEN",
            f"{TOKEN_REQUESTS_AN_HOUR // full.github_requests}",
            "rows of the next summary say that the leg's text can't be had; how it ended is still known",
        ),
        (
            "changed ESC environments of a leg, by the action's `timeout` of 300 s",
            f"{_most_in_a_leg(300):,}",
            "the leg fails with code 4; what it had done is done, and the next run does the rest",
        ),
        (
            f"ESC environments of a call, by {LARGEST:,} bytes of the list",
            f"{LARGEST // ENTRY:,}",
            "the container can't be started: `Argument list too long`",
        ),
    ]
    return _table("limit | it is | what then", [f"| {what} | {most} | {then} |" for what, most, then in rows])


def _table(header: str, rows: Sequence[str]) -> str:
    return "\n".join([f"| {header} |", "|" + "---|" * (header.count(" | ") + 1), *rows])


TABLES: tuple[Callable[[], str], ...] = (figures, times, costs, limits)


def main() -> int:
    print("\n\n".join(table() for table in TABLES))  # noqa: T201 - this is its output
    return 0


if __name__ == "__main__":
    sys.exit(main())
