"""Recover: wins back by distillation what narrowing lost. A checkpoint in, another of the same shape out."""
