"""No unit test starts a process unnoticed."""

from __future__ import annotations

import os
import subprocess

import pytest


def test_a_process_is_refused(refused: list[str]) -> None:
    with pytest.raises(AssertionError, match="a unit test started a process"):
        subprocess.run(["true"], check=True)
    with pytest.raises(AssertionError, match="a unit test started a process"):
        os.posix_spawn("/bin/true", ["true"], {})
    assert len(refused) == 2
    refused.clear()
