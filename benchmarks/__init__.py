"""Measure a sync beside the document's own script and the least that any command can do: `make bench`."""
