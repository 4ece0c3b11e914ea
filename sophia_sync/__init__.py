"""Carries Sentry credentials from GitHub organisation secrets into a Pulumi ESC environment, and proves it.

The pipeline, one module a stage: `inputs` → `bundle` → `esc` (what ESC holds) → `plan` → `sync` (write, read
back) → `deploy` → `report`; `app` is the whole of it on one screen.
"""

__version__ = "1.0.0"
