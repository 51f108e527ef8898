"""Pure functions of arrays: bases, transport, least squares, folding, rounding. No models, no files."""
