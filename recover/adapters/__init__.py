"""What a narrow or quantised model lacks of its original, as a low-rank adapter."""
