"""Orders from afar at the booth: what a desk signed for this booth is done between visits, once, and answered; nothing else is."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from unittest.mock import AsyncMock

import httpx2
import pytest

from booth.kiosk import Start
from booth.order_book import ASIDE, NAME, OrderBook
from booth.profile_choice import ProfileChoice
from booth.remote_orders import LOOK_S
from crypto.booth_order import OrderKind, Outcome, open_bundle, verify_booth_answer, verify_booth_order
from crypto.errors import BoothOrderError, EnrolmentError
from crypto.keys import TrustStore, load_recipient_key, open_signer
from crypto.trust import load_certificates
from tests.booth_orders import OFFICER, order_rig
from tests.enrolment_rig import FakeAuthority
from tests.fleet_stage import FleetStage, fleet_stage, handed
from tests.sealed_packets import Keys


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return Keys(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def staged(keys, tmp_path):
    async with fleet_stage(keys, tmp_path) as opened:
        yield opened


# --- each kind ---


async def test_self_tests_run_and_their_counts_are_answered(staged):
    answer = await staged.obey(OrderKind.RUN_TESTS)
    assert (answer.outcome, answer.code) == (Outcome.DONE, None)
    tests = staged.maintenance.state.tests
    assert tests.occasion == "order"
    assert sum(answer.counts.values()) == len(tests.findings) > 0
    (line,) = staged.orders.lines
    assert (line.kind, line.by, line.told, line.outcome) == (OrderKind.RUN_TESTS, OFFICER, True, Outcome.DONE)
    assert any(f"order {line.id[:8]} of {OFFICER}" in text for text in staged.events())


async def test_out_of_service_and_back_again(staged):
    off = await staged.obey(OrderKind.OUT_OF_SERVICE, arguments={"reason": "premises"})
    switch = staged.maintenance.state.switch
    assert (switch.reason, switch.order) == ("premises", off.order)
    assert staged.stage.booth.state.state == "out_of_service"
    assert (await staged.obey(OrderKind.OUT_OF_SERVICE)).code == "already"
    assert (await staged.obey(OrderKind.IN_SERVICE)).outcome is Outcome.DONE
    assert staged.maintenance.state.switch is None
    assert (await staged.obey(OrderKind.IN_SERVICE)).code == "already"


async def test_what_a_technician_switched_off_stays_off_and_he_switches_back_what_an_order_did(staged):
    staged.maintenance.switch_off("maintenance")
    answer = await staged.obey(OrderKind.IN_SERVICE)
    assert (answer.outcome, answer.code) == (Outcome.REFUSED, "switched_at_the_booth")
    assert staged.maintenance.state.switch.reason == "maintenance"
    staged.maintenance.switch_on()
    await staged.obey(OrderKind.OUT_OF_SERVICE)
    staged.maintenance.switch_on()
    assert staged.maintenance.state.switch is None


async def test_a_profile_of_this_booths_disk_counts_from_the_next_start_on(staged):
    choice = ProfileChoice(staged.rooms.config.booth.data_dir)
    assert (await staged.obey(OrderKind.CHANGE_PROFILE, arguments={"profile": "nowhere"})).code == "profile.unknown"
    assert choice.in_force("demo") == "demo"
    assert (await staged.obey(OrderKind.CHANGE_PROFILE, arguments={"profile": "icao"})).code == "next_start"
    assert choice.in_force("demo") == "icao"
    assert choice.in_force("other") == "other"  # booth.toml was edited since: it has the last word
    assert staged.restarts == [True]  # after the answer was told
    assert (await staged.fleet.view()).profile.by == OFFICER
    await staged.fleet.take_profile_back()
    assert choice.in_force("demo") == "demo"
    choice._path.write_text("{}")
    assert choice.in_force("demo") == "demo"


async def test_a_bundle_leaves_sealed_for_the_desk(staged, keys):
    answer = await staged.obey(OrderKind.SUPPORT_BUNDLE)
    sealed, key = staged.wire.bundles[answer.order], load_recipient_key(keys.folder / "desk.hpke")
    bundle = open_bundle(sealed, answer.order, staged.booth, [key], keys.trust)
    assert bundle.startswith(b"PK")
    assert answer.counts == {"bytes": len(bundle)}
    assert all(b"bundle.json" not in body for _, body in staged.wire.sent)
    assert list(staged.rooms.config.booth.data_dir.glob("*.bundle")) == []  # it was told


async def test_a_key_is_renewed_by_the_same_work_as_the_command(staged, keys, tmp_path, monkeypatch):
    for name in ("booth.key", "booth.pem"):
        shutil.copy2(keys.folder / name, tmp_path / name)
    before = load_certificates(tmp_path / "booth.pem")[0]
    authority = FakeAuthority(keys)

    def renew(_intake, signer, request):
        assert signer.certificate == before  # asked for with the present key
        return authority.renew(staged.booth, request, before.serial_number)

    monkeypatch.setattr("booth.rotation.request_next", renew)
    means = staged.orders._work._means
    own = means.config.keys.model_copy(update={"signer": f"file:{tmp_path / 'booth.key'}"})
    staged.orders._work._means = replace(means, config=means.config.model_copy(update={"keys": own}))
    answer = await staged.obey(OrderKind.ROTATE_KEY)
    assert (answer.outcome, answer.code) == (Outcome.DONE, None)
    after = load_certificates(tmp_path / "booth.pem")[0]
    assert after.public_key() != before.public_key()
    assert open_signer(f"file:{tmp_path / 'booth.key'}").certificate == after
    assert answer.counts["days"] > 1


async def test_what_fails_is_answered_with_its_code(staged, monkeypatch):
    for error, code in (
        (EnrolmentError("no"), "crypto.enrolment"),
        (OSError(28, "No space"), "disk"),
        (ZeroDivisionError(), "booth.unexpected"),
    ):

        def refused(*_, error=error):
            raise error

        monkeypatch.setattr("booth.order_work.rotate", refused)
        answer = await staged.obey(OrderKind.ROTATE_KEY)
        assert (answer.outcome, answer.code) == (Outcome.FAILED, code)


# --- between visits, and once ---


async def test_nothing_begins_while_somebody_is_here(staged, monkeypatch):
    monkeypatch.setattr("booth.remote_orders.PATIENCE_S", 0.01)
    staged.wire.waiting = [staged.order()]
    staged.stage.booth.post(Start())
    assert await staged.orders.turn() < 60
    assert staged.stage.booth.state.state == "language"
    assert staged.orders.lines == ()
    await staged.stage.until("attract")  # the visit's own time-outs
    await staged.orders.turn()
    assert staged.orders.lines[0].outcome is Outcome.DONE


async def test_nothing_begins_while_a_technician_works(staged):
    staged.maintenance.start_tests(["disk.free"])
    assert staged.orders._work.may_begin() is False
    await staged.maintenance.close()


async def test_the_start_that_brings_a_profile_cuts_no_technicians_work_off(staged, monkeypatch):
    begin = staged.orders._work.do

    async def done_while_he_begins(line):
        came = await begin(line)
        staged.maintenance._put(busy="calibration")
        return came

    monkeypatch.setattr(staged.orders._work, "do", done_while_he_begins)
    staged.wire.waiting = [staged.order(OrderKind.CHANGE_PROFILE, arguments={"profile": "icao"})]
    await staged.orders.turn()
    assert (staged.orders.lines[0].code, staged.restarts) == ("next_start", [])
    staged.maintenance._put(busy=None)
    staged.wire.waiting = []
    await staged.orders.turn()
    assert staged.restarts == [True]


async def test_an_order_is_done_once_though_it_comes_again_and_after_a_restart(staged):
    staged.wire.waiting = [staged.order()]
    for _ in range(3):
        await staged.orders.turn()
    assert len(staged.orders.lines) == len(staged.wire.answered) == 1
    again = OrderBook(staged.rooms.config.booth.data_dir, lambda: datetime.now(UTC), print)
    read = verify_booth_order(staged.wire.waiting[0], staged.keys.trust)
    assert again.is_known(read)
    assert again.is_old(read)


async def test_its_answer_is_told_until_the_intake_took_it(staged):
    staged.wire.waiting = [staged.order()]
    staged.wire.answers = [handed(staged.wire.waiting), httpx2.ConnectError("gone")]
    await staged.orders.turn()
    assert staged.orders.lines[0].told is False
    staged.wire.answers = [handed([]), httpx2.Response(503)]
    assert await staged.orders.turn() <= 60
    assert staged.orders.lines[0].told is False
    await staged.orders.turn()
    assert staged.orders.lines[0].told is True


async def test_what_a_kill_interrupted_is_answered_and_not_begun_again(staged):
    document = staged.order()
    staged.orders._book.take(staged.orders._verified(document), document)  # and then the power went
    staged.wire.waiting = [document]
    await staged.orders.turn()
    (line,) = staged.orders.lines
    assert (line.outcome, line.code, line.told) == (Outcome.FAILED, "interrupted", True)
    assert staged.maintenance.state.switch is None


async def test_a_kill_between_a_bundle_and_its_outcome_does_not_end_the_answers(staged):
    document = staged.order(OrderKind.SUPPORT_BUNDLE)
    line = staged.orders._book.take(staged.orders._verified(document), document)
    staged.orders._book.keep_bundle(line.id, b"sealed")  # and then the power went
    await staged.orders.turn()
    (line,) = staged.orders.lines
    assert (line.outcome, line.code, line.told) == (Outcome.FAILED, "interrupted", True)
    assert staged.wire.bundles == {}
    assert list(staged.rooms.config.booth.data_dir.glob("*.bundle")) == []


async def test_an_intake_that_lost_an_answer_hears_it_again_and_nothing_is_done_twice(staged):
    staged.wire.waiting = [staged.order()]
    await staged.orders.turn()
    staged.maintenance.switch_on()
    (first,) = staged.wire.answered.values()
    staged.wire.answered.clear()  # restored from a backup of before
    await staged.orders.turn()
    (again,) = staged.wire.answered.values()
    before, after = (verify_booth_answer(one, staged.keys.trust) for one in (first, again))
    assert (after.order_sha256, after.outcome) == (before.order_sha256, Outcome.DONE)
    assert staged.maintenance.state.switch is None
    assert (len(staged.orders.lines), staged.orders.lines[0].told) == (1, True)


async def test_an_answer_that_is_not_taken_keeps_no_other_one_back(staged):
    waiting = [staged.order(OrderKind.SUPPORT_BUNDLE), staged.order()]
    staged.wire.answers = [handed(waiting), httpx2.Response(413), httpx2.Response(413)]
    await staged.orders.turn()
    staged.wire.answers = [handed([]), httpx2.Response(200, json={}), httpx2.Response(413)]
    await staged.orders.turn()
    assert [(line.kind, line.told) for line in staged.orders.lines] == [
        (OrderKind.OUT_OF_SERVICE, True),
        (OrderKind.SUPPORT_BUNDLE, False),
    ]
    staged.wire.answers = [handed([]), httpx2.Response(413)]
    assert await staged.orders.turn() >= 60  # megabytes, not every half minute for ever


async def test_a_bundle_that_no_intake_takes_goes_with_its_order(staged, monkeypatch):
    monkeypatch.setattr("booth.order_book.KEPT", 2)
    book = staged.orders._book
    for kind in (OrderKind.SUPPORT_BUNDLE, OrderKind.IN_SERVICE, OrderKind.IN_SERVICE):
        document = staged.order(kind)
        line = book.take(staged.orders._verified(document), document)
        if kind is OrderKind.SUPPORT_BUNDLE:
            book.keep_bundle(line.id, b"sealed")
            first = line.id
        assert book.bundle_file(first).exists() == (len(book.lines) < 2 or book.lines[-1].id == first)
    assert list(staged.rooms.config.booth.data_dir.glob("*.bundle")) == []


# --- attacks ---


def forged(staged: FleetStage) -> dict[str, bytes]:
    """Documents that must do nothing."""
    good = staged.order()
    changed = bytearray(good)
    changed[good.index(b'"other"') + 1] ^= 1
    return {
        "another booth's": staged.order(booth="booth-other"),
        "changed": bytes(changed),
        "no order at all": b"\x30\x00",
        "of the future": staged.order(at=datetime.now(UTC) + timedelta(hours=1)),
        "a certificate": (staged.keys.folder / "desk.pem").read_bytes(),
        "of a lower number": staged.order(number=1),
    }


async def test_what_no_desk_ordered_of_this_booth_does_nothing_and_is_told(staged):
    await staged.obey(OrderKind.IN_SERVICE)
    for name, document in forged(staged).items():
        staged.wire.waiting = [document]
        await staged.orders.look()
        assert staged.maintenance.state.switch is None, name
        assert len(staged.orders.lines) == 1, name
        source, error = staged.told[-1]
        assert source == "remote orders"
        assert isinstance(error, BoothOrderError), name
    staged.wire.waiting = []
    await staged.orders.look()
    assert staged.told[-1] == ("remote orders", None)
    assert len(staged.wire.answered) == 1  # a stranger hears nothing


async def test_a_desk_that_is_not_trusted_any_more_gives_no_orders(staged):
    staged.orders._trust = lambda: TrustStore(())
    staged.wire.waiting = [staged.order()]
    await staged.orders.look()
    assert staged.orders.lines == ()


async def test_what_is_past_its_end_or_older_than_the_book_is_refused(staged):
    long_ago, short = datetime.now(UTC) - timedelta(minutes=30), timedelta(minutes=10)
    assert (await staged.obey(OrderKind.OUT_OF_SERVICE, at=long_ago, life=short)).code == "expired"
    assert (await staged.obey(OrderKind.OUT_OF_SERVICE, at=long_ago)).code == "predates"
    assert staged.maintenance.state.switch is None


async def test_an_answer_that_is_none_of_an_intake_changes_nothing(staged):
    for answer in (
        partial(httpx2.Response, 200, content=b"[" * 5000),
        partial(httpx2.Response, 200, json={"orders": "none"}),
        partial(httpx2.Response, 200, json={"orders": [1, None]}),
        partial(httpx2.Response, 200, json={"orders": ["?"]}),
        partial(httpx2.Response, 200, content=b"x" * 3_000_000),
        partial(httpx2.Response, 404),
        partial(httpx2.Response, 302, headers={"Location": "https://elsewhere.example/"}),
    ):
        staged.wire.answers = [answer()]
        await staged.orders.turn()
        assert staged.orders.lines == ()
    assert {kind for kind, _ in staged.wire.sent} == {"GET /v1/booth-orders"}


async def test_booths_that_start_at_once_do_not_all_ask_at_once(staged, monkeypatch):
    waits: list[float] = []

    def at_once(wait_s: float) -> asyncio.Timeout:
        waits.append(wait_s)
        if len(waits) > 4:
            raise asyncio.CancelledError
        return asyncio.timeout(0)

    chances = iter((0.0, 1.0, 0.5, 0.0, 0.0))
    staged.orders._chance = lambda: next(chances)
    monkeypatch.setattr("booth.remote_orders.asyncio", SimpleNamespace(**vars(asyncio) | {"timeout": at_once}))
    monkeypatch.setattr(staged.orders, "turn", AsyncMock(return_value=LOOK_S))
    with pytest.raises(asyncio.CancelledError):
        await staged.orders.run()
    assert waits == [45.0, 4500.0, 3600.0, 2700.0, 2700.0]


async def test_orders_that_are_switched_off_are_not_asked_for(keys, tmp_path):
    async with fleet_stage(keys, tmp_path, orders=False) as staged:
        staged.wire.waiting = [staged.order()]
        await staged.orders.run()
        assert staged.wire.sent == []
        assert (await staged.fleet.view()).orders_enabled is False


# --- with a real intake ---


async def test_a_desk_asks_a_heartbeat_tells_that_something_waits_and_the_answer_comes_back(keys, tmp_path):
    async with order_rig(keys, tmp_path / "data") as rig, fleet_stage(keys, tmp_path, rig.intake.app) as staged:
        assert rig.booth == staged.booth
        await staged.fleet.beat.beat()
        assert not staged.orders._wake.is_set()
        off = await rig.give(OrderKind.OUT_OF_SERVICE, reason="cleaning")
        bundle = await rig.give(OrderKind.SUPPORT_BUNDLE)
        await staged.fleet.beat.beat()
        assert staged.orders._wake.is_set()
        await staged.orders.turn()
        assert staged.maintenance.state.switch.reason == "cleaning"
        assert [(await rig.orders.find(one.id)).outcome for one in (off, bundle)] == ["done", "done"]
        key = load_recipient_key(keys.folder / "desk.hpke")
        assert open_bundle(await rig.orders.bundle(bundle.id), bundle.id, rig.booth, [key], keys.trust)
        await staged.fleet.beat.beat()
        told = staged.beats()[-1]
        assert (told.service.state, told.service.reason) == ("out_of_service", "cleaning")
        assert staged.fleet.beat.published.value.error is None


# --- the book ---


def test_a_damaged_book_is_set_aside_and_takes_nothing_that_is_older(tmp_path):
    notes: list[str] = []
    for _ in range(2):
        OrderBook(tmp_path, lambda: datetime.now(UTC), notes.append)
        (tmp_path / NAME).write_bytes(b"{")
    book = OrderBook(tmp_path, lambda: datetime.now(UTC), notes.append)
    assert len(notes) == 2
    assert (tmp_path / ASIDE).read_bytes() == b"{"
    assert json.loads((tmp_path / NAME).read_text())["last"] == 0
    assert book.lines == ()


def test_a_disk_that_takes_no_book_does_not_stop_the_booth(tmp_path):
    notes: list[str] = []
    book = OrderBook(tmp_path / "gone", lambda: datetime.now(UTC), notes.append)
    assert len(notes) == 1
    assert book.lines == ()
    with pytest.raises(OSError, match="No such file"):
        book._write(book._book)
