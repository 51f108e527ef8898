"""Opens an output with the real runtimes and compares it with its reference."""
