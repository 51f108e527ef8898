"""docs/TASKS.md: questions answered."""
