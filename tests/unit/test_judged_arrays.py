"""What the caller hands over: judged alike however it lies in memory, left as it was, and refused when it is no picture of 8 bits and three colours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from validation.check import assess_live, judge
from validation.context import Judgement
from validation.errors import NotJudgeableError
from validation.measured import Measured
from validation.rules import RULES


@pytest.fixture(scope="module")
def anna(applicant, face_model):
    image = applicant("people/anna/neutral")
    return image, face_model.scene(image)


def spread(image):
    """The same pixels, each second column of a larger picture."""
    large = np.zeros((image.shape[0], 2 * image.shape[1], 3), np.uint8)
    large[:, ::2] = image
    return large[:, ::2]


def locked(image):
    copy = image.copy()
    copy.setflags(write=False)
    return copy


LIES = {
    "fortran": np.asfortranarray,
    "spread": spread,
    "backwards": lambda a: a[:, ::-1].copy()[:, ::-1],
    "locked": locked,
}


@pytest.mark.parametrize("lies", LIES)
def test_the_report_does_not_depend_on_how_pixels_lie_in_memory(lies, anna, face_model, demo_profile):
    image, scene = anna
    other = LIES[lies](image)
    assert judge(other, face_model.scene(other), demo_profile) == judge(image, scene, demo_profile)


WRONG = {
    "grey": lambda a: a[..., 0],
    "one channel": lambda a: a[..., :1],
    "four channels": lambda a: np.dstack([a, a[..., :1]]),
    "16 bits": lambda a: a.astype(np.uint16) * 257,
    "shares": lambda a: a.astype(np.float32) / 255,
    "truth values": lambda a: a > 128,
    "nothing": lambda a: a[:0],
}


@pytest.mark.parametrize("wrong", WRONG)
def test_other_pixels_are_refused_and_not_measured_wrongly(wrong, anna, demo_profile):
    image, scene = anna
    with pytest.raises(NotJudgeableError, match="colour pictures of 8 bits"):
        judge(WRONG[wrong](image), scene, demo_profile)


@pytest.mark.parametrize("outline", [lambda m: m[::2, ::2], lambda m: m[:0], lambda m: m / 255, lambda m: m > 128])
def test_the_outline_of_another_picture_is_refused(outline, anna, demo_profile):
    image, scene = anna
    other = replace(scene, person_mask=outline(scene.person_mask))
    for judged in (judge, assess_live):
        with pytest.raises(NotJudgeableError, match="not that of this picture"):
            judged(image, other, demo_profile)


@pytest.mark.parametrize(
    "name",
    [
        "people/kwame/neutral",
        "variations/jorge_glasses_glare",
        "variations/mei_hair_over_eye",
        "variations/ingrid_mask",
    ],
)
def test_no_measure_changes_what_it_reads_or_depends_on_another(name, applicant, face_model, demo_profile):
    image = applicant(name)
    scene = face_model.scene(image)
    image, scene = locked(image), replace(scene, person_mask=locked(scene.person_mask))
    scene.face.landmarks.setflags(write=False)
    values = []
    for rules in (RULES, RULES[::-1]):
        together = Judgement(image, scene, demo_profile)
        found = {rule.id: rule.measure(together) for rule in rules}
        for one in found.values():
            if isinstance(one, Measured) and one.evidence is not None:
                one.evidence()
        values.append({rule: one.value if isinstance(one, Measured) else one for rule, one in found.items()})
    assert values[0] == values[1]
