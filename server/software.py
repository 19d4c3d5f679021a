"""Which booth software versions are not let in, and why.

The version stands in `Booth-Software`, which the request's signature covers (crypto/http_signature.py): plain numbers with points, `0.1.4`; what
follows the numbers (`rc1`, `.dev3`) is not looked at. A blocked range is one or more comparisons that must all hold, `<0.1.5` or
`>=0.2,<0.2.3`; a version alone is itself. While anything is blocked, a booth that does not tell its version is refused as well.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping

from server.errors import SoftwareBlockedError

HEADER = "booth-software"
MAX_CHARACTERS = 64
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}", re.ASCII)
_COMPARISON = re.compile(r"(<=|>=|==|<|>|)\s*([0-9.]+)", re.ASCII)
_TESTS: Mapping[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    "": operator.eq,
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def read_version(text: str) -> tuple[int, ...] | None:
    """The version's numbers without zeros at the end (0.1 is 0.1.0); None when there are none."""
    found = _VERSION.match(text) if len(text) <= MAX_CHARACTERS else None
    if found is None:
        return None
    numbers = [int(part) for part in found[0].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def read_range(text: str) -> Callable[[tuple[int, ...]], bool]:
    """Whether a version is in the range. Raises `ValueError` when the text is none."""
    tests = []
    for one in text.split(","):
        found = _COMPARISON.fullmatch(one.strip())
        if found is None or _VERSION.fullmatch(found[2]) is None:
            raise ValueError(f"{one.strip()!r} is no comparison with a version, like <0.1.5")
        tests.append((_TESTS[found[1]], read_version(found[2]) or ()))
    return lambda version: all(test(version, limit) for test, limit in tests)


class SoftwareGate:
    """Refuses blocked versions; made from range → reason as the settings have it."""

    def __init__(self, blocked: Mapping[str, str]) -> None:
        self._blocked = [(read_range(text), reason) for text, reason in blocked.items()]

    def check(self, headers: Mapping[str, str]) -> None:
        """Raises `SoftwareBlockedError` with the operator's reason."""
        if not self._blocked:
            return
        version = read_version(headers.get(HEADER, ""))
        if version is None:
            raise SoftwareBlockedError("The booth does not tell its software version: update it.")
        for holds, reason in self._blocked:
            if holds(version):
                raise SoftwareBlockedError(f"This version of the booth's software is blocked. {reason}".rstrip())
