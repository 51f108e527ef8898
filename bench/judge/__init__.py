"""PURE. Raw measurements -> ratios, verdicts, sentences."""
