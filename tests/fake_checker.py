"""Programs that play the desk's checker (server/recheck_child.py) on its pipes, without its models."""

from __future__ import annotations

import sys

SAYS = """
import json, os, struct, sys, time
def tell(answer):
    text = json.dumps(answer).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(text)) + text)
    sys.stdout.buffer.flush()
def asked():
    sizes = struct.unpack(">III", sys.stdin.buffer.read(12))
    return [sys.stdin.buffer.read(size) for size in sizes]
"""
READY = 'tell({"ready": True, "confined": True})\nwords, portrait, chip = asked()\n'


def checker(code: str) -> tuple[str, ...]:
    """A program that plays the checker."""
    return sys.executable, "-I", "-S", "-c", SAYS + code
