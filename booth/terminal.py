"""Words from strangers on a terminal: what would move its cursor, change its colours or turn the writing round is shown as an escape instead.

Packet headers, names in certificates, labels of tokens and file names come from outside. rich does not take such characters out.
A pipe or a file has no width: tables are not folded to the 80 columns of a terminal there, so that a digest stays in one piece.
"""

from __future__ import annotations

import os

from rich.console import Console

PIPE_WIDTH = 140


def output(pipe_width: int = PIPE_WIDTH) -> Console:
    """Standard output for tables; COLUMNS wins."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=pipe_width)


def printable(text: str) -> str:
    """The text with every character that is no visible one (controls, format characters such as bidirectional overrides) spelt out."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
