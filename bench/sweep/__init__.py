"""A grid of widths and methods: narrow, verify and measure every point."""
