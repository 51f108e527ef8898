"""The loop, what watches it, and what it is set up from."""
