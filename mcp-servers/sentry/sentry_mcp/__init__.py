"""An MCP server for one Sentry project: reads and changes its issues, releases and settings, and takes its webhooks."""

VERSION = "1.0.0"
