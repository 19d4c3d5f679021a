"""Error rates as numbers: what an equal error rate must be whatever the scores are, and where its interval must lie."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from booth.evaluation import Band, curve, eer, interval
from validation.profile import RuleLimits

scores = st.lists(st.integers(-1000, 1000).map(float) | st.just(math.inf), min_size=1, max_size=40)
finite = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=40)
values = st.floats(-1e4, 1e4)


def limits(**bands: float) -> RuleLimits:
    return RuleLimits(source="test", **bands)


@given(scores, scores)
def test_rates_go_from_all_flagged_to_none(good, bad):
    rates = curve(good, bad)
    assert (rates.frr[0], rates.far[0]) == (1.0, 0.0)
    assert (rates.frr[-1], rates.far[-1]) == (0.0, 1.0)
    assert np.all(np.diff(rates.frr) <= 0)
    assert np.all(np.diff(rates.far) >= 0)
    assert 0 <= rates.eer <= 1


@given(scores, scores)
def test_only_the_order_of_scores_counts(good, bad):
    def curved(value: float) -> float:
        return math.inf if value == math.inf else math.atan(value / 50) * 3 - 7

    assert eer([curved(v) for v in good], [curved(v) for v in bad]) == eer(good, bad)


@given(scores, scores)
def test_the_order_of_photos_does_not_count(good, bad):
    assert eer(good[::-1], random.Random(1).sample(bad, len(bad))) == eer(good, bad)


@given(finite, finite)
def test_swapping_classes_and_direction_changes_nothing(good, bad):
    assert eer([-v for v in bad], [-v for v in good]) == pytest.approx(eer(good, bad))


@given(st.lists(st.floats(-100, -0.01), min_size=1), st.lists(st.floats(0, 100) | st.just(math.inf), min_size=1))
def test_separable_classes_have_no_error_and_a_threshold_between_them(good, bad):
    rates = curve(good, bad)
    assert rates.eer == 0
    assert max(good) <= rates.threshold
    if min(bad) < math.inf:
        assert rates.threshold <= min(bad)


@given(st.lists(st.floats(-100, 100), min_size=1))
def test_like_classes_cannot_be_told_apart(both):
    assert eer(both, both) == pytest.approx(0.5, abs=0.5 / len(set(both)))
    assert eer([1.0] * 5, [1.0] * 3) == 0.5


def test_a_known_case():
    """One of ten on each side is wrong."""
    good = [1, 2, 3, 4, 5, 6, 7, 8, 9, 20]
    bad = [0, 11, 12, 13, 14, 15, 16, 17, 18, 19]
    rates = curve(good, bad)
    assert rates.eer == pytest.approx(0.1)
    assert 9 <= rates.threshold <= 11


def test_rates_that_do_not_meet_give_their_middle():
    """One photo of each class, the wrong way round at any threshold but the ends; and 1 of 2 against 0 of 1."""
    assert eer([1.0], [0.0]) == pytest.approx(1.0)
    assert eer([0.0, 2.0], [1.0]) == pytest.approx(0.25)


def test_an_empty_class_and_a_missing_number_are_refused():
    with pytest.raises(ValueError, match="both classes"):
        curve([], [1.0])
    with pytest.raises(ValueError, match="not a number"):
        curve([1.0], [math.nan])


@given(scores, scores, st.integers(1, 8))
def test_the_interval_holds_the_rate_and_is_the_same_each_time(good, bad, people):
    marks = [False] * len(good) + [True] * len(bad)
    units = [n % people for n in range(len(marks))]
    found = interval([*good, *bad], marks, units, resamples=50)
    assert 0 <= found.low <= eer(good, bad) <= found.high <= 1
    assert found.resamples <= 50
    assert interval([*good, *bad], marks, units, resamples=50) == found


def test_few_photos_without_an_error_prove_little():
    """Exact binomial: of 3 units none wrong, so up to 70.8 % may be; of 100, 3.6 %."""
    few = interval([0, 0, 0, 1, 1, 1], [False] * 3 + [True] * 3, range(6))
    assert (few.low, few.high) == (0.0, pytest.approx(0.708, abs=0.001))
    many = interval([0.0] * 100 + [1.0] * 100, [False] * 100 + [True] * 100, range(200))
    assert many.high == pytest.approx(0.0362, abs=0.0001)
    one_person = interval([0.0] * 100 + [1.0] * 100, [False] * 100 + [True] * 100, [0] * 200)
    assert one_person.high == pytest.approx(0.975)
    # The one photo that breaks the rule is found, two of a hundred others are flagged with it: still only one was seen.
    one_found = interval([*[0.0] * 98, 2.0, 2.0, 1.0], [False] * 100 + [True], range(101))
    assert (one_found.low, one_found.high) == (0.0, pytest.approx(0.975))


def test_photos_of_one_person_are_drawn_together():
    chance = np.random.default_rng(5)
    offset = np.repeat(chance.normal(0, 2, 30), 10)
    bad = np.tile([False, True], 150)
    found = offset + bad * 1.0 + chance.normal(0, 0.1, 300)
    apart = interval(found, bad, list(range(300)))
    together = interval(found, bad, list(np.repeat(np.arange(30), 10)))
    assert together.resamples == apart.resamples == 1000
    assert together.high - together.low > apart.high - apart.low


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    """Normal scores two deviations apart have an EER of 15.9 %."""
    chance = np.random.default_rng(9)
    bad = np.repeat([False, True], 100)
    hits = 0
    for _ in range(60):
        found = interval(chance.normal(0, 1, 200) + 2 * bad, bad, range(200), resamples=200)
        hits += found.low <= 0.1587 <= found.high
    assert hits >= 51


bands = st.sampled_from(
    [
        limits(low=60, high=90),
        limits(low=60, high=90, warn_low=70, warn_high=80),
        limits(low=3, high=90, warn_low=6),
        limits(low=3.5),
        limits(low=90, warn_low=120),
        limits(high=150, warn_high=100),
        limits(high=3),
        limits(low=-8, high=8, warn_low=-5, warn_high=5),
        limits(warn_low=1, warn_high=2),
    ]
)


@given(bands, values)
def test_a_score_above_zero_is_what_a_rule_warns_of_or_refuses(of, value):
    speaks = not of.limit.holds(value) or not (of.warn_limit is None or of.warn_limit.holds(value))
    assert (Band.of(of).score(value) > 0) is speaks


@given(bands, values, values)
def test_farther_out_on_one_side_is_never_better(of, first, second):
    band = Band.of(of)
    near, far = sorted((first, second))
    middle = (band.low + band.high) / 2 if band.low is not None and band.high is not None else None
    if band.low is None or (middle is not None and near >= middle):
        assert band.score(near) <= band.score(far)
    elif band.high is None or (middle is not None and far <= middle):
        assert band.score(near) >= band.score(far)


@given(bands, st.floats(-0.9, 50))
def test_a_score_is_told_as_the_values_that_have_it(of, score):
    band = Band.of(of)
    for value in band.natives(score):
        if value is not None:
            assert band.score(value) == pytest.approx(score, abs=1e-9)


def test_both_sides_of_a_band_weigh_alike():
    band = Band.of(limits(low=3, high=90, warn_low=6, warn_high=70))
    assert [band.score(v) for v in (38, 6, 70, 3, 90)] == pytest.approx([-1, 0, 0, 1, 1])
    single = Band.of(limits(low=1, high=1))
    assert [single.score(v) for v in (0, 1, 2)] == [1, 0, 1]
