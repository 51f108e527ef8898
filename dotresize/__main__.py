"""`python -m dotresize`, and so `torchrun -m dotresize`."""

from .cli import main

if __name__ == "__main__":
    main()
