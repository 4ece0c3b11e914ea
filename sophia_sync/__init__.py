"""Carry Sentry credentials from GitHub organization secrets into a Pulumi ESC environment, and prove it.

`app` is the whole pipeline in one function: `settings` → `sync.bundle` (the secrets) → `esc` (what ESC holds) →
`sync.plan` → `sync.environment` (write, read back) → `deploy` → `report`.
"""

__version__ = "1.0.0"
