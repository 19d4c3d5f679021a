"""The light's model and the next setting: levels stay in their limits, and a few steps suffice in any plausible booth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.light_model import CAUSES, COLOUR, EXPOSURE, LAMP_SHARES, PATCHES, PLACE_SHARES, Cause, Seen, fit, learn
from capture.light_plan import IS_FACE, WALL_LEAST, WALL_MOST, LightPlan, bounded, emphasised, plan
from hardware.lights import CHANNELS

MOST = (1.6, 1.6, 1.6, 1.6)
EXPOSURES = tuple(2 ** (step / 6) for step in range(-18, 13))
SOUND = np.ones(4)


class TrueBooth:
    """A booth whose shares are not quite the model's, a sitter of some skin, and something that is wrong."""

    def __init__(self, seed: int, *, skin: float = 0.3, strengths=(1, 1, 1, 1), places=(0, 0, 0, 0.35), camera=1.0):
        chance = np.random.default_rng(seed)
        self.shares = LAMP_SHARES * chance.uniform(0.85, 1.15, LAMP_SHARES.shape)
        self.room = PLACE_SHARES * chance.uniform(0.85, 1.15, PLACE_SHARES.shape)
        colour = np.where(IS_FACE[:, None], skin * np.array([0.55, 0.7, 1.2]), np.array([0.59, 0.59, 0.59]))
        self.own = colour * chance.uniform(0.93, 1.07, (len(PATCHES), 1))
        self.strengths, self.places, self.camera = np.array(strengths, float), np.array(places, float), camera

    def light(self, drives, exposure=1.0, gains=(1.0, 1.0, 1.0)) -> np.ndarray:
        lit = self.shares @ (self.strengths * np.asarray(drives)) + self.room @ self.places
        return np.minimum(self.camera * exposure * np.array(gains) * self.own * lit[:, None], 1.0)

    def seen(self, drives=(1.0, 1.0, 1.0, 1.0), exposure=1.0) -> Seen:
        light = self.light(drives, exposure)
        return Seen(dict(zip(PATCHES, map(tuple, light.tolist()), strict=True)), tuple(drives), exposure)

    def uneven(self, drives, exposure) -> float:
        """Standard deviation of the face's light beside that of healthy lamps, as a logarithm."""
        ratio = np.log(self.light(drives, exposure)[IS_FACE, 1] / self.own[IS_FACE, 1])
        return float(np.std(ratio))


def steps(booth: TrueBooth, count: int) -> tuple[list[float], LightPlan]:
    """How uneven the face is at first and after each step, and the last plan."""
    drives, exposure, frames, chosen = (1.0,) * 4, 1.0, [], None
    course = [booth.uneven(drives, exposure)]
    for _ in range(count):
        frames.append(booth.seen(drives, exposure))
        chosen = plan(learn(frames), EXPOSURES, MOST, drives=drives, exposure=exposure)
        drives, exposure = chosen.drives, chosen.exposure
        course.append(booth.uneven(drives, exposure))
    return course, chosen


@pytest.mark.parametrize("skin", [0.05, 0.3, 0.6])
@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        ({"strengths": (0.2, 1, 1, 1)}, Cause("lamp", "key_left")),
        ({"strengths": (1, 1, 1, 0.0)}, Cause("lamp", "background")),
        ({"places": (0, 3.0, 0, 0.35)}, Cause("ambient", "right")),
        ({"places": (0, 0, 3.0, 0.35)}, Cause("ambient", "top")),
    ],
)
def test_what_is_wrong_is_found_whatever_the_skin(skin, wrong, cause):
    booth = TrueBooth(1, skin=skin, **wrong)
    assert learn([booth.seen()]).cause == cause


def test_two_dead_lamps_are_both_found():
    booth = TrueBooth(1, strengths=(1, 0.0, 1, 0.0))
    model = learn([booth.seen(), booth.seen((1.2, 1.0, 0.8, 1.5))])
    assert model.cause == Cause("lamps", "key_right background")
    assert model.strengths == pytest.approx([1, 0, 1, 0], abs=0.15)


def test_an_exposure_that_is_wrong_is_told_from_lamps_that_are():
    model = learn([TrueBooth(1, camera=0.25).seen()])
    assert model.cause == EXPOSURE
    assert model.exposure == pytest.approx(0.25, rel=0.1)


