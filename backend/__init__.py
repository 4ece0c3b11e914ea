"""Provide the Sophia backend's configuration from Pulumi ESC, and its Sentry set-up."""
