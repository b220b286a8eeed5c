"""The `perdure` command, a module for each subcommand. Bad input ends in one line with the remedy, exit code 2."""

from __future__ import annotations

import signal
import sys
from types import FrameType

EXIT_INTERRUPTED = 130
"""What shells expect of a program that Ctrl-C ended; never 1, which says that a rule was violated."""

EXIT_TERMINATED = 143
"""The same for SIGTERM, by which whatever runs jobs ends them."""


def main() -> None:
    """Run the command line. Without the extra `tck`, say how to get it."""
    try:
        import click

        from ._group import perdure
    except ModuleNotFoundError as missing:
        print(f'perdure: {missing.name} is not installed; pip install "perdure[tck]"', file=sys.stderr)
        sys.exit(2)
    ends = EXIT_INTERRUPTED

    def end(number: int, _frame: FrameType | None) -> None:
        """End as by Ctrl-C, so that nothing is left behind; the second time at once."""
        nonlocal ends
        ends = EXIT_TERMINATED
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    try:
        sys.exit(perdure.main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        how = "interrupted" if ends == EXIT_INTERRUPTED else "terminated"
        print(f"perdure: {how}; what was not finished is not reported", file=sys.stderr)
        sys.exit(ends)
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.stderr.close()
        sys.exit(EXIT_INTERRUPTED)
