"""`python -m docs.make.head_dim`."""

from .maker import main

main()
