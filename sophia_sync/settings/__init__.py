"""Settings: read every input, check it, and say what is wrong with it."""
