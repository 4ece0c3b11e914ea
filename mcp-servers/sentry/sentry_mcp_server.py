#!/usr/bin/env python3
"""The Sentry MCP server: `python sentry_mcp_server.py`, or with `--help`."""

import sys

from sentry_mcp.main import main

if __name__ == "__main__":
    sys.exit(main())
