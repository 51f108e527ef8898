"""docs/RESULTS.md: speed on every engine."""
