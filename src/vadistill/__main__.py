"""``python -m vadistill``."""

from vadistill.cli import main

if __name__ == "__main__":
    main()
