"""How high an applicant's eyes are above the floor, by body height and posture. Pure.

Shares of the body height: eyes of who stands 0.936, top of the head of who sits above the seat 0.52 (Drillis and Contini 1966, as quoted in
Winter, Biomechanics and Motor Control of Human Movement). The eyes are 11 cm below the top of the head, of a child 10 cm. A child's trunk
is longer for its height: sitting, the top of its head is 0.56 of its height above the seat (WHO and CDC growth surveys: 0.57 at three, 0.53
at ten years). A wheelchair's seat is 49 cm high with its cushion (ISO 7176-7 measures 43 to 53 cm), the booth's own as it is turned.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

STATURE_LIMITS_CM: Final = (110.0, 200.0)
SEAT_LIMITS_CM: Final = (35.0, 75.0)
USUAL_SEAT_CM: Final = 50.0
WHEELCHAIR_SEAT_CM: Final = 49.0
EYES_OF_STANDING: Final = 0.936


@dataclass(frozen=True, slots=True)
class _Seated:
    """How somebody sits: top of the head above the seat as a share of the body height, and the eyes below it."""

    head_share: float
    eyes_below_cm: float
    own_seat_cm: float | None = None  # None: the booth's seat


SEATED: Final[Mapping[str, _Seated]] = MappingProxyType(
    {
        "seated": _Seated(0.52, 11.0),
        "wheelchair": _Seated(0.52, 11.0, WHEELCHAIR_SEAT_CM),
        "child": _Seated(0.56, 10.0),
    }
)
POSTURES: Final = ("seated", "standing", "wheelchair", "child")


@dataclass(frozen=True, slots=True)
class Body:
    """Who is in front of the camera."""

    stature_cm: float
    posture: str

    def eye_height_cm(self, seat_cm: float) -> float:
        """Of his eyes above the floor."""
        if self.posture == "standing":
            return EYES_OF_STANDING * self.stature_cm
        sits = SEATED[self.posture]
        seat = seat_cm if sits.own_seat_cm is None else sits.own_seat_cm
        return seat + sits.head_share * self.stature_cm - sits.eyes_below_cm
