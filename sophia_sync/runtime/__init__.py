"""The base of all our programs: tasks and signals, processes, output, errors."""
