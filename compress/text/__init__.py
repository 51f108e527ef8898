"""What a model is calibrated on: files, built-in texts, text that it writes itself; drawn as windows."""
