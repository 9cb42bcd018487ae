"""`python -m codling` is the command `codling`. Not here: the command line itself (cli.py)."""

from codling.cli import main

if __name__ == "__main__":
    main()
