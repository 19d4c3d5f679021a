"""The booth's counters of days: each visit once, nothing of a single one, closed days never change, and the file survives a kill."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from booth.counters import ASIDE, NAME, Counters, VisitTally, lamps_counted
from booth.day_counts import Counted, Ending, Kept, add, roll, told
from booth.events import Event, Happening
from booth.self_test import CheckFinding
from booth.visit import State, Visit, step
from crypto.heartbeat import DAYS_BACK, LEAST_VISITS, Lamp, Visits
from hardware.lights import CHANNELS

DAY = date(2026, 11, 23)
ONE = timedelta(days=1)


def visits_of(count: int = 1, failed: int = 0, tries: int = 1) -> Counted:
    """So many visits together, each with so many portraits."""
    visits, portraits = {"started": count, "finished": count}, count * tries
    rules = {"light.even": (failed, portraits)}
    return Counted(visits=visits, portraits=portraits, judged_visits=count, rules=rules)


def days_of(kept: Kept, today: date):
    return told(roll(kept, today), today)


# --- sums of days ---


def test_names_are_those_of_the_heartbeat():
    assert set(get_args(Ending)) == set(Visits.model_fields)
    assert set(get_args(Lamp)) == set(CHANNELS)


def test_a_day_is_told_when_it_is_over_and_has_five_visits():
    kept = Kept.empty(DAY)
    for _ in range(LEAST_VISITS):
        kept = add(kept, visits_of(failed=1), DAY)
    assert days_of(kept, DAY) == ()  # never the day that runs
    (day,) = days_of(kept, DAY + ONE)
    assert (day.since, day.day, day.portraits, day.visits.finished) == (DAY, DAY, 5, 5)
    assert (day.rules["light.even"].failed, day.rules["light.even"].assessed) == (5, 5)


def test_quiet_days_are_told_with_the_day_that_reaches_five():
    kept = add(Kept.empty(DAY), visits_of(4), DAY)
    assert days_of(kept, DAY + ONE) == ()
    kept = add(kept, visits_of(1), DAY + 2 * ONE)
    assert days_of(kept, DAY + 2 * ONE) == ()
    (day,) = days_of(kept, DAY + 3 * ONE)
    assert (day.since, day.day, day.portraits, day.visits.started) == (DAY, DAY + 2 * ONE, 5, 5)
    assert kept.waiting is not None
    assert kept.waiting.portraits == 4  # one sum: nothing is left of which day it was


def test_the_tries_of_one_person_are_no_day():
    kept = add(Kept.empty(DAY), visits_of(1, failed=5, tries=5), DAY)
    kept = add(kept, visits_of(3, tries=4), DAY)
    assert days_of(kept, DAY + ONE) == ()
    (day,) = days_of(add(kept, visits_of(1), DAY + ONE), DAY + 2 * ONE)
    assert (day.since, day.portraits, day.rules["light.even"].failed) == (DAY, 18, 5)


def test_a_day_that_was_closed_is_never_changed_by_a_clock_that_goes_back():
    kept = roll(add(Kept.empty(DAY), visits_of(5), DAY), DAY + ONE)
    first = told(kept, DAY + ONE)
    kept = add(kept, visits_of(1), DAY)  # the clock was set back over midnight
    kept = roll(kept, DAY + ONE)
    assert told(kept, DAY + ONE) == first
    kept = add(kept, visits_of(4), DAY + ONE)
    (before, after) = days_of(kept, DAY + 2 * ONE)
    assert (before, after.since, after.portraits) == (*first, DAY + ONE, 5)


def test_a_clock_that_was_wrong_by_years_does_not_hold_the_days_up():
    kept = add(
        roll(add(Kept.empty(DAY), visits_of(6), date(2099, 1, 1)), date(2099, 1, 2)), visits_of(1), date(2099, 1, 2)
    )
    assert len(told(kept, date(2099, 1, 2))) == 1
    kept = add(kept, visits_of(4), DAY)
    (day,) = days_of(kept, DAY + ONE)
    assert (day.day, day.since, day.portraits) == (DAY, DAY, 5)


def test_what_hardly_anybody_adds_to_is_dropped_after_a_quarter():
    kept = add(Kept.empty(DAY), visits_of(4), DAY)
    kept = add(kept, visits_of(4), DAY + timedelta(days=100))
    assert days_of(kept, DAY + timedelta(days=101)) == ()


@given(st.lists(st.tuples(st.integers(-3, 4), st.integers(0, 7)), max_size=25))
@settings(max_examples=40)
def test_whatever_the_clock_does_told_days_are_in_order_never_change_and_lose_no_visit(moves):
    today, kept, seen, added = DAY, Kept.empty(DAY), {}, 0
    for days, portraits in moves:
        today += timedelta(days=days)
        kept = add(kept, visits_of(portraits) if portraits else Counted(), today)
        added += portraits
        for day in told(kept, today):
            assert today - DAYS_BACK * ONE <= day.day < today
            assert day.portraits >= LEAST_VISITS
            assert seen.setdefault(day.day, day) == day
        assert all(one.day < two.since for one, two in pairwise(told(kept, today)))
        there = [kept.open, *([kept.waiting] if kept.waiting else []), *kept.closed]
        assert sum(one.portraits for one in there) <= added


# --- a visit ---


def report_of(**verdicts):
    return SimpleNamespace(findings=[SimpleNamespace(rule=rule, verdict=v) for rule, v in verdicts.items()])


def run(*events: Event, reports=()):
    kept: list[Counted] = []
    tally, visit, reports = VisitTally(kept.append), Visit(), list(reports)
    for event in events:
        if event in {Event.CHECK_PASSED, Event.CHECK_FAILED}:
            tally.judged(reports.pop(0))
        before = visit
        visit, _ = step(before, Happening(event, visit_id="v", portrait=True))
        if visit.turn != before.turn:
            tally.stepped(before, event, visit)
    return kept, visit


HERE = (Event.START, Event.LANGUAGE_CHOSEN, Event.IDENTIFIED, Event.CONSENTED, Event.HELD, Event.CAPTURED)


def test_a_visit_to_its_end_is_counted_once():
    reports = [report_of(light="fail", pose="pass", eyes="not_assessed"), report_of(light="warn", pose="pass")]
    kept, visit = run(
        *(*HERE, Event.CHECK_FAILED, Event.RETAKE, Event.HELD, Event.CAPTURED, Event.CHECK_PASSED),
        *(Event.ACCEPT, Event.SEALED, Event.LIMIT, Event.WIPED, Event.LIMIT),
        reports=reports,
    )
    assert visit.state is State.ATTRACT
    assert [one.visits for one in kept] == [{"started": 1}, {"finished": 1}]
    assert kept[1].judged_visits == 1
    assert (kept[1].portraits, kept[1].rules) == (2, {"light": (1, 2), "pose": (0, 2)})


@pytest.mark.parametrize(
    ("events", "ended"),
    [
        ((Event.START, Event.CANCEL), {"cancelled": 1}),
        ((Event.START, Event.LANGUAGE_CHOSEN, Event.IDENTIFIED, Event.DECLINED), {"cancelled": 1}),
        ((Event.START, Event.SILENCE, Event.LIMIT), {"timed_out": 1}),
        ((Event.START, Event.HELP, Event.HELP_GIVEN), {"handed_to_staff": 1}),
        ((Event.START, Event.HELP, Event.LIMIT), {"handed_to_staff": 1, "timed_out": 1}),
    ],
)
def test_how_a_visit_ended_is_told_from_its_table(events, ended):
    kept, _ = run(*events)
    assert kept[-1].visits == ended


def test_a_portrait_that_staff_released_is_told_as_such():
    failed = (Event.HELD, Event.CAPTURED, Event.CHECK_FAILED)
    kept, visit = run(
        *(*HERE, Event.CHECK_FAILED, Event.RETAKE, *failed, Event.RETAKE, *failed),
        *(Event.STAFF_RELEASED, Event.ACCEPT, Event.SEALED, Event.CANCEL),
        reports=[report_of(light="fail")] * 3,
    )
    assert visit.state is State.CLEARING
    assert kept[-1].visits == {"finished": 1, "handed_to_staff": 1, "overridden": 1}


def test_a_booth_that_is_repaired_counts_no_visit():
    kept, _ = run(Event.OBSTRUCTED, Event.REPAIRED, Event.WIPED, Event.LIMIT)
    assert kept == []


def test_the_lamps_of_a_run_of_self_tests_are_counted():
    told_of = {"unit": "%", "low": 80.0, "high": 120.0, "verdict": "pass", "took_ms": 1.0}
    found = [
        CheckFinding(id="lamp.key_left", value=93.5, **told_of),
        CheckFinding(id="lamp.key_right", value=None, **told_of),
        CheckFinding(id="camera.fps", value=30.0, **told_of),
    ]
    assert lamps_counted(found).lamps == {"key_left": (93.5, 1)}


# --- the file ---


def test_sums_survive_a_restart_and_the_file_tells_nothing_of_a_visit(tmp_path):
    notes: list[str] = []
    counters = Counters(tmp_path, lambda: DAY, notes.append)
    for _ in range(6):
        counters.add(visits_of())
    counters.add(Counted(lamps={"key_left": (90.0, 1)}))
    again = Counters(tmp_path, lambda: DAY + ONE, notes.append)
    (day,) = again.days()
    assert (day.portraits, day.lamps, notes) == (6, {"key_left": 90.0}, [])
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert set(json.loads((tmp_path / NAME).read_text())) == {"version", "open", "waiting", "closed"}


@pytest.mark.parametrize("damage", [b"", b"{", b'{"version": 2}', b"\xff" * 50])
def test_a_damaged_file_is_set_aside_told_and_begun_anew(tmp_path, damage):
    (tmp_path / NAME).write_bytes(damage)
    notes: list[str] = []
    counters = Counters(tmp_path, lambda: DAY, notes.append)
    counters.add(visits_of())
    assert len(notes) == 1
    assert (tmp_path / ASIDE).read_bytes() == damage
    assert Counters(tmp_path, lambda: DAY, notes.append).days() == ()
    assert len(notes) == 1


def test_a_disk_that_refuses_is_told_once_and_the_sums_go_on_but_are_told_from_the_file_alone(tmp_path):
    notes: list[str] = []
    today = [DAY]
    folder = tmp_path / "gone"
    counters = Counters(folder, lambda: today[0], notes.append)
    for _ in range(5):
        counters.add(visits_of())
    today[0] += ONE
    assert (len(notes), counters.days()) == (1, ())
    folder.mkdir()  # there is room again
    (day,) = counters.days()
    assert (day.portraits, len(notes)) == (5, 1)


def test_a_kill_while_the_disk_refuses_does_not_make_two_versions_of_a_day(tmp_path, monkeypatch):
    today, told_days = [DAY], []
    counters = Counters(tmp_path, lambda: today[0], print)
    counters.add(visits_of(5))
    with monkeypatch.context() as full:
        full.setattr("booth.counters.write_whole", lambda *_: (_ for _ in ()).throw(OSError(28, "No space")))
        counters.add(visits_of(1, failed=1))
        today[0] += ONE
        told_days += counters.days()
    told_days += Counters(tmp_path, lambda: today[0], print).days()  # and then the power went
    assert [day.portraits for day in told_days] == [5]


COUNTING = """
import sys
from datetime import date
from pathlib import Path
from booth.counters import Counters
from booth.day_counts import Counted
counters = Counters(Path(sys.argv[1]), lambda: date(2026, 11, 23), print)
while True:
    counters.add(Counted(visits={"finished": 1}, portraits=1))
    print("counted", flush=True)
"""


def test_a_kill_costs_the_newest_addition_and_never_the_file(tmp_path):
    told_of = 0
    for lines in (3, 20):
        with subprocess.Popen([sys.executable, "-c", COUNTING, str(tmp_path)], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            for _ in range(lines):
                assert child.stdout.readline() == b"counted\n"
            child.kill()
        told_of += lines
        notes: list[str] = []
        Counters(tmp_path, lambda: DAY, notes.append)
        kept = Kept.model_validate_json((tmp_path / NAME).read_bytes())
        assert notes == []
        assert kept.open.portraits == kept.open.visits["finished"] >= told_of
