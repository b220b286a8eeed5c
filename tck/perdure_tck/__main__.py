"""`python -m perdure_tck`: the `perdure` command where its script is not on the path."""

from .command_line import main

main()
