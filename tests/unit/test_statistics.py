"""Which booth stands out: the intervals against published numbers, few false alarms, and the lamp that is found."""

from __future__ import annotations

import csv
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.statistics import (
    LEAST_ASSESSED,
    NOTHING,
    Compared,
    Share,
    by_booth,
    by_rule,
    cause_of,
    least_difference,
    shown_first,
    standouts,
    wilson,
    worst_rule,
)
from server.statistics_csv import BYTE_ORDER_MARK, csv_lines

Z95 = 1.959964


def fleet(rates: dict[str, dict[str, float]], portraits: int, seed: int) -> list[Compared]:
    """Booths whose checks fail at these rates."""
    draw = random.Random(seed)
    own = {
        (booth, rule): Share(sum(draw.random() < rate for _ in range(portraits)), portraits)
        for booth, rules in rates.items()
        for rule, rate in rules.items()
    }
    everybody: dict[str, Share] = {}
    for (_, rule), share in own.items():
        everybody[rule] = everybody.get(rule, NOTHING) + share
    return [Compared(booth, rule, share, everybody[rule]) for (booth, rule), share in own.items()]


def test_the_intervals_are_the_published_ones():
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3: Wilson's score interval.
    assert wilson(Share(81, 263), Z95) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(Share(15, 148), Z95) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(Share(0, 20), Z95) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(Share(1, 29), Z95) == pytest.approx((0.0061, 0.1718), abs=5e-5)
    # The same volume, 873-890, table II, method 10: 56/70 less 48/80, and 9/10 less 3/10.
    assert least_difference(Share(56, 70), Share(48, 80), Z95) == pytest.approx(0.0524, abs=5e-5)
    assert least_difference(Share(9, 10), Share(3, 10), Z95) == pytest.approx(0.1705, abs=5e-5)


@given(st.integers(0, 5000), st.integers(1, 5000), st.floats(0.5, 6))
def test_an_interval_holds_the_share_and_stays_within_all_there_is(count, total, z):
    share = Share(min(count, total), total)
    low, high = wilson(share, z)
    assert 0 <= low <= share.value + 1e-9
    assert share.value - 1e-9 <= high <= 1


def test_a_lamp_that_fails_is_named_and_nobody_else():
    rates = {f"b{n}": {"light.even": 0.03, "pose.yaw": 0.08} for n in range(12)}
    rates["b7"] = {"light.even": 0.35, "pose.yaw": 0.08}
    found = standouts(fleet(rates, 120, seed=1))
    assert [(one.booth, one.rule) for one in found] == [("b7", "light.even")]
    assert found[0].own.value > 0.25
    assert found[0].others.value < 0.1
    assert 0.05 < found[0].at_least < found[0].own.value - found[0].others.value


def test_a_check_that_fails_everywhere_is_nobodys_lamp():
    rates = {f"b{n}": {"light.even": 0.6} for n in range(8)}
    assert standouts(fleet(rates, 150, seed=2)) == []


def test_places_differ_a_little_and_no_number_of_portraits_makes_that_a_lamp():
    compared = [Compared("b0", "eyes.open", Share(900, 10_000), Share(900 + 6_000, 110_000))]
    assert compared[0].own.value - compared[0].others.value == pytest.approx(0.03)
    assert standouts(compared) == []


def test_few_portraits_say_nothing_on_either_side():
    few = LEAST_ASSESSED - 1
    assert standouts([Compared("b0", "light.even", Share(few, few), Share(few, few + 1000))]) == []
    assert standouts([Compared("b0", "light.even", Share(1000, 1000), Share(1000, 1000 + few))]) == []
    assert standouts([]) == []


def test_false_alarms_are_as_rare_as_is_said():
    """200 fleets without any lamp at fault, 6000 comparisons: at most 1 % of the fleets may have a finding."""
    draw = random.Random(4)
    alarms = 0
    for _ in range(200):
        counts = [sum(draw.random() < 0.15 for _ in range(40)) for _ in range(30)]
        everybody = Share(sum(counts), 40 * len(counts))
        alarms += bool(
            standouts([Compared(f"b{n}", "r", Share(count, 40), everybody) for n, count in enumerate(counts)])
        )
    assert alarms <= 2


def test_what_is_shown_first():
    compared = [
        Compared("a", "light.even", Share(1, 50), Share(60, 150)),
        Compared("b", "light.even", Share(49, 50), Share(60, 150)),
        Compared("c", "light.even", Share(10, 50), Share(60, 150)),
        Compared("c", "pose.yaw", Share(0, 0), Share(0, 0)),
    ]
    found = standouts(compared)
    assert [one.booth for one in found] == ["b"]
    assert by_rule(compared) == {"light.even": Share(60, 150), "pose.yaw": Share(0, 0)}
    assert by_rule(compared, {"a", "c"})["light.even"] == Share(11, 100)
    assert shown_first(by_booth(compared, "light.even"), found, 2) == ["b", "c"]
    assert worst_rule(by_rule(compared)) == "light.even"
    assert worst_rule({"pose.yaw": NOTHING}) is None
    assert NOTHING.value is None
    assert [cause_of(rule) for rule in ("light.even", "background.colour", "eyes.open")] == [
        "lamps",
        "backdrop",
        "people",
    ]


@pytest.mark.parametrize(
    "nasty",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r\n=1", "＝1", "|cmd", "%0A=1"],  # noqa: RUF001 (a wide sign)
)
def test_no_cell_is_a_formula(nasty):
    cell = csv_lines([[nasty]]).rstrip("\r\n").strip('"')
    assert cell.startswith("'")
    assert "\n" not in cell


@pytest.mark.parametrize(
    ("nasty", "told"),
    [
        ("North;=1+1", "North;'=1+1"),
        ('North;"=1+1";@x', "North;\"'=1+1\";'@x"),
        ("a ; ;  -1,+2", "a ; ;  '-1,'+2"),
        ("Nord; Süd, Ost - West", "Nord; Süd, Ost - West"),
    ],
)
def test_no_part_of_a_cell_is_a_formula_where_something_else_separates_cells(nasty, told):
    assert next(csv.reader([csv_lines([["x", nasty]])])) == ["x", told]


def test_cells_are_quoted_and_numbers_plain():
    assert csv_lines([['He said "no", twice', 3, 0.25, None]]) == '"He said ""no"", twice",3,0.250000,\r\n'
    assert BYTE_ORDER_MARK.encode() == b"\xef\xbb\xbf"
