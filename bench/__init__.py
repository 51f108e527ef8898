"""Models and endpoints -> measured numbers."""
