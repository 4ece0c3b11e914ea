"""Sync: decide what changes in an environment, write it, and read it back."""
