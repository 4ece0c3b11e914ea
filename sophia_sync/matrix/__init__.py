"""What the workflow sync-environments.yml does before its matrix and after it: the actions `plan` and `gather`."""
