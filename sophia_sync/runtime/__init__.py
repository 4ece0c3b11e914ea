"""What every program of ours stands on: tasks and signals, processes, output, errors."""
