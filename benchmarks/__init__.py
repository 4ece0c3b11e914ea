"""What a sync costs, beside the document's own script and the least that anything can do: `make bench`."""
