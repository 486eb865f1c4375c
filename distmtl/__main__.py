"""``python -m distmtl``."""

from distmtl.cli import main

if __name__ == "__main__":
    main(prog_name="distmtl")
