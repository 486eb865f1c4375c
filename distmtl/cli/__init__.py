"""The command line: one module per command, loaded when it is called, with no logic of its own."""

from distmtl.cli.group import main

__all__ = ["main"]
