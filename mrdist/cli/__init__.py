"""The command line: parses, calls one function of the pipeline, prints."""

from mrdist.cli.main import main

__all__ = ["main"]
