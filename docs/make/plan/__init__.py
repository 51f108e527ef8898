"""docs/PLAN.md: plans against single axes."""
