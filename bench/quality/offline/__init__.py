"""lm-eval tasks made of texts that this Python carries: scores without a network."""
