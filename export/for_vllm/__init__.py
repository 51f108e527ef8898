"""Checkpoint -> the directory that vLLM should get, in other bits where they are asked for."""
