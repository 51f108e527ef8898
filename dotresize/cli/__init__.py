"""The `dotresize` command. Files in this package parse and print; heavy imports are inside commands."""

from .app import app, main

__all__ = ["app", "main"]
