"""What is asked of a recovery: settings, texts, rates."""
