"""What a machine allows at best, what a model costs, and where the rest of the time goes."""
