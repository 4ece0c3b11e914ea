"""The action's entry point: `python entrypoint.py`, with the inputs in the environment."""

import gc
import os
import signal
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def _end(number: int, _frame: FrameType | None) -> None:
    """End at once, with one error: nothing has been done yet."""
    name = signal.Signals(number).name
    text = f"{name} ended the run. Nothing was contacted and nothing was changed. Run again.\n"
    on_runner = os.environ.get("GITHUB_ACTIONS") == "true"
    os.write(1, f"::error title=A signal ended the run::{text}".encode() if on_runner else f"error: {text}".encode())
    os._exit(128 + number)


# The kernel's default actions for signals don't apply to a container's first process. Python handles only SIGINT.
for _number in _SIGNALS:
    signal.signal(_number, _end)

# Garbage collection during the imports would free hardly anything and take 0.02 seconds.
gc.disable()
# An installed plug-in of pydantic would see the secrets.
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "true"

from sophia_sync.app import main  # noqa: E402 - imports take a while

# Collecting after every 700 objects takes 0.1 seconds for a definition of 1 MB. A threshold above this costs memory.
gc.set_threshold(10_000)
gc.enable()

if __name__ == "__main__":
    main(leave=os._exit)  # skips the wait for threads that a cancelled run left behind
