"""The history of self-tests: kept, bounded, proved, begun anew when it is broken; trends that are believed only when they should be."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from booth.errors import HistoryUnusableError
from booth.history import KEPT_ASIDE, NAME, History
from booth.self_test import CheckFinding
from booth.trends import DAY_S, Point, trend_of

NOW = 1_800_000_000.0


def finding(value=50.0, verdict="pass", check="lamp.key_left"):
    return CheckFinding(
        id=check, value=value, unit="%", low=80, high=125, verdict=verdict, took_ms=3,
        cause=None if verdict == "pass" else "cause.lamp.weak",
    )  # fmt: skip


@pytest.fixture
def history(tmp_path):
    return History(tmp_path, lambda: NOW)


def test_what_was_found_comes_back_oldest_first(history, tmp_path):
    for age, value in ((3, 91.0), (1, 89.0), (2, 90.0)):
        history.add(NOW - age * DAY_S, "night", [finding(value), finding(1.0, check="disk.free")])
    assert [point.value for point in history.points("lamp.key_left")] == [91, 90, 89]
    assert [point.value for point in history.points("lamp.key_left", days=1.5)] == [89]
    assert history.checks() == ("disk.free", "lamp.key_left")
    assert history.take_problems() == ()
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    with contextlib.closing(sqlite3.connect(tmp_path / NAME)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_ninety_days_are_kept_and_no_more_runs_than_fit(history, monkeypatch):
    monkeypatch.setattr("booth.history.MAX_RUNS", 5)
    history.add(NOW - 91 * DAY_S, "night", [finding(1.0)])
    assert history.points("lamp.key_left", 1000) == ()
    for number in range(8):
        history.add(NOW - 8 + number, "page", [finding(float(number))])
    assert [point.value for point in history.points("lamp.key_left")] == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("damage", ["garbage", "torn", "schema", "table"])
def test_a_file_that_does_not_read_back_is_set_aside_and_told_once(history, tmp_path, damage):
    for number in range(9):
        history.add(NOW - number, "page", [finding(float(number))])
    path = tmp_path / NAME
    if damage == "garbage":
        path.write_bytes(b"no database at all" * 100)
    elif damage == "torn":
        data = bytearray(path.read_bytes())
        data[4096:8192] = bytes(4096)
        path.write_bytes(data)
    else:
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA user_version=7" if damage == "schema" else "DROP TABLE findings")
            database.commit()
    history.add(NOW, "night", [finding()])
    assert [point.value for point in history.points("lamp.key_left")] == [50]
    (problem,) = history.take_problems()
    assert "history.sqlite3.damaged-0001" in problem
    assert history.take_problems() == ()
    assert (tmp_path / "history.sqlite3.damaged-0001").exists()


def test_of_files_set_aside_the_newest_stay(history, tmp_path):
    for _ in range(KEPT_ASIDE + 2):
        (tmp_path / NAME).write_bytes(b"broken" * 50)
        history.add(NOW, "page", [finding()])
    names = sorted(path.name for path in tmp_path.glob(f"{NAME}.damaged-*"))
    assert names == ["history.sqlite3.damaged-0003", "history.sqlite3.damaged-0004"]


def test_a_folder_in_its_place_is_told_and_nothing_else(tmp_path):
    (tmp_path / NAME).mkdir()
    with pytest.raises(HistoryUnusableError, match="look at the disk"):
        History(tmp_path, lambda: NOW).add(NOW, "page", [finding()])
    assert (tmp_path / NAME).is_dir()


def test_another_process_that_writes_is_waited_for_and_no_reason_to_begin_anew(history, tmp_path, monkeypatch):
    monkeypatch.setattr("booth.history.BUSY_S", 0.01)
    history.add(NOW, "page", [finding()])
    with contextlib.closing(sqlite3.connect(tmp_path / NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(HistoryUnusableError, match="locked"):
            history.add(NOW, "page", [finding()])
        other.execute("ROLLBACK")
    assert len(history.points("lamp.key_left")) == 1


def points(values, every=1.0):
    count = len(values)
    return [
        Point(at=NOW - (count - 1 - n) * every * DAY_S, value=value, verdict="pass") for n, value in enumerate(values)
    ]


def test_a_lamp_that_ages_will_cross_its_limit_on_a_day():
    ageing = trend_of("lamp.key_left", "%", 80, 125, points([100 - 0.4 * n for n in range(37)]), NOW)
    assert ageing.per_day == pytest.approx(-0.4)
    assert ageing.recent == pytest.approx(86.8)
    assert ageing.before == pytest.approx(94.2)
    assert ageing.crosses_in_days == pytest.approx((86.8 - 80) / 0.4, abs=0.1)
    assert ageing.newest == pytest.approx(85.6)


def test_scatter_without_a_direction_is_no_trend():
    scatter = [100 + (-1) ** n * (n % 5) for n in range(37)]
    trend = trend_of("x", "%", 80, 125, points(scatter), NOW)
    assert (trend.per_day, trend.crosses_in_days) == (None, None)


def test_one_bad_night_does_not_turn_a_trend():
    values = [100 - 0.4 * n for n in range(37)]
    values[20] = 5.0
    assert trend_of("x", "%", 80, None, points(values), NOW).per_day == pytest.approx(-0.4, abs=0.02)


def test_a_trend_away_from_a_limit_or_too_slow_crosses_nothing():
    assert trend_of("x", "", None, 10, points([9 - 0.1 * n for n in range(20)]), NOW).crosses_in_days is None
    assert trend_of("x", "", None, 1000, points([1 + 0.1 * n for n in range(20)]), NOW).crosses_in_days is None


def test_few_days_say_nothing_and_days_with_failures_are_counted(history):
    few = trend_of("x", "", 0, 10, points([1, 2, 3, 4]), NOW)
    assert (few.per_day, few.recent, few.before) == (None, 2.5, None)
    assert history.trend("lamp.key_left") is None
    for age in (0, 0.01, 1, 2):
        history.add(NOW - age * DAY_S, "night", [finding(60.0, "fail")])
    told = history.trend("lamp.key_left")
    assert (told.failed_days, told.unit, told.low) == (3, "%", 80)


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=40), st.floats(0.1, 3))
def test_whatever_the_values_a_trend_is_told(values, every):
    trend = trend_of("x", "", 0, 10, points(values, every), NOW)
    assert trend.crosses_in_days is None or 0 <= trend.crosses_in_days <= 180
