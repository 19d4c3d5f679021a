"""The scripted sitter: which recorded picture is in front of the camera at a moment. Pure.

One person ("anna") has a recorded session of 24 frames; the others are one picture each and know only: absent, arrive, still.
An action that ends (arrive, blink) passes into sitting still; look_away, smile and loop last until told otherwise.
While the sitter is still, the camera's full-resolution still shows the best picture there is of the person.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hardware.sim.scenarios import PEOPLE, SESSION_PERSON

if TYPE_CHECKING:
    from collections.abc import Mapping

ABSENT: Final = -1
PORTRAIT: Final = -2  # the person's own still picture


@dataclass(frozen=True, slots=True)
class Shot:
    """A recorded frame (or ABSENT, PORTRAIT) and how long it is shown."""

    frame: int
    hold_ms: int


@dataclass(frozen=True, slots=True)
class Action:
    """Shots once, then shots for ever, then (when there are none) the action that follows."""

    once: tuple[Shot, ...]
    forever: tuple[Shot, ...] = ()
    then: str = "still"


def _shots(frames: range | tuple[int, ...], hold_ms: int) -> tuple[Shot, ...]:
    return tuple(Shot(frame, hold_ms) for frame in frames)


_BLINK = (Shot(12, 60), Shot(13, 120), Shot(14, 60))
_STILL = _shots(range(21, 24), 900)

# Frame numbers and times as in applicants/session.json.
SESSION_ACTIONS: Final[Mapping[str, Action]] = MappingProxyType(
    {
        "absent": Action((), (Shot(ABSENT, 1000),)),
        "arrive": Action(_shots(range(12), 250)),
        "still": Action((), _STILL),
        "look_away": Action(_shots((4, 5), 250), _shots((6, 7, 8, 7), 400)),
        "blink": Action(_BLINK),
        "eyes_closed": Action(_shots((12,), 60), (Shot(13, 1000),)),
        "smile": Action(_shots((16,), 250), _shots((17, 18), 400)),
        "loop": Action(
            (), (*_shots(range(12), 250), *_BLINK, *_shots(range(15, 21), 250), *_STILL, Shot(ABSENT, 1500))
        ),
    }
)

PORTRAIT_ACTIONS: Final[Mapping[str, Action]] = MappingProxyType(
    {
        "absent": Action((), (Shot(ABSENT, 1000),)),
        "arrive": Action((Shot(ABSENT, 250),)),
        "still": Action((), (Shot(PORTRAIT, 1000),)),
    }
)


class UnknownActionError(Exception):
    """An action or a person that does not exist."""


@dataclass(frozen=True, slots=True)
class Sitter:
    """Who sits there and what he was told to do, since when."""

    person: str
    action: str
    since_ms: float

    def told(self, action: str, now_ms: float) -> Sitter:
        """The sitter after an order."""
        if action not in self.actions:
            raise UnknownActionError(f"{self.person} cannot '{action}'; possible: {', '.join(self.actions)}")
        return Sitter(self.person, action, now_ms)

    def replaced_by(self, person: str, now_ms: float) -> Sitter:
        """Another person; he goes on with what the new one can do, else sits still."""
        if person not in PEOPLE:
            raise UnknownActionError(f"there is no '{person}'; there are: {', '.join(PEOPLE)}")
        known = SESSION_ACTIONS if person == SESSION_PERSON else PORTRAIT_ACTIONS
        return Sitter(person, self.action if self.action in known else "still", now_ms)

    @property
    def actions(self) -> Mapping[str, Action]:
        """What this person can do."""
        return SESSION_ACTIONS if self.person == SESSION_PERSON else PORTRAIT_ACTIONS

    def at(self, now_ms: float) -> tuple[str, int]:
        """The action that is running at this moment and the frame that it shows."""
        name, left = self.action, max(0.0, now_ms - self.since_ms)
        while True:
            action = self.actions[name]
            for shot in action.once:
                if left < shot.hold_ms:
                    return name, shot.frame
                left -= shot.hold_ms
            if action.forever:
                break
            name = action.then
        left %= sum(shot.hold_ms for shot in action.forever)
        for shot in action.forever:
            if left < shot.hold_ms:
                return name, shot.frame
            left -= shot.hold_ms
        return name, action.forever[-1].frame
