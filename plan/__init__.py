"""A budget -> new widths, and what a compression will cost, before a weight is loaded."""
