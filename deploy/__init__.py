"""Deploy the Sentry MCP server. This program isn't part of the package."""
