"""A text that the tests calibrate and measure on: sentences by a generator, some thousands of tokens."""

from pathlib import Path

__all__ = ["TEXT"]

TEXT = str(Path(__file__).with_name("text.txt"))
