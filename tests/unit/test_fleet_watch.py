"""Alerts as the intake's jobs judge them: many booths tell over signed requests, a lamp fails slowly, and its booth and name stand in the alert, nobody else's."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from crypto.heartbeat import LampLight, Service
from server.alert_rows import MOST_A_DAY, Judged, forget_alerts, read_open, read_past, settle
from server.alerts import Kind, Level, Standing
from server.config import IntakeSettings
from server.fleet_jobs import Watch, tell_fleet
from server.fleet_rows import alerts, booths, fleet_days, read_days
from server.metrics import Metrics
from tests.heartbeats import heartbeat
from tests.intake_rig import BASE, running
from tests.sealed_packets import Keys
from tests.simulated_fleet import simulated_booths
from tests.unit.test_fleet_rows import either_store, note, store, url

__all__ = ["either_store", "store", "url"]

# Tomorrow: certificates that are issued now count then.
START = (datetime.now(UTC) + timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
BOOTHS, DAYS = 12, 5


class Clock:
    now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock():
    return Clock()


async def test_of_many_booths_the_one_with_a_failing_lamp_is_named(tmp_path, clock):
    keys = Keys(tmp_path / "pki")
    clock.now = START + 2 * MINUTE
    fleet = list(simulated_booths(keys.folder, BOOTHS, clock.now.date(), (7, "fill_top")))
    async with running(keys, tmp_path / "data", now=clock) as intake:
        watch = Watch(intake.rooms.store, intake.rooms.settings, clock)
        for _ in range(DAYS):
            for booth in fleet:
                address, body, headers = booth.request(BASE, clock.now)
                answer = await intake.client.post(address, content=body, headers=headers)
                assert answer.status_code == 200, answer.text
            await watch.judge_beats()
            await watch.judge_days()
            clock.now += DAY
        (alert,) = await read_open(intake.rooms.store)
        assert (alert.booth, alert.kind, alert.name) == ("booth-0007", "lamp.falling", "fill_top")
        assert alert.value is not None
        assert 10 < alert.value < 30, "days until 80 %: about 19 / 0.8 from the first day"
        assert len({row.booth for row in await read_days(intake.rooms.store, START.date(), clock.now.date())}) == BOOTHS
        tell = tell_fleet(intake.rooms.store, intake.rooms.metrics, 300, clock)
        await tell()
        text = (await intake.rooms.metrics.text()).decode()
    assert 'passbooth_alerts{kind="lamp.falling",level="warn"} 1.0' in text
    assert f'passbooth_booths{{state="silent"}} {BOOTHS}.0' in text
    assert "booth-0007" not in text


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet-watch")
    return IntakeSettings.from_pki(Keys(folder / "pki").folder, folder / "data")


@pytest.fixture
def watch(store, clock, settings):
    return Watch(store, settings, clock)


async def open_kinds(store):
    return {(alert.booth, alert.kind, alert.name): alert for alert in await read_open(store)}


async def test_alerts_open_change_and_are_over_by_themselves(store, watch, clock):
    def weak(pct):
        return heartbeat(sent_at=clock.now, lamps={"key_left": LampLight(response_pct=pct)})

    key = ("booth-0001", "lamp.weak", "key_left")
    await note(store, weak(84.0), clock.now)
    assert await watch.judge_beats() == 1
    opened = (await open_kinds(store))[key]
    assert (opened.level, opened.value, opened.bound) == ("warn", 84.0, 85.0)
    assert await watch.judge_beats() == 0
    for minute, pct, level in ((5, 79.0, "grave"), (10, 87.0, "grave")):
        clock.now = START + minute * MINUTE
        await note(store, weak(pct), clock.now)
        assert await watch.judge_beats() == 0
        still = (await open_kinds(store))[key]
        assert (still.serial, still.level, still.opened_at) == (opened.serial, level, START)
        assert (still.value, still.changed_at) == (79.0, START + 5 * MINUTE)
    # A silent booth: that alone is new, the rest stays as it was.
    clock.now = START + 30 * MINUTE
    assert await watch.judge_beats() == 1
    assert set(await open_kinds(store)) == {key, ("booth-0001", "booth.silent", "")}
    clock.now = START + 31 * MINUTE
    await note(store, weak(99.0), clock.now)
    assert await watch.judge_beats() == 2
    assert not await read_open(store)
    past = await read_past(store, "booth-0001", 10)
    assert [(alert.kind, alert.resolved_at) for alert in past] == [
        ("booth.silent", clock.now),
        ("lamp.weak", clock.now),
    ]
    assert await forget_alerts(store, clock.now) == 0
    clock.now += 401 * DAY
    assert await watch.forget() >= 2
    assert not await read_past(store, "booth-0001", 10)


async def test_two_processes_that_judge_at_once_open_one_alert(either_store, settings, clock):
    store, watch = either_store, Watch(either_store, settings, clock)
    since = clock.now - DAY
    out = Service(state="out_of_service", reason="cleaning", since=since)
    await note(store, heartbeat(sent_at=clock.now, service=out), clock.now)
    await asyncio.gather(*(watch.judge_beats() for _ in range(4)))
    (alert,) = await read_open(store)
    assert (alert.kind, alert.level, alert.value) == ("service.out", "grave", None)


async def test_a_booth_that_left_the_fleet_has_no_alerts(store, watch, clock):
    await note(store, heartbeat(sent_at=clock.now, certificate_days=3.0), clock.now)
    assert await watch.judge_beats() == 1
    async with store.writing() as connection:
        await connection.execute(sa.update(booths).values(retired_at=clock.now))
    assert await watch.judge_beats() == 1
    clock.now += 30 * MINUTE
    assert await watch.judge_beats() == 0
    assert not await read_open(store)
    metrics = Metrics()
    await tell_fleet(store, metrics, 300, clock)()
    assert 'passbooth_booths{state="silent"} 0.0' in (await metrics.text()).decode()


async def test_a_booth_that_names_other_tests_all_the_time_does_not_fill_the_table(store, clock):
    def judged(turn):
        wild = [Standing(Kind.TEST, f"test{turn}.n{number}", Level.WARN) for number in range(64)]
        return {
            "booth-0001": Judged({Kind.TEST}, wild),
            "booth-0002": Judged({Kind.DISK}, [Standing(Kind.DISK, "", Level.WARN)]),
        }

    for turn in range(4):
        await settle(store, judged(turn), clock.now + turn * MINUTE)
    assert len(await read_past(store, "booth-0001", 1000)) == MOST_A_DAY
    assert [alert.booth for alert in await read_open(store)] == ["booth-0002"]
    await settle(store, judged(5), clock.now + 2 * DAY)
    assert len(await read_open(store, "booth-0001")) == 64


async def test_one_row_that_nobody_writes_does_not_end_the_alerts_of_the_fleet(store, watch, clock):
    await note(store, heartbeat(sent_at=clock.now, certificate_days=3.0), clock.now)
    strange = {"booth": "booth-0001", "kind": "disk.low", "name": "", "level": "?", "value": 1e300, "bound": -1e300}
    strange |= {"opened_at": clock.now, "changed_at": clock.now, "resolved_at": None}
    async with store.writing() as connection:
        await connection.execute(sa.insert(alerts).values(**strange))
    read = (await open_kinds(store))["booth-0001", "disk.low", ""]
    assert (read.level, read.value, read.bound) == ("warn", None, None)
    assert await watch.judge_beats() == 2
    assert await watch.judge_days() == 0
    assert set(await open_kinds(store)) == {("booth-0001", "certificate.ending", "")}


async def test_refusals_that_rise_are_told_by_rule_and_for_visits(store, watch, clock):
    def rows(day, rule, failed, unfinished):
        told = [("rule", rule, failed, 40), ("visits", "started", 40, 40), ("visits", "finished", 40 - unfinished, 40)]
        told.append(("visits", "handed_to_staff", 39, 40))  # released: they have a portrait
        return [
            dict(zip(("booth", "day", "kind", "name", "count", "total"), ("b1", day, *one), strict=True))
            for one in told
        ]

    today = clock.now.date()
    before = [row for back in range(4, 32) for row in rows(today - back * DAY, "light.even", 2, 3)]
    recent = [row for back in range(1, 4) for row in rows(today - back * DAY, "light.even", 10, 25)]
    async with store.writing() as connection:
        await connection.execute(sa.insert(fleet_days), before + recent)
    assert await watch.judge_days() == 2
    found = await open_kinds(store)
    assert (found["b1", "refusals.rising", "light.even"].value, found["b1", "refusals.rising", "light.even"].bound) == (
        25.0,
        5.0,
    )
    assert found["b1", "refusals.rising", "visits"].level == "grave"
    clock.now += 60 * DAY
    silent = Judged({Kind.SILENT}, [Standing(Kind.SILENT, "", Level.GRAVE)])
    await settle(store, {"b1": silent}, clock.now)
    assert await watch.judge_days() == 0
    await settle(store, {"b1": Judged({Kind.SILENT}, ())}, clock.now)
    assert await watch.judge_days() == 2
    assert not await read_open(store)
