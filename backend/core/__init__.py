"""`auto_esc_config`: configuration from Pulumi ESC. `sentry_setup`: Sentry, with every secret scrubbed."""
