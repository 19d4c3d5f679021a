"""The packet's `pad/` parts and the face record's attack block, from what a probe filmed. For the officer only; docs/pad.md.

Order, on the checking thread: landmarks in every kept picture by the model for single pictures -> faces cut at one size -> score (validation.pad) ->
the cut faces as JPEG -> everything else is overwritten. Nothing of it goes to a page of the booth, and nothing is logged.

Bounds: at most MAX_FRAMES pictures, together MAX_FRAMES_BYTES; the reader knows the folder's limit, too (crypto.package).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2

from capture.probe import Film
from crypto.face_record import Moment, PresentationAttack, RegistryId, Score
from crypto.face_record_codes import PadContext, PadDecision
from validation.face import FaceModel
from validation.pad import MECHANISM, OPERATING_POINT, PadScore, Reason, assess, unusable
from validation.pad_cues import Course, PadFrame, cut_face

SCHEMA_VERSION = 1
NOTE = "simulation only, not evaluated to ISO/IEC 30107-3"
MAX_FRAMES, MAX_FRAMES_BYTES = 12, 300_000
# The best quality at which all pictures together stay within the limit; a face of 192 x 240 pixels has some 9 kB at 90.
QUALITIES = (90, 75, 50, 25)
# The mechanism and whose it is have no number in the CBEFF registry; these are the highest, which it has not given to anybody.
UNREGISTERED = RegistryId(0xFFFF, 0xFFFF)
# The visit was over before a probe was: the record says nothing, where the others say "failure to assess".
SILENT = frozenset({Reason.OFF, Reason.NOT_RUN, Reason.NO_LAMPS})


@dataclass(frozen=True, slots=True, eq=False)
class PadEvidence:
    """What a visit's probe came to."""

    score: PadScore
    frames: tuple[tuple[float, bytes], ...] = field(default=(), repr=False)  # ms after the beginning, JPEG
    levels: Mapping[str, Course] = field(default_factory=dict)
    wall: Course = field(default_factory=lambda: Course((), ()))
    begun_ns: int | None = None  # monotonic; None: no probe was run


def without_score(reason: Reason) -> PadEvidence:
    """No probe, or none that could be judged."""
    return PadEvidence(unusable(reason))


def judge_film(film: Film, model: FaceModel) -> PadEvidence:
    """Scores a film whose pictures are ours; raises ModelFailedError. What was cut is overwritten."""
    if film.reason is not None:
        return without_score(film.reason)
    faces: list[PadFrame] = []
    try:
        for shot in film.shots[:MAX_FRAMES]:
            face = model.scene(shot.pixels, mask=False).face
            if face is not None and face.is_mesh:
                faces.append(cut_face(shot.pixels, face.landmarks, shot.at_ms))
        score = assess(tuple(faces), film.levels, film.wall) if faces else unusable(Reason.NO_FACE)
        return PadEvidence(score, _encoded(faces), film.levels, film.wall, film.begun_ns)
    finally:
        for cut in faces:
            cut.wipe()


def _encoded(faces: list[PadFrame]) -> tuple[tuple[float, bytes], ...]:
    """The faces as JPEG, at the best quality that fits; none when none does."""
    for quality in QUALITIES:
        parts = [cv2.imencode(".jpg", face.pixels, [cv2.IMWRITE_JPEG_QUALITY, quality]) for face in faces]
        data = [bytes(part) for done, part in parts if done]
        if len(data) == len(faces) and sum(map(len, data)) <= MAX_FRAMES_BYTES:
            return tuple((face.at_ms, one) for face, one in zip(faces, data, strict=True))
    return ()


def pad_parts(evidence: PadEvidence) -> dict[str, bytes]:
    """`pad/score.json` and `pad/frame-NN.jpg` by name."""
    frames = {f"pad/frame-{number:02d}.jpg": data for number, (_, data) in enumerate(evidence.frames, 1)}
    return {"pad/score.json": _score_json(evidence, tuple(frames)), **frames}


def _score_json(evidence: PadEvidence, names: tuple[str, ...]) -> bytes:
    score = evidence.score
    clock = next(iter(evidence.levels.values()), Course((), ())).at_ms
    document = {
        "schema_version": SCHEMA_VERSION,
        "mechanism": MECHANISM,
        "note": NOTE,
        "usable": score.usable,
        "reason": score.reason,
        "score": _rounded(score.score),
        "operating_point": OPERATING_POINT,
        "suspected": score.suspected,
        "evidence": {name: _rounded(value) for name, value in score.evidence.items()},
        "interim": {name: _rounded(value) for name, value in score.interim.items()},
        "frames": [
            {"part": name, "at_ms": round(at_ms, 1)} for name, (at_ms, _) in zip(names, evidence.frames, strict=True)
        ],
        "levels": {
            "at_ms": [round(at, 1) for at in clock],
            "pct": {lamp: [round(value, 2) for value in course.values] for lamp, course in evidence.levels.items()},
        },
        "wall": {
            "at_ms": [round(at, 1) for at in evidence.wall.at_ms],
            "light": [round(value, 5) for value in evidence.wall.values],
        },
    }
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def attack_block(evidence: PadEvidence, begun: Moment | None) -> PresentationAttack | None:
    """The record's PAD block: decision, score of 0 to 100 (100: bona fide), context and time; None when no probe was run."""
    score = evidence.score
    if score.reason in SILENT:
        return None
    decision = PadDecision.FAILURE_TO_ASSESS
    if score.usable:
        decision = PadDecision.ATTACK if score.suspected else PadDecision.NO_ATTACK
    value = None if score.score is None else round(100 * score.score)
    return PresentationAttack(
        decision=decision,
        scores=(Score(UNREGISTERED, value),),
        context=PadContext.ENROLMENT,
        captured=begun,
    )
