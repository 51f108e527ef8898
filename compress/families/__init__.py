"""What kinds of models there are, and how each is taken apart: data rows, shapes, canonical matrices."""
