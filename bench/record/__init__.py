"""What is asked of a benchmark and what it found: the files that a run writes."""
