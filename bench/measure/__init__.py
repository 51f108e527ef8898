"""Speed and memory of one model on one engine at one load, each in a fresh process."""
