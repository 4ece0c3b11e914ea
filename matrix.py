"""The entry point of the actions `actions/plan` and `actions/gather`, in the image of the action itself."""

import sys

from sophia_sync.matrix.app import main

if __name__ == "__main__":
    sys.exit(main())
