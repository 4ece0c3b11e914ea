"""What goes wrong, in sentences that a model can act on: what failed, why, and what to do.

The SDK hands the text of a `ToolError` to the model. Nothing in it may hold a secret's value, and what Sentry said is
in it between marks only (`sentry_mcp.outside`).
"""

from mcp.server.mcpserver.exceptions import ToolError


class CredentialsError(ToolError):
    """There are no credentials, or Sentry refuses them."""


class UnavailableError(ToolError):
    """Sentry can't be asked now."""


class RefusedError(ToolError):
    """Sentry, or this server, doesn't do what was asked for."""


class MissingError(RefusedError):
    """There is no such thing in the project."""


class ForbiddenError(RefusedError):
    """Sentry doesn't let the token do this."""
