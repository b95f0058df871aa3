"""`python -m parmlp` is the `parmlp` command."""

from parmlp.cli import main

if __name__ == "__main__":
    main()
