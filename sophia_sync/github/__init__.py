"""GitHub: sign in, dispatch the deploy, and follow its run. PyGithub makes every request."""
