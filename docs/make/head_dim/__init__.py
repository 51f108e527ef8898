"""What a smaller head dimension would lose: a table for docs/LOG.md."""