def test_a_colour_that_is_wrong_is_taken_out():
    booth = TrueBooth(1)
    seen = booth.seen()
    tinted = Seen({p: (b * 0.75, g, r * 1.3) for p, (b, g, r) in seen.patches.items()}, seen.drives)
    model = fit([tinted], COLOUR)
    chosen = plan(model, (1.0,), MOST, wall_tint=20.0, gains=(1.0, 1.0, 1.0))
    assert chosen.gains[0] == pytest.approx(1 / 0.75, rel=0.08)
    assert chosen.gains[2] == pytest.approx(1 / 1.3, rel=0.08)


strengths = st.lists(st.sampled_from([0.0, 0.3, 0.6, 1.0, 1.0, 1.0]), min_size=4, max_size=4)


@settings(max_examples=6)
@given(st.integers(0, 10_000), st.floats(0.03, 0.6), st.integers(0, 3), st.floats(0.2, 1.0))
def test_one_weak_lamp_in_any_plausible_booth_is_evened_out_in_three_steps(seed, skin, lamp, strength):
    weak = [1.0] * 4
    weak[lamp] = strength
    course, chosen = steps(TrueBooth(seed, skin=skin, strengths=weak), 3)
    assert min(course) <= max(course[0], 0.12)
    assert course[-1] < 0.3
    assert all(0 <= drive <= most + 1e-9 for drive, most in zip(chosen.drives, MOST, strict=True))
    assert chosen.exposure in EXPOSURES


@settings(max_examples=6)
@given(st.integers(0, 10_000), st.floats(0.03, 0.6), strengths, st.lists(st.floats(0, 4), min_size=4, max_size=4))
def test_whatever_is_wrong_the_levels_stay_in_their_limits(seed, skin, weak, places):
    booth = TrueBooth(seed, skin=skin, strengths=weak, places=places)
    chosen = plan(learn([booth.seen()]), EXPOSURES, MOST)
    assert all(0 <= drive <= most + 1e-9 for drive, most in zip(chosen.drives, MOST, strict=True))
    assert chosen.exposure in EXPOSURES
    assert np.isfinite(chosen.expected).all()
    assert chosen.rest >= 0


def test_good_light_is_left_where_it_is():
    booth = TrueBooth(3)
    chosen = plan(learn([booth.seen()]), EXPOSURES, MOST)
    assert not chosen.gains_much


def test_no_skin_tone_is_brought_to_one_luminance():
    """Only the wall and what a sensor can show bound the light; dark skin stays dark skin."""
    dark, light = TrueBooth(5, skin=0.06), TrueBooth(5, skin=0.5)
    out = [plan(learn([booth.seen()]), EXPOSURES, MOST).expected for booth in (dark, light)]
    faces = [float(each[IS_FACE, 1].mean()) for each in out]
    assert faces[1] / faces[0] > 5
    for each in out:
        assert WALL_LEAST * 0.9 < float(each[~IS_FACE, 1].mean()) < WALL_MOST * 1.1


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_bounded_least_squares_are_the_best_within_the_bounds(seed):
    chance = np.random.default_rng(seed)
    matrix, target = chance.normal(size=(9, 5)), chance.normal(size=9)
    low, high = np.sort(chance.normal(size=(2, 5)), axis=0)
    found = bounded(matrix, target, low, high)
    assert np.all(found >= low)
    assert np.all(found <= high)
    slope = matrix.T @ (matrix @ found - target)
    inner = (found > low + 1e-6) & (found < high - 1e-6)
    assert np.all(np.abs(slope[inner]) < 1e-2)
    assert np.all(slope[found <= low + 1e-6] > -1e-2)
    assert np.all(slope[found >= high - 1e-6] < 1e-2)


def test_what_was_lacking_weighs_more_in_the_next_plan():
    factors = emphasised({"light.sides": 0.5, "background.lightness": 3.0})
    assert factors[PATCHES.index("cheek_left")] == 1.5
    assert factors[PATCHES.index("wall_left")] == 2.0
    assert factors[PATCHES.index("chin")] == 1.0
    assert emphasised({}, factors) is not factors


def test_every_lamp_and_place_may_be_a_cause():
    assert {cause.name for cause in CAUSES if cause.kind == "lamp"} == set(CHANNELS)
    assert len(CAUSES) == len(set(CAUSES))


def test_a_patch_without_a_reading_tells_nothing_and_is_no_obstacle():
    seen = TrueBooth(2, strengths=(0.3, 1, 1, 1)).seen()
    patches = {name: light for name, light in seen.patches.items() if name not in {"forehead", "wall_left"}}
    model = learn([Seen(patches, seen.drives)])
    assert model.cause == Cause("lamp", "key_left")
    present = np.array([name in patches for name in PATCHES])
    assert plan(model, EXPOSURES, MOST, seen=present).drives[0] > 1.2
