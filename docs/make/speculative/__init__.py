"""docs/SPECULATIVE.md: what drafts are worth."""
