"""Checkpoint -> one GGUF file."""
