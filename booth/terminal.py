"""Words from strangers on a terminal: what would move its cursor, change its colours or turn the writing round is shown as an escape instead. PURE.

Packet headers, names in certificates, labels of tokens and file names come from outside. rich does not take such characters out.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with every character that is no visible one (controls, format characters such as bidirectional overrides) spelt out."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
