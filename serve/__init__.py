"""A directory -> a running OpenAI-compatible endpoint."""
