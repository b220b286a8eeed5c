"""The `perdure` command, a module for each subcommand. Bad input ends in one line with the remedy, exit code 2."""

from __future__ import annotations

import sys

EXIT_INTERRUPTED = 130
"""What shells expect of a program that Ctrl-C ended; never 1, which says that a rule was violated."""


def main() -> None:
    """Run the command line. Without the extra `tck`, say how to get it."""
    try:
        import click

        from ._group import perdure
    except ModuleNotFoundError as missing:
        print(f'perdure: {missing.name} is not installed; pip install "perdure[tck]"', file=sys.stderr)
        sys.exit(2)
    try:
        sys.exit(perdure.main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        print("perdure: interrupted; what was not finished is not reported", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.stderr.close()
        sys.exit(EXIT_INTERRUPTED)
