#!/bin/sh
# The way of the document that this project began with: one `pulumi env set` a key, and one `pulumi env get` to check it.
set -eu
pulumi login "$PULUMI_BACKEND_URL" >/dev/null
pulumi env set "$ESC_ENVIRONMENT" SENTRY_DSN "$SENTRY_DSN" --secret >/dev/null
pulumi env set "$ESC_ENVIRONMENT" SENTRY_API_TOKEN "$SENTRY_API_TOKEN" --secret >/dev/null
pulumi env set "$ESC_ENVIRONMENT" SENTRY_CLIENT_SECRET "$SENTRY_CLIENT_SECRET" --secret >/dev/null
pulumi env set "$ESC_ENVIRONMENT" SENTRY_ORGANIZATION_SLUG "$SENTRY_ORGANIZATION_SLUG" >/dev/null
pulumi env set "$ESC_ENVIRONMENT" SENTRY_PROJECT_SLUG "$SENTRY_PROJECT_SLUG" >/dev/null
for key in SENTRY_DSN SENTRY_API_TOKEN SENTRY_CLIENT_SECRET SENTRY_ORGANIZATION_SLUG SENTRY_PROJECT_SLUG; do
    pulumi env get "$ESC_ENVIRONMENT" "$key" --show-secrets >/dev/null
done
