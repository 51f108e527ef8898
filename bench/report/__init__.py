"""Results -> one HTML page, or Markdown."""
