"""Re-export what `deploy` and `release` use of `sophia_sync`: its errors, its runner, and its entry point."""

from sophia_sync.runtime.errors import InputError, SyncError
from sophia_sync.runtime.runner import Runner
from sophia_sync.runtime.script import run as conduct

__all__ = ["InputError", "Runner", "SyncError", "conduct"]
