"""``python -m plainnet`` is ``plainnet``."""

from plainnet.cli.cli import main

if __name__ == "__main__":
    main()
