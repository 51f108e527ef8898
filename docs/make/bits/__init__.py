"""docs/BITS.md: width, bits, and both."""
