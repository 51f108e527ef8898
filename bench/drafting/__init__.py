"""Speculative decoding: an original with a narrow draft, against the original alone, on each engine."""
