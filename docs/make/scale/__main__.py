"""`python -m docs.make.scale`."""

from .maker import main

main()
