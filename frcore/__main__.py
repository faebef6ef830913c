"""`python -m frcore` is the `frcore` command."""

from frcore.cli import main

if __name__ == "__main__":
    main()
