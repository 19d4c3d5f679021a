"""The heartbeat: what it says, when it goes, and that nothing of a person or of a visit ever leaves a booth beside its packets."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from datetime import UTC, datetime
from types import SimpleNamespace

import httpx2
import pytest

from booth.beat import FIRST_S, LEAST_S, LONGEST_S, MOST_S, PATIENCE_S
from booth.beat_content import Present, compose
from booth.day_counts import Counted
from booth.fleet import FleetRooms
from booth.kiosk import Accept, Retake, Staff, Start
from booth.maintenance import TestRun
from booth.outbox_quota import OutboxStatus
from booth.service_switch import OutOfService
from crypto.booth_order import OrderKind, open_bundle
from crypto.heartbeat import MOST_AGE_S, MOST_COUNT, MOST_DAYS, Profile, SelfTests
from crypto.keys import load_recipient_key
from hardware.link import DeviceState, DeviceStatus
from server.alerts import LIMITS, Kind
from tests.canaries import hits, text_needles
from tests.fleet_stage import FleetStage, fleet_stage
from tests.runner_rig import NUMBER, STAFF_CODE, STATUS_TOKEN, attempt, report
from tests.sealed_packets import Keys
from tests.unit.test_history import finding
from validation.report import Verdict

ORDERS = tuple(
    (kind, {"arguments": {"profile": "icao"}} if kind is OrderKind.CHANGE_PROFILE else {})
    for kind in OrderKind
    if kind is not OrderKind.ROTATE_KEY
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return Keys(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def staged(keys, tmp_path):
    async with fleet_stage(keys, tmp_path) as opened:
        yield opened


# --- what it says ---


async def test_a_sound_booth_says_so(staged):
    await staged.fleet.beat.beat()
    (told,) = staged.beats()
    assert (told.booth, told.profile.name, told.service.state, told.days) == (staged.booth, "demo", "in_service", ())
    assert [(one.device, one.state, one.remedy) for one in told.devices] == [("camera", "ready", None)]
    assert (told.certificate_days, told.clock_offset_s, told.tests.tested_at) == (200.0, 0.4, None)
    view = (await staged.fleet.view()).heartbeat
    assert view.body.encode() == staged.wire.bodies("POST /v1/heartbeats")[0]  # the technician sees the very bytes


async def test_a_visit_changes_nothing_of_what_is_told(staged):
    await staged.fleet.beat.beat()
    staged.stage.booth.post(Start())
    await staged.fleet.beat.beat()
    before, meanwhile = (one.model_dump(exclude={"sent_at", "devices"}) for one in staged.beats())
    before["outbox"].pop("oldest_age_s"), meanwhile["outbox"].pop("oldest_age_s")
    assert before == meanwhile


async def test_tests_lamps_and_the_switch_are_told_and_what_was_tested_before_the_start_too(staged):
    found = [
        finding(93.5),
        finding(None, "fail", "lamp.key_right"),
        finding(12.0, "warn", "disk.free"),
    ]
    staged.maintenance._history.add(datetime.now(UTC).timestamp(), "night", found)
    staged.maintenance.switch_off("cleaning")
    await staged.fleet.beat.beat()
    (told,) = staged.beats()
    assert (told.service.state, told.service.reason) == ("out_of_service", "cleaning")
    assert (told.tests.passed, told.tests.warned, told.tests.failed) == (1, 1, 1)
    assert [one.id for one in told.tests.poor] == ["lamp.key_right", "disk.free"]
    assert {lamp: light.response_pct for lamp, light in told.lamps.items()} == {"key_left": 93.5}


async def test_a_run_under_way_or_of_one_check_does_not_end_what_the_others_found(staged):
    found = (finding(60.0, "fail"), finding(12.0, "warn", "disk.free"))
    staged.maintenance._history.add(datetime.now(UTC).timestamp() - 3600, "night", found)
    before = await staged.fleet.facts()
    assert [one.id for one in before.tests.poor] == ["lamp.key_left", "disk.free"]
    run = TestRun(started_at="2026-11-23T11:00:00Z", total=40, findings=(finding(99.0, "pass", "camera.fps"),))
    staged.maintenance._put(busy="tests", tests=run)
    assert (await staged.fleet.facts()).tests == before.tests
    good = (finding(99.0, "pass", "disk.free"),)
    ended = run.model_copy(update={"finished_at": "2026-11-23T11:01:00Z", "findings": good})
    staged.maintenance._put(busy=None, tests=ended)
    after = await staged.fleet.facts()
    assert (after.tests.passed, [one.id for one in after.tests.poor]) == (1, ["lamp.key_left"])
    assert (after.lamps["key_left"].response_pct, str(after.tests.tested_at)) == (60.0, "2026-11-23 11:01:00+00:00")


def present(staged: FleetStage, **changes):
    rooms: FleetRooms = staged.rooms
    now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    usual = {
        "booth": staged.booth, "software": rooms.performer.place.software, "profile": ("demo", "1"), "now": now,
        "now_ns": 10**12, "started_at": now, "switch": None, "closed_since": now, "works": False, "obstructed": False, "faults": (),
        "devices": (), "outbox": rooms.outbox.status, "quota_bytes": 1, "certificate_days": None,
        "clock_offset_s": None, "tests": SelfTests(tested_at=None), "findings": (), "days": (),
    }  # fmt: skip
    return compose(Present(**usual | changes))


async def test_of_devices_names_states_kinds_of_ports_and_firmware_are_told_and_no_address(staged):
    devices = (
        DeviceStatus("camera", "http://10.1.2.3/annacanary", DeviceState.LOST, 0, "annacanary was here"),
        DeviceStatus("lights", "wled+serial:///dev/annacanary", DeviceState.READY, 0, "", {"firmware": "0.15.3"}),
        DeviceStatus("lift", "jiecang+serial:///dev/x", DeviceState.READY, 0, "", {"firmware": "annacanary\n" * 9}),
        DeviceStatus("annacanary", "x", DeviceState.READY, 0),
    )
    told = present(staged, devices=devices, faults=["camera.lost"], obstructed=True)
    assert [(one.device, one.state, one.remedy, one.port, one.firmware) for one in told.devices] == [
        ("camera", "lost", "camera.lost", "http", None),
        ("lights", "ready", None, "serial", "0.15.3"),
        ("lift", "ready", None, "serial", None),
    ]
    assert (told.service.reason, told.faults) == ("fault", ("camera.lost",))
    assert b"canary" not in told.to_bytes()


async def test_no_number_of_a_booth_is_so_odd_that_it_falls_silent(staged):
    odd = OutboxStatus(waiting=200_000, oldest_at=0.0)  # sealed by a clock that began in 1970
    switch = OutOfService(reason="other", since="this morning")
    told = present(staged, outbox=odd, switch=switch, certificate_days=2_900_000.0)  # without an end
    assert (told.outbox.waiting, told.outbox.oldest_age_s, told.certificate_days) == (MOST_COUNT, MOST_AGE_S, MOST_DAYS)
    assert told.service.reason == "other"
    assert present(staged, profile=("Lübeck (neu)", "2026-11 v2")).profile == Profile(
        name="L-beck--neu-", version="2026-11-v2"
    )


async def test_the_day_that_runs_is_not_told(staged):
    staged.fleet._count(
        Counted(visits={"started": 9, "finished": 9}, portraits=9, judged_visits=9, rules={"light.even": (1, 9)})
    )
    await staged.fleet.beat.beat()
    assert staged.beats()[0].days == ()


# --- nothing personal ---


async def test_nothing_of_a_person_or_a_visit_leaves_the_booth_beside_its_packets(staged, keys, tmp_path):
    """A visit with a number, a staff code, pictures and a release; then everything that the booth tells: heartbeats, answers, bundle."""
    stage = staged.stage
    stage.rooms.checker.results = [attempt(Verdict.FAIL) for _ in range(6)]
    for name in (NUMBER, STAFF_CODE):  # where a defect could have put them
        stage.booth._health.note("info", f"a number was not taken: {name}")
    await stage.review()
    visit = stage.booth.state.visit
    while stage.booth.state.state == "review":
        stage.booth.post(Retake())
        stage.live(report(), frames=200)
        await stage.until("review", "assistance")
    stage.booth.post(Staff(code=STAFF_CODE, reason_class="medical", action="override"))
    await stage.until("review")
    stage.booth.post(Accept())
    await stage.until("thanks")
    assert stage.rooms.outbox.stored  # the packet went its own way
    reference = stage.booth.state.reference
    await stage.until("attract")
    await staged.fleet.beat.beat()
    answers = [await staged.obey(kind, **more) for kind, more in ORDERS]
    await staged.fleet.beat.beat()

    taken = tmp_path / "taken"
    taken.mkdir()
    for number, (_, sent) in enumerate(staged.wire.sent):
        (taken / f"{number}.request").write_bytes(sent)
    bundle_order = next(one.order for one in answers if one.order in staged.wire.bundles)
    key = load_recipient_key(keys.folder / "desk.hpke")
    opened = open_bundle(staged.wire.bundles[bundle_order], bundle_order, staged.booth, [key], keys.trust)
    with zipfile.ZipFile(io.BytesIO(opened)) as bundle:
        for name in bundle.namelist():
            (taken / name).write_bytes(bundle.read(name))
    log_of_visit = {event.text for event in stage.booth._health.events if event.of_visit}
    assert len(log_of_visit) > 1
    assert not any(text in (taken / "events.txt").read_text() for text in log_of_visit)
    for number, answer in enumerate(answers):
        (taken / f"{number}.answer").write_bytes(answer.to_bytes())

    secrets = {"number": NUMBER, "staff code": STAFF_CODE, "digits": STAFF_CODE.replace(" ", ""), "token": STATUS_TOKEN}
    secrets |= {"visit": visit, "reference": reference, "consent": "consented", "portrait": "jpeg bytes"}
    needles = [needle for name, text in secrets.items() for needle in text_needles(name, text) if len(needle.data) >= 8]
    assert len(staged.wire.sent) > 10
    assert hits(needles, taken) == []
    (taken / "proof").write_text(f"…{NUMBER}…")  # the search finds what is there
    assert hits(needles, taken)
    kept = (staged.rooms.config.booth.data_dir / "days.json").read_text()
    assert json.loads(kept)["open"]["visits"] == {
        "started": 1, "finished": 1, "handed_to_staff": 1, "overridden": 1,
    }  # fmt: skip
    assert NUMBER not in kept


# --- when it goes ---


class _EnoughError(Exception):
    pass


def answered(**fields) -> httpx2.Response:
    return httpx2.Response(200, json={"actions": 0, "next_s": 300} | fields)


async def test_the_interval_is_the_intakes_wish_within_bounds_and_a_tenth_more_or_less(staged):
    beat = staged.fleet.beat
    for wish, least, most in (
        (300, 270, 330),
        (10, LEAST_S * 0.9, LEAST_S * 1.1),
        (86_400, MOST_S * 0.9, MOST_S * 1.1),
    ):
        staged.wire.answers = [answered(next_s=wish)]
        assert least <= await beat.beat() <= most


async def test_failures_are_tried_again_ever_later_told_and_forgotten_with_the_first_success(staged):
    beat = staged.fleet.beat
    staged.wire.answers = [httpx2.ConnectError("gone"), httpx2.Response(503), *[httpx2.Response(404) for _ in range(9)]]
    waits = [await beat.beat() for _ in range(11)]
    assert 150 <= waits[0] <= 300
    assert all(wait <= LONGEST_S for wait in waits)
    assert waits[-1] >= LONGEST_S / 2
    assert beat.published.value.error is not None
    assert 270 <= await beat.beat() <= 330
    assert beat.published.value.error is None
    for answer in (
        answered(next_s="soon"),
        httpx2.Response(200, content=b"{"),
        httpx2.Response(200, content=b" " * 10**6),
    ):
        staged.wire.answers = [answer]
        assert await beat.beat() >= 150


def test_an_intake_that_was_away_hears_every_booth_before_it_calls_one_silent():
    assert LIMITS[Kind.SILENT].warn * 60 > LONGEST_S + PATIENCE_S


async def test_it_waits_for_an_empty_booth_and_never_goes_while_the_booth_judges(staged, monkeypatch):
    monkeypatch.setattr("booth.beat.PATIENCE_S", 0.01)
    presence = staged.fleet.beat._presence
    assert await presence.until_idle(1)
    staged.stage.rooms.checker.go.clear()
    await staged.stage.framing()
    assert not await presence.until_idle(0.01)
    await presence.until_waiting()  # framing waits for the sitter
    staged.stage.live(report(), frames=200)
    await staged.stage.until("capturing", "checking")
    assert not presence.is_waiting()
    staged.stage.rooms.checker.go.set()
    await staged.stage.until("review", "assistance")
    await presence.until_waiting()


async def test_the_first_goes_soon_and_booths_do_not_go_at_once(staged, monkeypatch):
    slept: list[float] = []

    async def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 2:
            raise _EnoughError

    asleep = SimpleNamespace(sleep=sleep, timeout=asyncio.timeout, get_running_loop=asyncio.get_running_loop)
    monkeypatch.setattr("booth.beat.asyncio", asleep)  # of this room alone: others sleep too
    staged.fleet.beat._chance = lambda: 0.5
    with pytest.raises(_EnoughError):
        await staged.fleet.beat.run()
    assert slept == [FIRST_S / 2, pytest.approx(300.0)]


async def test_a_heartbeat_that_is_switched_off_is_not_sent(keys, tmp_path):
    async with fleet_stage(keys, tmp_path, heartbeat=False) as staged:
        await staged.fleet.beat.run()
        assert staged.wire.sent == []
        assert (await staged.fleet.view()).heartbeat.enabled is False
        staged.stage.booth.post(Start())  # counting goes on: a technician may switch it on again
        await staged.stage.until("attract")
