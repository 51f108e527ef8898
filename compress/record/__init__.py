"""What is asked of a compression, how far it is, and what it did: plain frozen records."""
