"""From pixels to a Report: the same stateless judgement for a submitted file, for the booth's crop and for a preview frame.

Order: scene (faces, mask) -> every row of the rule table that the profile limits, in the table's order -> verdicts.
A value is held against its bands as measured, not as rounded for people. No face: `face.single` fails, the rest is `not_assessed`.
`judge` and `assess_live` take a scene and hold no state, so the visit, `booth check` and the desk give the same report on the same pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.context import Judgement
from validation.face import FaceModel, Scene
from validation.framing import plan_crop
from validation.geometry import head_pose
from validation.image import ImageFacts
from validation.orientation import not_upright
from validation.profile import Profile, RuleLimits
from validation.report import CropFacts, Finding, Judged, Level, Report, Series, Verdict
from validation.rules import NO_ADVICE, NO_FACE, RULES, TURN_PHOTO, Measured, Rule

NOTHING: Mapping[str, Finding] = MappingProxyType({})


@cache
def software() -> str:
    """What computed the values."""
    try:
        own = version("passbooth")
    except PackageNotFoundError:  # run from a source tree that is not installed
        own = "source"
    return f"passbooth {own}, mediapipe {version('mediapipe')}, opencv {cv2.__version__}"


def _verdict(value: float, limits: RuleLimits) -> Verdict:
    if limits.level is Level.REJECT and not limits.limit.holds(value):
        return Verdict.FAIL
    if not limits.limit.holds(value) or (limits.warn_limit is not None and not limits.warn_limit.holds(value)):
        return Verdict.WARN
    return Verdict.PASS


def _advice(value: float, rule: Rule, limits: RuleLimits, verdict: Verdict) -> str:
    if verdict is Verdict.PASS:
        return NO_ADVICE
    lows = [low for low in (limits.low, limits.warn_low) if low is not None]
    return rule.below if lows and value < max(lows) else rule.above


def _finding(rule: Rule, limits: RuleLimits, judged: Judgement) -> Finding:
    measured: Measured | str = NO_FACE
    unclear = rule.below
    if judged.scene.turn_deg:
        measured, unclear = not_upright(judged.scene.turn_deg), TURN_PHOTO
    if not rule.needs_face or judged.scene.face is not None:
        measured = rule.measure(judged)
        unclear = rule.unclear or rule.below
        if isinstance(measured, Measured) and not math.isfinite(measured.value):
            measured = "the measure has no finite value for this face"
    if isinstance(measured, str):
        verdict, value, evidence, reason, advice = Verdict.NOT_ASSESSED, None, None, measured, unclear
    else:
        value, reason = measured.value, None
        evidence = measured.evidence() if measured.evidence is not None and judged.crop is None else None
        verdict = _verdict(value, limits)
        advice = _advice(value, rule, limits, verdict)
    return Finding(
        rule=rule.id,
        value=value,
        unit=rule.unit,
        limit=limits.limit,
        warn_limit=limits.warn_limit,
        verdict=verdict,
        level=limits.level,
        reason=reason,
        source=limits.source,
        advice=advice,
        evidence=evidence,
    )


def _report(
    judged: Judgement,
    kind: Judged,
    notes: tuple[str, ...],
    crop: CropFacts | None,
    kept: Mapping[str, Finding] = NOTHING,
) -> Report:
    profile = judged.profile
    rows = [rule for rule in RULES if rule.id in profile.rules and (rule.live or kind != "live")]
    findings = [kept.get(rule.id) or _finding(rule, profile.rules[rule.id], judged) for rule in rows]
    height, width = judged.image.shape[:2]
    return Report(
        profile=profile.name,
        profile_version=profile.version,
        judged=kind,
        width=width,
        height=height,
        findings=tuple(findings),
        software=software(),
        notes=notes,
        crop=crop,
        series=judged.series,
    )


def judge(
    image_bgr: NDArray[np.uint8],
    scene: Scene,
    profile: Profile,
    *,
    judged: Judged = "as_submitted",
    notes: tuple[str, ...] = (),
    crop: CropFacts | None = None,
    source: ImageFacts | None = None,
    series: Series | None = None,
) -> Report:
    """The report on a picture whose scene is known.

    `image_bgr`: (H, W, 3) uint8, un-mirrored. `source`: the file the pixels came from; without it the rules about files are not assessed.
    `series`: what earlier frames of the same person measured; without it the rules over several frames are not assessed.
    """
    told = Judgement(image_bgr, scene.of_meshes(), profile, cut=crop, source=source, series=series)
    return _report(told, judged, notes, crop)


def check(
    image_bgr: NDArray[np.uint8],
    profile: Profile,
    model: FaceModel,
    *,
    judged: Judged = "as_submitted",
    notes: tuple[str, ...] = (),
    crop: CropFacts | None = None,
    source: ImageFacts | None = None,
    series: Series | None = None,
) -> Report:
    """The report on a picture: `judge` with the model's scene of it. Raises ModelFailedError."""
    scene = model.scene(image_bgr)
    return judge(image_bgr, scene, profile, judged=judged, notes=notes, crop=crop, source=source, series=series)


def assess_live(
    image_bgr: NDArray[np.uint8],
    scene: Scene,
    profile: Profile,
    *,
    still_size: tuple[int, int] | None = None,
    series: Series | None = None,
    kept: Mapping[str, Finding] = NOTHING,
) -> Report:
    """The report on a preview frame: what the portrait would be if the shutter fell now.

    Geometry is that of the crop the booth would cut from a still of `still_size` (width, height; same view as the preview): too far away
    shows as a head that is too small even in the smallest crop without upscaling, too near the edge as a face off the middle. The tilt
    is the head's own, before levelling.
    `kept`: findings on earlier frames that still stand; their rules are not judged again (validation.live).
    """
    height, width = image_bgr.shape[:2]
    still_width, still_height = still_size or (width, height)
    scale = still_width / width
    scene = scene.of_meshes()
    face = scene.face
    notes = [f"person outline {scene.mask_age} frames old, other faces {scene.others_age} frames old"]
    if face is None:
        return _report(Judgement(image_bgr, scene, profile), "live", tuple(notes), None, kept)
    pose = head_pose(face.landmarks)
    plan = plan_crop(
        face.landmarks * np.float32(scale),
        (still_width, still_height),
        (profile.width_px, profile.height_px),
        profile.crop,
        pose=pose,
    )
    if plan.scale > 1:
        notes.append(f"the still of {still_width}x{still_height} is smaller than the portrait")
    judged = Judgement(image_bgr, scene, profile, crop=plan, still_scale=scale, series=series, usual_pose=pose)
    return _report(judged, "live", tuple(notes), None, kept)
