"""`dotresize compress` and `dotresize perplexity`."""
