"""What the student is pulled to: pure functions, computed a few positions at a time."""
