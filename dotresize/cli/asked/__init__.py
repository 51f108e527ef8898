"""Arguments as they were typed -> what the stages take."""
