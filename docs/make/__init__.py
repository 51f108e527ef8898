"""Makes this repository's own pages from measurements; not part of the installed package."""
