"""The action's entry point: `python entrypoint.py`, with the inputs in the environment."""

import contextlib
import gc
import os
import signal
import sys
from types import ModuleType

# Until `main` takes over nothing has been done: end at once, and not by an exception, which could get lost in what is
# being imported. (As a container's first process we would get no default.)
for _number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(_number, lambda number, _frame: os._exit(128 + number))

# A run is short, and waiting for it is all that a person does: no search for garbage after every 700 objects, none for
# plug-ins of pydantic's (which would also see the secrets), and no taking apart of what ends anyway.
gc.set_threshold(100_000)
# Nor shall the thread that the CLI has answered wait 5 ms, Python's default, for one that loads modules meanwhile.
sys.setswitchinterval(0.0005)
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "true"
# Although it finds none then, it loads what it would look for them with, the largest part of which is `email`: a tenth
# of the time until ESC is asked. This stands in its place.
_no_plugins = ModuleType("pydantic.plugin._loader")
_no_plugins.get_plugins = tuple  # type: ignore[attr-defined]
sys.modules[_no_plugins.__name__] = _no_plugins

from sophia_sync.app import main  # noqa: E402 - imports take a while

if __name__ == "__main__":
    code = main()
    for _number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(_number, signal.SIG_IGN)  # it is over, and its outcome reported: let it end with that
    for _stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nobody reads it
            _stream.flush()
    os._exit(code)
