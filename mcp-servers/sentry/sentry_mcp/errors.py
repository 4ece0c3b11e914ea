"""Errors whose text a model can act on: what failed, why, and what to do.

The SDK hands the text of a `ToolError` to the model. So the text never holds a secret's value, and quotes Sentry only
between marks (`sentry_mcp.outside`).
"""

from mcp.server.mcpserver.exceptions import ToolError


class CredentialsError(ToolError):
    """There are no credentials, or Sentry refuses them."""


class UnavailableError(ToolError):
    """Sentry gives no usable answer now."""


class RefusedError(ToolError):
    """Sentry or this server refuses the request."""


class MissingError(RefusedError):
    """There is no such thing in the project."""


class ForbiddenError(RefusedError):
    """Sentry doesn't let the token do this."""
