"""Heartbeats: what a booth may tell, and that no text, day or number has room for more."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from booth.diagnostics import CHECKS
from booth.faults import TABLE
from booth.health import ABSENT
from booth.service_switch import OUT_REASONS
from crypto.errors import HeartbeatError
from crypto.heartbeat import (
    MAX_HEARTBEAT_BYTES,
    MAX_RULES,
    Day,
    Device,
    DeviceName,
    Heartbeat,
    HeartbeatAnswer,
    Lamp,
    OutReason,
    PoorCheck,
    RuleCount,
    read_answer,
    read_heartbeat,
)
from hardware.lights import CHANNELS
from hardware.link import DeviceState
from tests.heartbeats import NOW, day, heartbeat
from validation.rules import RULES


def changed(**fields) -> bytes:
    return json.dumps(json.loads(heartbeat().to_bytes()) | fields).encode()


def test_what_is_written_is_read():
    beat = heartbeat(days=(day(), day(date(2026, 11, 22), since=date(2026, 11, 22))))
    data = beat.to_bytes()
    assert read_heartbeat(data) == beat
    told = json.loads(data)
    assert told["sent_at"] == "2026-11-23T12:00:00Z"
    assert told["days"][0]["since"] == "2026-11-20"
    assert read_answer(b'{"actions": 0, "next_s": 300}') == HeartbeatAnswer(actions=0, next_s=300)


def test_the_fixed_names_are_those_of_the_booth():
    assert set(Lamp.__args__) == set(CHANNELS)
    assert set(DeviceName.__args__) == set(ABSENT)
    assert set(Device.model_fields["state"].annotation.__args__) == {state.value for state in DeviceState}
    assert {*OUT_REASONS, "fault", "work"} == set(OutReason.__args__)
    assert len(RULES) <= MAX_RULES
    for check in CHECKS:
        for cause in check.causes:
            assert PoorCheck(id=check.id, verdict="warn", cause=cause, value=1.0, unit=check.unit, low=None, high=None)
    assert heartbeat(faults=tuple(sorted(TABLE))[:32]).faults


def test_every_rule_over_every_day_fits():
    rules = {rule.id: RuleCount(failed=12_345, assessed=98_765) for rule in RULES}
    days = tuple(
        day(NOW.date() - timedelta(days=back), since=NOW.date() - timedelta(days=back), portraits=98_765, rules=rules)
        for back in range(7, 0, -1)
    )
    assert len(heartbeat(days=days).to_bytes()) < MAX_HEARTBEAT_BYTES


@pytest.mark.parametrize(
    "days",
    [
        [day(NOW.date(), since=NOW.date())],  # the day that runs
        [day(NOW.date() + timedelta(days=1), since=NOW.date())],
        [day(NOW.date() - timedelta(days=8), since=NOW.date() - timedelta(days=8))],
        [day(date(2026, 11, 22)), day(date(2026, 11, 21))],
        [day(date(2026, 11, 21)), day(date(2026, 11, 22), since=date(2026, 11, 21))],
    ],
    ids=["today", "tomorrow", "too old", "disordered", "shared"],
)
def test_a_day_is_over_recent_and_told_once(days):
    with pytest.raises(ValidationError, match="days"):
        heartbeat(days=tuple(days))


def test_a_quiet_day_cannot_be_told():
    with pytest.raises(ValidationError, match="portraits"):
        day(portraits=4)
    with pytest.raises(ValidationError, match="assessed more often"):
        day(portraits=5, rules={"pose.yaw": RuleCount(failed=0, assessed=6)})
    with pytest.raises(ValidationError, match="more failed"):
        RuleCount(failed=3, assessed=2)
    with pytest.raises(ValidationError, match="folded"):
        Day(**{**day().model_dump(), "since": date(2025, 1, 1)})


@pytest.mark.parametrize(
    "fields",
    [
        {"applicant": "x"},
        {"version": 2},
        {"booth": "a b"},
        {"software": "passbooth 0.6; Erika Mustermann"},
        {"software": "passbooth 0.6\n"},
        {"sent_at": "2026-11-23T12:00:00+01:00"},
        {"sent_at": 1_764_000_000},
        {"service": {"state": "in_service", "reason": "cleaning"}},
        {"service": {"state": "out_of_service"}},
        {"service": {"state": "out_of_service", "reason": "cleaning"}},
        {"service": {"state": "out_of_service", "reason": "Erika is ill"}},
        {"faults": ["camera.lost"] * 33},
        {"faults": ["/home/erika"]},
        {"lamps": {"erika": {"response_pct": 3.0}}},
        {"lamps": {"key_left": {"response_pct": -1}}},
        {"certificate_days": "12"},
        {"clock_offset_s": 1e300},
    ],
)
def test_whatever_else_is_said_is_refused_without_repeating_it(fields):
    with pytest.raises(HeartbeatError) as refused:
        read_heartbeat(changed(**fields))
    assert "rika" not in str(refused.value).replace("lamps.erika", "")


@pytest.mark.parametrize(
    ("told", "instead"),
    [
        (b'"sent_at":"2026-11-23T12:00:00Z"', b'"sent_at":"0001-01-01T00:00:00Z"'),
        (b'"day":"2026-11-22"', b'"day":"0001-01-01"'),
    ],
)
def test_times_of_the_first_year_are_refused_as_any_others(told, instead):
    data = heartbeat(days=(day(date(2026, 11, 22)),)).to_bytes()
    assert told in data
    with pytest.raises(HeartbeatError, match="schema"):
        read_heartbeat(data.replace(told, instead))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_are_finite(number):
    data = heartbeat().to_bytes().replace(b'"certificate_days":200.0', f'"certificate_days":{number}'.encode())
    assert number.encode() in data
    with pytest.raises(HeartbeatError, match="certificate_days"):
        read_heartbeat(data)


def test_a_long_one_is_refused_before_it_is_read():
    with pytest.raises(HeartbeatError, match="65536 is the limit"):
        read_heartbeat(b"{" + b" " * MAX_HEARTBEAT_BYTES)
    with pytest.raises(HeartbeatError, match="too long"):
        read_answer(b" " * (MAX_HEARTBEAT_BYTES + 1))
    with pytest.raises(HeartbeatError, match="actions"):
        read_answer(b'{"actions": -1, "next_s": 300}')


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data):
    with pytest.raises(HeartbeatError):
        read_heartbeat(data)


def test_a_heartbeat_tells_no_times_finer_than_a_second():
    assert heartbeat(sent_at=datetime.fromisoformat("2026-11-23T12:00:00.750+00:00")).sent_at == NOW
    assert Heartbeat.model_config["extra"] == "forbid"
