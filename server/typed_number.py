"""An application number from standard input: it stands in no history and no list of processes. Whoever sits at a terminal is asked for it."""

from __future__ import annotations

import sys

MAX_LINE_BYTES = 256


def read_number() -> str:
    """The first line, to be judged by who asked for it; bytes of no encoding are characters of no number."""
    if sys.stdin.isatty():
        print("Application number: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.buffer.readline(MAX_LINE_BYTES).decode("utf-8", "replace")
