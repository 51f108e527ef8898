"""`python -m docs.make.adapters`."""

from .maker import main

main()
