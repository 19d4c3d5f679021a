"""PURE. How a counter's application numbers are made, written as one line for each centre: `CN{year}{random:6}`.

    {year} {yy}     the year, four or two digits
    {day}           the day of the year, three digits
    {random:N}      N characters drawn at random, of 32 that are not mistaken for each other (no 0, 1, I, O)
    anything else   itself: letters A-Z and digits

Rules: the check character is not part of the rule, it follows by itself (crypto/application.py); with it a number has 8 to 20 characters. At least five
characters are random, 33 million numbers for each day or year: numbers that count up would tell how many applications a centre has, and whose came after whose.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from crypto.application import ALPHABET, MAX_LENGTH, MIN_LENGTH, check_character

DRAWN = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
LEAST_RANDOM = 5
DEFAULT_RULE = "{year}{random:8}"
EVERY_OTHER = "*"
_PIECE = re.compile(r"\{(?P<name>year|yy|day)\}|\{random:(?P<count>[1-9][0-9]?)\}|(?P<plain>[A-Z0-9]+)")


class NumberRuleError(ValueError):
    """A line is no rule; the sentence says why."""


@dataclass(frozen=True, slots=True)
class NumberRule:
    """One centre's rule."""

    # A number is so many random characters, a text in braces a part of the day, another text itself.
    pieces: tuple[str | int, ...]

    def make(self, today: date, draw: Callable[[str], str]) -> str:
        """A new number, with its check character; `draw` takes one character of those that it is given."""
        parts = {"{year}": f"{today:%Y}", "{yy}": f"{today:%y}", "{day}": f"{today:%j}"}
        body = "".join(
            "".join(draw(DRAWN) for _ in range(piece)) if isinstance(piece, int) else parts.get(piece, piece)
            for piece in self.pieces
        )
        return body + check_character(body)


def read_rule(line: str) -> NumberRule:
    """The rule that a line is. Raises `NumberRuleError`."""
    pieces: list[str | int] = []
    at = length = drawn = 0
    while at < len(line):
        found = _PIECE.match(line, at)
        if found is None:
            raise NumberRuleError(
                f"A rule for numbers has {{year}}, {{yy}}, {{day}}, {{random:N}}, letters {ALPHABET[10]}-{ALPHABET[-1]} and digits;"
                f" its character {at + 1} begins something else."
            )
        at = found.end()
        if found["count"]:
            pieces.append(int(found["count"]))
            drawn += int(found["count"])
            length += int(found["count"])
        else:
            pieces.append(found[0])
            length += {"year": 4, "yy": 2, "day": 3}.get(found["name"] or "", len(found["plain"] or ""))
    if not MIN_LENGTH <= length + 1 <= MAX_LENGTH:
        raise NumberRuleError(
            f"A number has {MIN_LENGTH} to {MAX_LENGTH} characters with its check character; this rule makes {length + 1}."
        )
    if drawn < LEAST_RANDOM:
        raise NumberRuleError(f"At least {LEAST_RANDOM} characters of a number are random; this rule has {drawn}.")
    return NumberRule(tuple(pieces))
