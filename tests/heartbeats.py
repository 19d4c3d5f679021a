"""Heartbeats for tests: a booth in good health, and what is changed about it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from crypto.heartbeat import (
    Day,
    Device,
    Heartbeat,
    LampLight,
    Outbox,
    Profile,
    RuleCount,
    SelfTests,
    Service,
    Visits,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LAMPS = ("key_left", "key_right", "fill_top", "background")


def day(of: date = date(2026, 11, 21), **fields) -> Day:
    visits = Visits(started=40, finished=34, cancelled=3, timed_out=1, handed_to_staff=2, overridden=1)
    rules = {"pose.yaw": RuleCount(failed=4, assessed=36), "light.even": RuleCount(failed=1, assessed=36)}
    usual = {"day": of, "since": of - timedelta(days=1) if of == date(2026, 11, 21) else of, "portraits": 36}
    return Day(**usual | {"visits": visits, "rules": rules, "lamps": dict.fromkeys(LAMPS, 99.0)} | fields)


def heartbeat(**fields) -> Heartbeat:
    sent_at = fields.get("sent_at", NOW)
    start = sent_at - timedelta(hours=6)
    usual = {
        "booth": "booth-0001",
        "software": "passbooth 0.6, mediapipe 0.10.21, opencv 5.0.0",
        "profile": Profile(name="icao", version="2026-11"),
        "sent_at": sent_at,
        "started_at": start,
        "service": Service(state="in_service"),
        "devices": (
            Device(device="camera", state="ready", since=start, port="v4l2"),
            Device(device="lights", state="ready", since=start, port="serial", firmware="0.15.3"),
        ),
        "outbox": Outbox(waiting=0, oldest_age_s=None, bytes=0, quota_bytes=4_000_000_000),
        "certificate_days": 200.0,
        "disk_free_bytes": 80_000_000_000,
        "clock_offset_s": 0.1,
        "tests": SelfTests(tested_at=start, passed=21),
        "lamps": {lamp: LampLight(response_pct=99.0, drive_pct=60.0) for lamp in LAMPS},
    }
    return Heartbeat(**usual | fields)
