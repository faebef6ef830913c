"""`python -m frviz` is the `frviz` command."""

from frviz.cli import main

if __name__ == "__main__":
    main()
