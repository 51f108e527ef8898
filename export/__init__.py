"""Compressed model -> directories and files that other runtimes load."""
