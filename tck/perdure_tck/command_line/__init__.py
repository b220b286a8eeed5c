"""The `perdure` command, a module for each subcommand. Bad input ends in one line with the remedy, exit code 2."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Without the extra `tck`, say how to get it."""
    try:
        from ._group import perdure
    except ModuleNotFoundError as missing:
        print(f'perdure: {missing.name} is not installed; pip install "perdure[tck]"', file=sys.stderr)
        sys.exit(2)
    perdure()
