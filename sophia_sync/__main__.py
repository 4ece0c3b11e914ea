"""`python -m sophia_sync` is `sophia-sync`."""

import sys

from sophia_sync.console import main

if __name__ == "__main__":
    sys.exit(main())
