"""The backend against the local ESC and a real ingest."""
