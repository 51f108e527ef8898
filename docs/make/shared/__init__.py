"""What the makers of several pages share."""
