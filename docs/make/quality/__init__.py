"""docs/QUALITY.md: methods by kinds of text."""
