"""The deploy of the Sentry MCP server. A program beside the package, not a part of it."""
