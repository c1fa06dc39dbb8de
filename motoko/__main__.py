"""``python -m motoko``: the command line."""

from motoko.cli import main

if __name__ == "__main__":
    main()
