"""PURE. From one report per preview frame to the single most useful instruction, without flicker, and to the moment for the shutter.

Order of operation for each judged frame (`advise`):
  1. what would be said of this frame alone: the advice of the most urgent rule that blocks the photo (booth/urgency.py), else a hint: the
     advice of the most urgent advisory rule that warns and that the sitter can follow, such as to take off glasses; else "hold still",
     whether the sitter moves or everything is right. A hint is a request and no condition: each is over HINT_S after it was first said, all
     are over HINTS_S after the first one, not counting frames that were blocked; then the photo is taken as it is (the review and the officer
     see the warning);
  2. another instruction replaces the shown one only after it was wanted for SETTLE_S without a break and the shown one stood for at least
     SHOWN_S, so that nothing flickers at a limit; the first instruction, and any after "nobody is there", comes at once, but for praise;
  3. the shutter is free when every frame of the last `hold_s` was right and still and had no hint left to say. One other frame starts the wait
     anew, whatever is shown;
  4. the time with a face in front of the camera is counted (`guided_s`): when it is over, the best picture so far is reviewed as it is. Frames
     that came while the booth itself was not ready are no base for advice and do not count (`interrupted`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from booth.kiosk import Arrow, Instruction
from booth.urgency import distance, most_urgent
from validation.report import Finding, Level, Report, Verdict

SETTLE_S = (
    0.25  # about four judged frames: shorter than a blink's worth of noise, long enough against single wrong frames
)
SHOWN_S = 0.8  # a short instruction is read in about this time
# Eye distances per second. A sitting person's sway stays below 0.1; burst and shutter stand 0.3.
MOTION_LIMIT = 0.3
# Long enough to read the words and to take off glasses; whoever will not or cannot is not kept waiting longer.
HINT_S, HINTS_S = 4.0, 8.0
# What a longer pause between two frames counts as: nobody was told anything meanwhile.
LONGEST_STEP_NS = 500_000_000

NO_FACE = "advice.no_face"
LOOK_HERE = "advice.look_here"
HOLD_STILL = "advice.hold_still"
# Said by the keeper of the height (booth/height.py), whatever the picture shows.
SEAT_UP, SEAT_DOWN = "advice.seat_up", "advice.seat_down"
CAMERA_MOVES = "advice.camera_moves"

ARROWS: Mapping[str, Arrow] = MappingProxyType(
    {
        "advice.closer": "closer",
        "advice.back": "back",
        "advice.left": "left",
        "advice.right": "right",
        "advice.up": "up",
        "advice.down": "down",
        "advice.turn_head_left": "left",
        "advice.turn_head_right": "right",
        "advice.tilt_head_left": "left",
        "advice.tilt_head_right": "right",
        "advice.chin_up": "up",
        "advice.chin_down": "down",
        SEAT_UP: "up",
        SEAT_DOWN: "down",
    }
)

# What a sitter can do about a warning. Light, wall and camera are the booth's own affair.
HINTS = frozenset(
    {
        "advice.take_off_glasses",
        "advice.take_off_hat",
        "advice.uncover_face",
        "advice.hair_from_eyes",
        "advice.look_here",
        "advice.relax_face",
        "advice.close_mouth",
        "advice.open_eyes",
    }
)


# Rules that tell of a hidden eye, the more specific one first, and how far beyond its limit that makes the mesh guess (rendered sitters: hair across
# one eye reads as a roll of 9 degrees; heads that are turned, tilted or far away stay below 0.1).
HIDES_EYES = ("eyes.hair", "eyes.visible")
HIDDEN = 1.0
MISREAD_FAMILIES = ("pose.", "light.")
MISREAD = frozenset({"eyes.open", "eyes.gaze"})


@dataclass(frozen=True, slots=True)
class Guidance:
    """The instruction shown, what is wanted instead, since when everything is right, for how long somebody was guided, how long ago each hint was said."""

    key: str = LOOK_HERE  # true of everybody, until the first frame was judged
    since_ns: int | None = None
    wanted: str = LOOK_HERE
    wanted_since_ns: int = 0
    right_since_ns: int | None = None
    judged_ns: int = 0
    guided_ns: int = 0
    hinted_ns: tuple[tuple[str, int], ...] = ()

    def may_hint(self, key: str) -> bool:
        """Whether a hint has time left to speak."""
        spoken = dict(self.hinted_ns)
        return spoken.get(key, 0) < HINT_S * 1e9 and max(spoken.values(), default=0) < HINTS_S * 1e9

    @property
    def instruction(self) -> Instruction:
        """What the page shows."""
        return Instruction(key=self.key, arrow=ARROWS.get(self.key, "none"))

    @property
    def held_s(self) -> float:
        """For how long everything has been right."""
        return 0.0 if self.right_since_ns is None else (self.judged_ns - self.right_since_ns) / 1e9

    @property
    def guided_s(self) -> float:
        """For how long somebody has been before a booth that was ready."""
        return self.guided_ns / 1e9


def hint(before: Guidance, report: Report) -> str | None:
    """What the sitter could do better without being made to, as long as it has time left to be said."""
    warned = (f for f in report.findings if f.level is Level.WARN and f.verdict is Verdict.WARN)
    found = most_urgent((f for f in warned if f.advice in HINTS and before.may_hint(f.advice)), before.wanted)
    return None if found is None else found.advice


def _cover(report: Report, blocks: Finding) -> str | None:
    """What to uncover first: a face with a hidden eye seems turned and badly lit, and moving the head would not help."""
    if blocks.rule not in MISREAD and not blocks.rule.startswith(MISREAD_FAMILIES):
        return None
    hidden = (f for f in report.findings if f.rule in HIDES_EYES and f.verdict is Verdict.WARN)
    return next((found.advice for found in hidden if distance(found) >= HIDDEN), None)


def wanted_key(before: Guidance, report: Report) -> str:
    """What would be said of this frame alone."""
    blocks = most_urgent(report.blocking, before.wanted)
    if blocks is not None:
        return _cover(report, blocks) or blocks.advice
    return hint(before, report) or HOLD_STILL


def is_still(motion: float | None) -> bool:
    """Whether a photo now would not be blurred. `motion` is None for the first frame of a face."""
    return motion is not None and motion <= MOTION_LIMIT


def is_right(report: Report, motion: float | None) -> bool:
    """Whether a photo of this frame would pass and not be blurred."""
    return report.compliant and is_still(motion)


def advise(
    before: Guidance, report: Report, motion: float | None, at_ns: int, first_of_all: str | None = None
) -> Guidance:
    """Guidance after one more judged frame; frames come in the order of their time stamps. `first_of_all` is said whatever the frame shows."""
    wanted = first_of_all or wanted_key(before, report)
    right = wanted == HOLD_STILL and is_right(report, motion)
    right_since = (before.right_since_ns if before.right_since_ns is not None else at_ns) if right else None
    step = min(at_ns - before.judged_ns, LONGEST_STEP_NS) if before.judged_ns else 0
    after = replace(
        before,
        right_since_ns=right_since,
        judged_ns=at_ns,
        guided_ns=before.guided_ns + (0 if wanted == NO_FACE else step),
        hinted_ns=_hinted(before, wanted, report, step),
    )
    if wanted != before.wanted:
        after = replace(after, wanted=wanted, wanted_since_ns=at_ns)
    if wanted == before.key:
        return replace(after, since_ns=before.since_ns if before.since_ns is not None else at_ns)
    settled = at_ns - after.wanted_since_ns >= SETTLE_S * 1e9
    read = before.since_ns is None or at_ns - before.since_ns >= SHOWN_S * 1e9
    first = wanted != HOLD_STILL and (before.since_ns is None or before.key == NO_FACE)
    if first or (settled and read):
        return replace(after, key=wanted, since_ns=at_ns)
    return after


def _hinted(before: Guidance, wanted: str, report: Report, step: int) -> tuple[tuple[str, int], ...]:
    """How long ago each hint was first said, after one more frame. Blocked frames do not count: the sitter was busy with something else."""
    if report.blocking:
        return before.hinted_ns
    aged = {key: age + step for key, age in before.hinted_ns}
    return tuple((aged if wanted == HOLD_STILL else {wanted: 0} | aged).items())


def interrupted(before: Guidance, told: str | None = None) -> Guidance:
    """Guidance while the booth is not ready: what is shown stays unless something is `told`, the wait for the shutter starts anew, and the time does not count."""
    after = replace(before, right_since_ns=None)
    return after if told is None else replace(after, key=told, wanted=told, since_ns=None)
