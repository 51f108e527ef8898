"""docs/RECOVER.md: what training wins back."""
