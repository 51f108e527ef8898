"""What narrowing costs: perplexity, distances between models, scores on tasks."""
