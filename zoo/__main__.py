"""Runs `zoo` as `python -m zoo`."""

from zoo.commands import main

if __name__ == "__main__":
    main()
