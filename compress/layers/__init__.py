"""The layer-by-layer pass: survey, choice of units, readout and writer fits, one layer after the other."""
