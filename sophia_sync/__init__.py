"""Carries Sentry credentials from GitHub organisation secrets into a Pulumi ESC environment, and proves it.

The pipeline, one module a stage: `inputs` → `bundle` → `esc` (what ESC holds) → `plan` → `environment` (write,
read back) → `deploy` → `report`; `app` is the whole of it in one function.
"""

__version__ = "1.0.0"
