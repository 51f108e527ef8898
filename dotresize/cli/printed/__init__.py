"""Tables, progress and last lines."""
