"""Words from strangers on a terminal: what would move its cursor, change its colours or turn the writing round is shown as an escape instead.

Packet headers, names in certificates, labels of tokens and file names come from outside. rich does not take such characters out.
A question to whoever sits there is answered by the return key, without holding up what runs meanwhile.
A pipe or a file has no width: tables are not folded to the 80 columns of a terminal there, so that a digest stays in one piece.
"""

from __future__ import annotations

import asyncio
import os
import sys

from rich.console import Console

PIPE_WIDTH = 140


def output(pipe_width: int = PIPE_WIDTH) -> Console:
    """Standard output for tables; COLUMNS wins."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=pipe_width)


def printable(text: str) -> str:
    """The text with every character that is no visible one (controls, format characters such as bidirectional overrides) spelt out."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


async def wait_for_enter() -> bool:
    """Whether the return key was pressed (a line came); False when standard input ended, or nobody can answer there."""
    pressed = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        loop.add_reader(sys.stdin, pressed.set)
    except (OSError, ValueError):  # a file, /dev/null, or closed
        return False
    try:
        await pressed.wait()
        return sys.stdin.readline() != ""
    finally:
        loop.remove_reader(sys.stdin)
