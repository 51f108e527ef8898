"""docs/FIDELITY.md: the paper's claims, measured."""
