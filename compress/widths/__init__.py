"""What was asked -> new widths on the grid, the narrow config, and its exact sizes."""
