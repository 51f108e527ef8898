"""An engine: what it serves, its command line, and its process with an honest end."""
