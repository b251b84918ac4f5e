"""`python -m littoral` is the command `littoral`."""

from littoral.cli import main

if __name__ == "__main__":
    main()
