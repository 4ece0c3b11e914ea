"""The action's entry point: `python entrypoint.py`, with the inputs in the environment."""

import sys

from sophia_sync.app import main

if __name__ == "__main__":
    sys.exit(main())
