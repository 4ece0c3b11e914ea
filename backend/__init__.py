"""What the Sophia backend imports: its configuration from Pulumi ESC, and its Sentry set-up."""
