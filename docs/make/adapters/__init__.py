"""docs/ADAPTERS.md: what a few ranks repair, and what they cost."""
