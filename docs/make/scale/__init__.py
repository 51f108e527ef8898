"""docs/SCALE.md: memory against depth and size."""
