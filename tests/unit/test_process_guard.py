"""No unit test starts a process unnoticed."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.unit.conftest import ProcessGuard


def test_a_process_is_refused(process_guard: ProcessGuard) -> None:
    with pytest.raises(AssertionError, match="a unit test started a process"):
        subprocess.run(["true"], check=True)
    with pytest.raises(AssertionError, match="a unit test started a process"):
        os.posix_spawn("/bin/true", ["true"], {})
    assert len(process_guard.refused) == 2
    process_guard.refused.clear()
