"""What commands print on: colour and the terminal's width on a terminal, plain text of a fixed width elsewhere."""

from __future__ import annotations

import sys

from rich.console import Console

_PLAIN_WIDTH = 160


def stdout() -> Console:
    """The console of the standard output; nothing in a text is taken for markup."""
    width = None if sys.stdout.isatty() else _PLAIN_WIDTH
    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=True, width=width)
