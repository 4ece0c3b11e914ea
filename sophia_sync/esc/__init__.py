"""The only place that knows Pulumi: the commands of its CLI, and the text of an ESC definition."""
