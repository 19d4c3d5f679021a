"""Measures of where the head is, how large and how it is turned. Each answers with a Measured or with the reason why it cannot be judged."""

from __future__ import annotations

import numpy as np

from validation import geometry, shoulders
from validation.context import Judgement
from validation.face import FaceBox, Scene
from validation.measured import NEEDS_FRAMES, NO_FACE, NO_MASK, PERCENT, Measured, boxes, points
from validation.orientation import not_upright
from validation.report import Box

# A second face counts from this share of the largest one's area (ISO/IEC 29794-5 single face; FICV 30: of any size): beside the head from a
# fourteenth of its height, the least the search finds; below the chin from a fifth, smaller ones are prints on clothes.
BESIDE_SHARE, PRINT_SHARE = 0.005, 0.04
LEAST_FRAMES = 5  # TR-03121-3 judges a capture, not a frame; five stand against a blink or a nod


def upright(judged: Judgement) -> Measured | str:
    """The clockwise turn that makes the photo upright."""
    if judged.scene.face is None and not judged.scene.turn_deg:
        return NO_FACE
    return Measured(float(judged.scene.turn_deg))


def single_face(judged: Judgement) -> Measured | str:
    """How many faces are in the picture."""
    if judged.scene.turn_deg:
        return not_upright(judged.scene.turn_deg)
    # A face that only a detector sees and the mesh cannot follow is no face to judge.
    found = _faces_that_count(judged.scene) if judged.scene.faces else ()
    return Measured(float(len(found)), boxes([Box(x=b.x, y=b.y, width=b.width, height=b.height) for b in found]))


def _faces_that_count(scene: Scene) -> tuple[FaceBox, ...]:
    largest, *others = sorted((*(face.box for face in scene.faces), *scene.other_faces), key=lambda box: -box.area)
    chin = largest.y + largest.height
    counted = [
        b for b in others if b.area >= largest.area * (BESIDE_SHARE if b.y + b.height / 2 < chin else PRINT_SHARE)
    ]
    return (largest, *counted)


def inter_eye(judged: Judgement) -> Measured:
    """Distance of the eye centres, straightened by the turn."""
    # A turned head shows the eyes closer together; the face is not smaller for that (ISO/IEC 29794-5: IED / cos yaw).
    seen = geometry.inter_eye_px(judged.geometry_points)
    straight = seen / max(float(np.cos(np.radians(judged.pose.yaw_deg))), 0.5)
    return Measured(straight, points(lambda: geometry.pupils(judged.face.landmarks)))


def head_height(judged: Judgement) -> Measured:
    """Head length / height of the picture."""
    return Measured(
        judged.geometry_head.length_px / judged.geometry_size[1] * PERCENT,
        points([judged.head.crown, judged.head.chin]),
    )


def head_width(judged: Judgement) -> Measured:
    """Head width between the ears / width of the picture."""
    return Measured(
        judged.geometry_head.width_px / judged.geometry_size[0] * PERCENT, points([judged.head.right, judged.head.left])
    )


def head_inside(judged: Judgement) -> Measured:
    """The smallest distance of crown, chin and sides from the picture's edge / its height; below 0 outside."""
    width, height = judged.geometry_size
    whole = judged.geometry_head
    margins = (
        whole.crown[1],
        height - whole.chin[1],
        min(whole.right[0], whole.left[0]),
        width - max(whole.right[0], whole.left[0]),
    )
    head = judged.head
    return Measured(float(min(margins)) / height * PERCENT, points([head.crown, head.chin, head.right, head.left]))


def vertical(judged: Judgement) -> Measured:
    """Eye midpoint from the top / height."""
    middle = geometry.eye_midpoint(judged.geometry_points)
    return Measured(
        float(middle[1]) / judged.geometry_size[1] * PERCENT,
        points(lambda: [geometry.eye_midpoint(judged.face.landmarks)]),
    )


def horizontal(judged: Judgement) -> Measured:
    """Eye midpoint from the left / width."""
    middle = geometry.eye_midpoint(judged.geometry_points)
    return Measured(
        float(middle[0]) / judged.geometry_size[0] * PERCENT,
        points(lambda: [geometry.eye_midpoint(judged.face.landmarks)]),
    )


def roll(judged: Judgement) -> Measured:
    """Tilt of the eye line."""
    return Measured(geometry.roll_deg(judged.face.landmarks), points(lambda: geometry.eyes(judged.face.landmarks)))


def yaw(judged: Judgement) -> Measured:
    """Turn to the side."""
    return Measured(judged.pose.yaw_deg, points(lambda: judged.face.landmarks[[1, 234, 454]]))


def pitch(judged: Judgement) -> Measured:
    """Chin up or down, from the calibrated zero."""
    return Measured(
        judged.pose.pitch_deg, points(lambda: judged.face.landmarks[[1, geometry.FOREHEAD_TOP, geometry.CHIN]])
    )


def pitch_median(judged: Judgement) -> Measured | str:
    """The median of the pitch over the latest frames: one frame reads up to two degrees off."""
    if judged.series is None or len(judged.series.pitch_deg) < LEAST_FRAMES:
        return NEEDS_FRAMES
    ends = points(judged.face.landmarks[[1, geometry.FOREHEAD_TOP, geometry.CHIN]])
    return Measured(float(np.median(judged.series.pitch_deg)), ends)


def shoulder_tilt(judged: Judgement) -> Measured | str:
    """Tilt of the line between both shoulders, from the person's outline."""
    mask = judged.scene.person_mask
    if mask is None:
        return NO_MASK
    found = shoulders.shoulder_points(mask, judged.face.landmarks)
    return found if isinstance(found, str) else Measured(shoulders.shoulder_tilt_deg(found), points(found))
