"""Runs `zoo` from a source checkout: `python cli.py train vae`."""

from zoo.commands import main

if __name__ == "__main__":
    main()
