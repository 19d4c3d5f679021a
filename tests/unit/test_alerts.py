"""The rules of alerts: limits with a way back that is longer than the way in, nothing judged of what is not known, trends that noise does not make."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.heartbeat import Device, LampLight, Outbox, PoorCheck, SelfTests, Service
from server.alerts import (
    LIMITS,
    Kind,
    Level,
    Share,
    Standing,
    distance_z,
    is_silent,
    judge_beat,
    judge_lamp,
    judge_share,
    judge_silence,
)
from tests.heartbeats import NOW, heartbeat

WARN, GRAVE = Level.WARN, Level.GRAVE
HOUR = timedelta(hours=1)
LONG_AGO = NOW - timedelta(days=9)


def kinds(standing: tuple[Standing, ...]) -> set[tuple[str, str, str]]:
    return {(one.kind.value, one.name, one.level.value) for one in standing}


def outbox(**fields) -> Outbox:
    return Outbox(**{"waiting": 3, "oldest_age_s": 60.0, "bytes": 10, "quota_bytes": 100} | fields)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, set()),
        ({"lamps": {"key_left": LampLight(response_pct=84.9)}}, {("lamp.weak", "key_left", "warn")}),
        ({"lamps": {"fill_top": LampLight(response_pct=79.9)}}, {("lamp.weak", "fill_top", "grave")}),
        ({"certificate_days": 29.0}, {("certificate.ending", "", "warn")}),
        ({"certificate_days": -1.0}, {("certificate.ending", "", "grave")}),
        ({"certificate_days": None, "disk_free_bytes": None, "clock_offset_s": None}, set()),
        ({"disk_free_bytes": 400_000_000}, {("disk.low", "", "grave")}),
        ({"clock_offset_s": -90.0}, {("clock.wrong", "", "warn")}),
        ({"outbox": outbox(oldest_age_s=25 * 3600.0)}, {("outbox.old", "", "warn")}),
        ({"outbox": outbox(bytes=95)}, {("outbox.full", "", "grave")}),
        ({"outbox": outbox(quota_bytes=0)}, set()),
        (
            {"service": Service(state="out_of_service", reason="cleaning", since=NOW - 5 * HOUR)},
            {("service.out", "", "warn")},
        ),
        ({"service": Service(state="out_of_service", reason="cleaning", since=NOW - HOUR)}, set()),
        (
            {"devices": (Device(device="lift", state="lost", since=NOW - HOUR, port="serial"),)},
            {("device.lost", "lift", "grave")},
        ),
        (
            {"devices": (Device(device="lift", state="connecting", since=NOW - HOUR / 12, port="serial"),)},
            set(),
        ),
    ],
)
def test_what_a_heartbeat_gives_reason_for(fields, expected):
    assert kinds(judge_beat(heartbeat(**fields), {})) == expected


def test_failed_self_tests_are_told_unless_they_have_an_alert_of_their_own():
    def poor(check, verdict="fail"):
        return PoorCheck(id=check, verdict=verdict, cause=None, value=900.0, unit="ms", low=None, high=400.0)

    tests = SelfTests(
        tested_at=NOW, failed=3, poor=(poor("camera.latency"), poor("lamp.key_left"), poor("camera.noise", "warn"))
    )
    assert judge_beat(heartbeat(tests=tests), {}) == (Standing(Kind.TEST, "camera.latency", WARN, 900.0),)


@pytest.mark.parametrize("kind", sorted(LIMITS))
def test_every_way_back_is_longer_than_the_way_in(kind):
    limits = LIMITS[kind]
    order = [limits.grave, limits.warn, limits.over]
    assert order == sorted(order, reverse=not limits.falling)
    assert len(set(order)) == 3
    assert limits.source
    between = (limits.warn + limits.over) / 2
    assert limits.level(between, None) is None
    assert limits.level(between, WARN) is WARN
    assert limits.level(limits.warn, GRAVE) is GRAVE


@given(st.lists(st.floats(86, 87.9), min_size=2, max_size=60))
def test_a_value_that_trembles_between_the_limits_changes_nothing(values):
    for start in (None, WARN):
        level = start
        for value in values:
            level = LIMITS[Kind.LAMP_WEAK].level(value, level)
        assert level is start


def test_a_device_that_comes_and_goes_keeps_its_alert_until_it_stays():
    def beat(state, minutes):
        since = NOW - timedelta(minutes=minutes)
        return heartbeat(devices=(Device(device="camera", state=state, since=since, port="v4l2"),))

    before = {(Kind.DEVICE, "camera"): WARN}
    assert judge_beat(beat("ready", 5), before)
    assert not judge_beat(beat("ready", 10.1), before)
    assert judge_beat(beat("lost", 1), before)


def test_a_device_that_is_ready_since_tomorrow_is_ready():
    device = Device(device="camera", state="ready", since=NOW + timedelta(days=1), port="v4l2")
    assert judge_beat(heartbeat(devices=(device,)), {}) == ()


def test_silence_begins_after_three_heartbeats_and_ends_with_the_next_one():
    def silent(minutes, before=None, interval_s=300, listening=LONG_AGO):
        known = {} if before is None else {(Kind.SILENT, ""): before}
        return judge_silence(NOW - timedelta(minutes=minutes), NOW, interval_s, known, listening)

    assert not silent(14)
    (one,) = silent(16)
    assert (one.level, one.value, one.bound) == (WARN, None, 15)
    assert silent(241)[0].level is GRAVE
    assert silent(11, WARN)
    assert not silent(1, GRAVE)
    assert not silent(40, interval_s=900)
    assert silent(46, interval_s=900)
    # The intake was away itself: nobody is called silent for that, and who was silent before still is.
    just_now = NOW - timedelta(minutes=2)
    assert not silent(60, listening=just_now)
    assert silent(60, WARN, listening=just_now)
    assert is_silent(NOW - timedelta(minutes=16), NOW, 300)
    assert not is_silent(NOW - timedelta(minutes=16), NOW, 900)


def points(start, per_day, days=20, noise=0.0):
    return [(day, start + per_day * day + (noise if day % 2 else -noise)) for day in range(days)]


def test_a_lamp_that_falls_slowly_is_told_with_the_days_that_are_left():
    (one,) = judge_lamp("key_left", points(99.0, -0.5), {})
    assert (one.kind, one.name, one.level, one.value) == (Kind.LAMP_FALLING, "key_left", WARN, 19)
    (soon,) = judge_lamp("key_left", points(94.0, -0.6), {})
    assert soon.level is GRAVE
    assert not judge_lamp("key_left", points(99.0, -0.01), {}), "years"
    assert not judge_lamp("key_left", points(99.0, +0.5), {})
    assert not judge_lamp("key_left", points(99.0, 0.0, noise=3.0), {})
    assert not judge_lamp("key_left", points(90.0, -0.1, noise=4.0), {}), "it scatters more than it falls"
    assert not judge_lamp("key_left", points(99.0, -0.5, days=4), {})
    assert not judge_lamp("key_left", points(80.0, -0.5), {}), "weak already"
    far = points(99.0, -0.3)
    assert not judge_lamp("key_left", far, {})
    assert judge_lamp("key_left", far, {(Kind.LAMP_FALLING, "key_left"): WARN}), "it stays until well beyond"


def test_one_bad_night_is_no_trend():
    night = points(99.0, 0.0, days=30)
    night[12] = (12, 40.0)
    assert not judge_lamp("key_left", night, {})


def test_refusals_rise_against_the_booths_own_weeks_and_beyond_chance():
    base = Share(50, 1000)
    (one,) = judge_share("light.even", Share(30, 100), base, {})
    assert (one.kind, one.name, one.level, one.value, one.bound) == (Kind.REFUSALS, "light.even", WARN, 30.0, 5.0)
    assert judge_share("light.even", Share(60, 100), base, {})[0].level is GRAVE
    assert not judge_share("light.even", Share(14, 100), base, {}), "nine points more"
    assert not judge_share("light.even", Share(20, 29), base, {}), "too few portraits"
    assert not judge_share("light.even", Share(6, 36), Share(5, 120), {}), "may be chance"
    assert not judge_share("light.even", Share(30, 100), Share(5, 99), {}), "no weeks to compare with"
    known = {(Kind.REFUSALS, "light.even"): WARN}
    assert judge_share("light.even", Share(13, 100), base, known)
    assert not judge_share("light.even", Share(9, 100), base, known)
    assert not judge_share("light.even", Share(0, 0), base, known)
    assert distance_z(Share(0, 10), Share(0, 50)) == 0
    assert distance_z(Share(5, 10), Share(1, 50)) > 4


def test_the_documented_limits_are_the_limits():
    text = (Path(__file__).resolve().parents[2] / "docs" / "fleet.md").read_text("utf-8")
    rows = {
        row[0]: row for row in re.findall(r"^\| `([a-z.]+)` \| ([^|]*) \| ([^|]*) \| ([^|]*) \|", text, re.MULTILINE)
    }
    assert set(rows) >= {kind.value for kind in Kind}
    for kind, limits in LIMITS.items():
        _, begins, urgent, over = rows[kind.value]
        assert float(begins.split()[0]) == limits.warn, kind
        assert float(urgent.split()[0]) == limits.grave, kind
        told = {Kind.OUT: "in service", Kind.DEVICE: f"ready for {-limits.over:.0f} min"}.get(kind)
        assert over == told if told else float(over.split()[0]) == limits.over, kind
