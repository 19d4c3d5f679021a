"""Orders for booths at the intake: given once, pulled by their booth alone, answered once and for good; a bundle that nobody here can open."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta

import pytest

from crypto.booth_order import MAX_SEALED_BUNDLE_BYTES, OrderKind, Outcome, open_bundle, verify_booth_order
from crypto.http_signature import sign_request
from crypto.keys import load_recipient_key, open_signer
from server.booth_order_errors import BoothOrderRefusedError, BoothOrdersUnavailableError, BundleUnavailableError
from server.booth_orders import BUNDLE_DAYS, LIFE, MOST_WAITING, ORDER_DAYS, BoothOrders
from server.fleet_rows import note_booth
from tests.booth_orders import OFFICER, OrderRig, order_rig
from tests.intake_rig import BASE, problem
from tests.sealed_packets import Keys


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return Keys(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def rig(keys, tmp_path):
    async with order_rig(keys, tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def stranger(keys):
    return open_signer(f"file:{keys.folder / 'desk.key'}")


async def pulled(rig: OrderRig) -> list[bytes]:
    answer = await rig.ask("GET", "")
    assert answer.status_code == 200, answer.text
    return [base64.b64decode(one) for one in answer.json()["orders"]]


async def test_an_order_goes_to_its_booth_and_its_answer_back_once_and_for_good(rig, stranger):
    given = await rig.give(OrderKind.OUT_OF_SERVICE, reason="cleaning")
    assert given.number >= int(rig.clock().timestamp()) - 1
    (document,) = await pulled(rig)
    read = verify_booth_order(document, rig.keys.trust)
    told = (read.id, read.booth, dict(read.arguments), read.by)
    assert told == (given.id, rig.booth, {"reason": "cleaning"}, OFFICER)
    assert await rig.orders.count_waiting(rig.booth) == 1

    other = await rig.give(OrderKind.IN_SERVICE)
    problem(await rig.ask("GET", "", signer=stranger), 401, "signature.invalid")
    problem(await rig.answer(given, signer=stranger), 401, "signature.invalid")
    problem(await rig.answer(given, rig.answer_to(other)), 422, "booth_order.answer")
    problem(await rig.answer(given, b"{}"), 422, "booth_order.answer")
    problem(await rig.answer(given, rig.answer_to(given, order_document=b"another")), 422, "booth_order.answer")
    good = rig.answer_to(given, counts={"passed": 3})
    assert (await rig.answer(given, good)).json() == {"order": given.id, "outcome": "done"}
    assert (await rig.answer(given, good)).status_code == 200  # the first answer's answer was lost
    problem(await rig.answer(given, rig.answer_to(given, Outcome.FAILED, code="other")), 409, "booth_order.answered")
    with pytest.raises(BoothOrderRefusedError):
        await rig.orders.withdraw(given.id)

    assert len(await pulled(rig)) == 1
    await rig.orders.withdraw(other.id)
    assert await pulled(rig) == []
    problem(await rig.answer(other), 404, "booth_order.unknown")
    rig.clock.ahead = timedelta(minutes=-30)  # the desk's clock goes back; the number does not
    assert (await rig.give()).number == other.number + 1
    rig.clock.ahead = LIFE + timedelta(seconds=1)
    assert await rig.orders.waiting(rig.booth) == []


async def test_a_booth_sees_its_own_orders_alone_and_a_request_counts_once(rig):
    await rig.give()
    async with rig.intake.rooms.store.writing() as connection:
        await note_booth(connection, "booth-other", rig.clock())
    other = await rig.orders.give("booth-other", OrderKind.RUN_TESTS, {}, OFFICER)
    assert len(await pulled(rig)) == 1
    problem(await rig.answer(other), 404, "booth_order.unknown")
    problem(await rig.intake.client.get("/v1/booth-orders"), 401, "signature.missing")
    url = f"{BASE}/v1/booth-orders"
    signed = sign_request("GET", url, {}, b"", rig.keys.signer)
    assert (await rig.intake.client.get(url, headers=signed)).status_code == 200
    problem(await rig.intake.client.get(url, headers=signed), 401, "signature.replayed")


async def test_what_cannot_be_ordered_is_refused(rig):
    """Without a key; to a booth that nobody knows; with other arguments; the same wish twice, by two desks at once too; too many."""
    with pytest.raises(BoothOrdersUnavailableError):
        await BoothOrders(rig.intake.rooms.store, rig.clock).give(rig.booth, OrderKind.RUN_TESTS, {}, OFFICER)
    for booth, arguments in (
        ("booth-nowhere", {"reason": "other"}),
        (rig.booth, {"reason": "spying"}),
        (rig.booth, {}),
    ):
        with pytest.raises(BoothOrderRefusedError):
            await rig.orders.give(booth, OrderKind.OUT_OF_SERVICE, arguments, OFFICER)
    assert await rig.orders.listed(rig.booth, 10) == []
    outcomes = await asyncio.gather(rig.give(), rig.give(), return_exceptions=True)
    assert sorted(type(one).__name__ for one in outcomes) == ["BoothOrderRefusedError", "StoredOrder"]
    for kind in (OrderKind.SUPPORT_BUNDLE, OrderKind.IN_SERVICE, OrderKind.ROTATE_KEY)[: MOST_WAITING - 1]:
        await rig.give(kind)
    with pytest.raises(BoothOrderRefusedError, match="wait"):
        await rig.give(OrderKind.OUT_OF_SERVICE, reason="other")


async def test_a_bundle_lies_sealed_and_only_the_desk_opens_it(rig, keys):
    tests, given = await rig.give(), await rig.give(OrderKind.SUPPORT_BUNDLE)
    problem(await rig.put_bundle(tests, rig.sealed(tests)), 422, "booth_order.answer")
    problem(await rig.put_bundle(given, rig.sealed(tests)), 422, "booth_order.answer")
    problem(await rig.put_bundle(given, b"no bundle"), 422, "booth_order.answer")
    problem(await rig.put_bundle(given, bytes(MAX_SEALED_BUNDLE_BYTES + 1)), 413, "request.too_large")
    assert await rig.orders.bundled([tests.id, given.id]) == frozenset()
    sealed = rig.sealed(given)
    assert (await rig.put_bundle(given, sealed)).status_code == 204
    assert (await rig.put_bundle(given, sealed)).status_code == 204  # the answer was lost
    kept = await rig.orders.bundle(given.id)
    assert b"PK bundle" not in kept
    key = load_recipient_key(keys.folder / "desk.hpke")
    assert open_bundle(kept, given.id, rig.booth, [key], keys.trust) == b"PK bundle"
    assert (await rig.answer(given, rig.answer_to(given, bundle=sealed))).status_code == 200
    problem(await rig.put_bundle(given, sealed), 409, "booth_order.answered")
    rig.clock.ahead = timedelta(days=BUNDLE_DAYS, seconds=1)
    assert await rig.orders.forget_old() == 1
    with pytest.raises(BundleUnavailableError):
        await rig.orders.bundle(given.id)
    rig.clock.ahead = timedelta(days=ORDER_DAYS, seconds=1)
    assert await rig.orders.forget_old() == 2
