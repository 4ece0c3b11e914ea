"""Test the backend against the local ESC and a real Sentry ingest."""
