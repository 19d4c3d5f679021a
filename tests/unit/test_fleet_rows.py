"""The rows about booths: the newest heartbeat counts, days told again change nothing, folded days replace what they cover."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from crypto.heartbeat import LampLight
from server.errors import ReplayedRequestError
from server.fleet_rows import (
    LAMP,
    PORTRAITS,
    RULE,
    SEEN,
    SPAN,
    VISITS,
    Told,
    forget_days,
    heartbeats,
    note_heartbeat,
    note_heartbeats,
    read_days,
    read_last_beat,
    read_last_beats,
    sum_days,
)
from server.store import Nonce, open_store
from tests.heartbeats import NOW, day, heartbeat

SATURDAY, SUNDAY = date(2026, 11, 21), date(2026, 11, 22)


@pytest.fixture
async def store(tmp_path):
    async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'intake.sqlite3'}") as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path) -> str:
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite+aiosqlite:///{tmp_path / 'either.sqlite3'}"


@pytest.fixture
async def either_store(url):
    """On both engines: for what is told to each in its own words."""
    async with open_store(url) as opened:
        yield opened


async def note(store, beat, at=NOW):
    note.count += 1
    return await note_heartbeat(store, beat, at, Nonce(beat.booth, f"nonce-{note.count}", at + timedelta(hours=1)))


note.count = 0


async def test_the_newest_heartbeat_is_kept_and_its_days_are_written_once(store):
    saturday = day(SATURDAY, since=SATURDAY)
    beat = heartbeat(days=(saturday,))
    await note(store, beat)
    first = await read_days(store, SATURDAY, SUNDAY)
    assert {(row.kind, row.name): (row.count, row.total) for row in first if row.kind in {RULE, PORTRAITS, SPAN}} == {
        (RULE, "pose.yaw"): (4, 36),
        (RULE, "light.even"): (1, 36),
        (PORTRAITS, "assessed"): (36, 36),
        (SPAN, "days"): (1, 1),
    }
    assert {(row.name, row.count, row.total) for row in first if row.kind == LAMP} >= {("key_left", 9900, 10000)}
    assert {row.name: row.count for row in first if row.kind == VISITS}["cancelled"] == 3
    later = heartbeat(
        sent_at=NOW + timedelta(minutes=5), days=(saturday,), lamps={"key_left": LampLight(response_pct=97.5)}
    )
    await note(store, later, NOW + timedelta(minutes=5))
    assert await read_days(store, SATURDAY, SUNDAY) == first
    (seen,) = [one for one in await read_days(store, NOW.date(), NOW.date(), kinds=[SEEN]) if one.name == "key_left"]
    assert seen.count == 9750
    # One that was on its way longer changes nothing.
    await note(store, heartbeat(days=()), NOW + timedelta(minutes=6))
    found = await read_last_beat(store, "booth-0001")
    assert found is not None
    kept = later.model_copy(update={"days": ()})
    assert (found.beat, found.received_at) == (kept, NOW + timedelta(minutes=5))
    assert await read_last_beat(store, "booth-0002") is None


async def test_a_folded_day_replaces_what_it_covers_and_others_stay(either_store):
    store = either_store
    await note(store, heartbeat(days=(day(SATURDAY, since=SATURDAY),)))
    await note(store, heartbeat(booth="booth-0002", days=(day(SATURDAY, since=SATURDAY),)))
    folded = day(SUNDAY, since=SATURDAY, portraits=50)
    await note(store, heartbeat(sent_at=NOW + timedelta(minutes=5), days=(folded,)))
    rows = await read_days(store, SATURDAY, SUNDAY, kinds=[PORTRAITS, SPAN], booth="booth-0001")
    assert [(row.day, row.kind, row.count) for row in rows] == [(SUNDAY, PORTRAITS, 50), (SUNDAY, SPAN, 2)]
    assert await read_days(store, SATURDAY, SATURDAY, booth="booth-0002", kinds=[PORTRAITS])
    (one, _) = await sum_days(store, SATURDAY, SUNDAY, PORTRAITS)
    assert one == {"booth": "booth-0001", "name": "assessed", "count": 50, "total": 50}
    (both,) = await sum_days(store, SATURDAY, SUNDAY, PORTRAITS, by=["site"])
    assert both == {"site": None, "count": 86, "total": 86}
    assert await forget_days(store, SUNDAY) > 0
    assert not await read_days(store, SATURDAY, SATURDAY)


async def test_a_signature_counts_once_and_a_stored_body_that_cannot_be_read_is_no_heartbeat(store):
    nonce = Nonce("booth-0001", "once", NOW + timedelta(hours=1))
    await note_heartbeat(store, heartbeat(), NOW, nonce)
    with pytest.raises(ReplayedRequestError):
        await note_heartbeat(store, heartbeat(sent_at=NOW + timedelta(minutes=5)), NOW, nonce)
    async with store.writing() as connection:
        await connection.execute(sa.update(heartbeats).values(body=b'{"version": 9}'))
    found = (await read_last_beats(store))["booth-0001"]
    assert (found.beat, found.received_at) == (None, NOW)


async def test_a_heartbeat_from_the_time_of_a_wrong_clock_does_not_hold_back_those_after_it(store):
    for days in (400, 0):  # NTP was wrong for booth and intake, and is right again
        at = NOW + timedelta(days=days)
        await note(store, heartbeat(sent_at=at), at)
    assert (await read_last_beat(store, "booth-0001")).received_at == NOW
    await note(store, heartbeat(sent_at=NOW - timedelta(seconds=5)), NOW + timedelta(seconds=1))  # an older one
    assert (await read_last_beat(store, "booth-0001")).received_at == NOW


async def test_many_that_come_together_are_kept_in_one_go_each_booths_newest(either_store):
    store = either_store

    def told(number, minute, nonce):
        at = NOW + timedelta(minutes=minute)
        booth = f"booth-{number:04d}"
        beat = heartbeat(booth=booth, sent_at=at, days=(day(SATURDAY, since=SATURDAY, portraits=40 + minute),))
        return Told(beat, at, Nonce(booth, nonce, at + timedelta(hours=1)))

    came = [told(1, 2, "a"), told(2, 0, "b"), told(1, 1, "c"), told(2, 0, "b")]
    assert await note_heartbeats(store, came) == [True, True, True, False]
    found = await read_last_beats(store)
    assert {booth: last.beat.sent_at - NOW for booth, last in found.items()} == {
        "booth-0001": timedelta(minutes=2),
        "booth-0002": timedelta(0),
    }
    rows = await read_days(store, SATURDAY, SATURDAY, kinds=[PORTRAITS])
    assert [(row.booth, row.count) for row in rows] == [("booth-0001", 42), ("booth-0002", 40)]
    # Intakes beside each other, about the same booths in any order.
    turns = [[told(number, minute, f"{minute}-{number}") for number in range(1, 5)] for minute in range(3, 7)]
    await asyncio.gather(*(note_heartbeats(store, turn[:: (-1) ** at]) for at, turn in enumerate(turns)))
    assert {last.beat.sent_at - NOW for last in (await read_last_beats(store)).values()} == {timedelta(minutes=6)}
