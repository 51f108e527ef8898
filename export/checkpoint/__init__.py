"""Stock Hugging Face directories: written whole or part by part, read again, and put on the hub."""
