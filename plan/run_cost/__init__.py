"""What a compression takes on this machine, before it starts: seconds, memory, disk."""
