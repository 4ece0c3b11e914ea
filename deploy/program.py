"""Give the programs of `deploy` and `release` what they use of the package: its errors, its runner, one entry."""

from sophia_sync.runtime.errors import InputError, SyncError
from sophia_sync.runtime.runner import Runner
from sophia_sync.runtime.script import run as conduct

__all__ = ["InputError", "Runner", "SyncError", "conduct"]
