"""Whose number it is: a slip is verified, a typed number checked, the registry asked; the outcome is an application or words for the applicant.

Order of operation: a slip's text → form, centre, signature, day (crypto/slip.py), offline; a slip of a centre that is not known has the centres fetched once
more · any other text → the check character (crypto/application.py) → the registry (booth/registry.py), which may be out of reach.

Rules: the words never accuse: a slip that is forged and one of a centre that has not come yet are told alike, and the number can always be typed.
`verified` stands for the centre's signature alone: a typed number is not verified, nor is one from a code without a signature (Code 128 has no
room for one). No number and no text of a code is logged or part of an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Protocol

from booth.events import Application, Given, Notice
from booth.faults import fault_of
from booth.registry import Registry
from crypto.application import parse_number
from crypto.errors import ApplicationNumberError, SlipError, SlipUnknownCentreError
from crypto.slip import Centre, Slip, is_slip, read_slip

MISTYPED = Notice("application.mistyped", "identify.mistyped")
OTHER_CODE = Notice("slip.other_code", "identify.other_code")

# A code that stays before the camera is read five times a second, and counts once. Taken away for so long, it counts again.
AWAY_S = 2.0
# A slip that lies before the camera must neither keep a visit alive for ever nor ask the registry without end.
MAX_REPEATS = 2
MAX_SHOWN = 20


class KnownCentres(Protocol):
    """The centres whose slips count."""

    @property
    def known(self) -> Mapping[bytes, Centre]:
        """By the id of their key."""
        ...

    async def look_again(self) -> None:
        """Fetches what may have come since."""
        ...


class Identifier:
    """Turns what was shown or typed into an application."""

    def __init__(self, centres: KnownCentres, registry: Registry, today: Callable[[], date]) -> None:
        self._centres, self._registry, self._today = centres, registry, today

    async def identify(self, given: Given) -> Application | Notice:
        """The application, or why there is nothing to capture."""
        slip: Slip | None = None
        if given.source == "scanned" and is_slip(given.text):
            try:
                slip = await self._read(given.text)
            except SlipError as error:
                return fault_of(error).notice
            number = slip.number
        else:
            try:
                number = parse_number(given.text)
            except ApplicationNumberError:
                return MISTYPED if given.source == "typed" else OTHER_CODE
        state = await self._registry.look_up(number)
        if isinstance(state, Notice):
            return state
        if slip is None:
            return Application(number, given.source, registry=state)
        return Application(
            number, given.source, verified=True, registry=state, centre=slip.centre, expires=slip.expires.isoformat()
        )

    async def _read(self, text: str) -> Slip:
        try:
            return read_slip(text, self._centres.known, self._today())
        except SlipUnknownCentreError:
            await self._centres.look_again()
        return read_slip(text, self._centres.known, self._today())


class ShownCodes:
    """Which of the codes that the camera reads count as shown now; keeps no text."""

    def __init__(self) -> None:
        self._turn = -1
        self._last: int | None = None
        self._seen_at = 0.0
        self._repeats = self._shown = 0

    def counts(self, text: str, at_s: float, turn: int, *, free: bool) -> bool:
        """Whether this code, read now in this turn of the visit, is to be followed; `free` when another one may be."""
        if turn != self._turn:
            self._turn, self._last, self._shown = turn, None, 0
        code = hash(text)
        away_s, again = at_s - self._seen_at, code == self._last
        if again:
            self._seen_at = at_s
            if away_s < AWAY_S or self._repeats >= MAX_REPEATS:
                return False
        if not free or self._shown >= MAX_SHOWN:
            return False
        self._repeats = self._repeats + 1 if again else 0
        self._last, self._seen_at = code, at_s
        self._shown += 1
        return True
