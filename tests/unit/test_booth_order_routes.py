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


async def test_an_order_goes_to_its_booth_and_its_answer_back(rig):
    given = await rig.give(OrderKind.OUT_OF_SERVICE, reason="cleaning")
    (document,) = await pulled(rig)
    read = verify_booth_order(document, rig.keys.trust)
    assert (read.id, read.booth, dict(read.arguments), read.by) == (
        *(given.id, rig.booth),
        {"reason": "cleaning"},
        OFFICER,
    )
    assert await rig.orders.count_waiting(rig.booth) == 1
    assert (await rig.answer(given)).json() == {"order": given.id, "outcome": "done"}
    assert await pulled(rig) == []
    assert await rig.orders.count_waiting(rig.booth) == 0


async def test_numbers_grow_and_are_never_below_the_time(rig):
    first = await rig.give()
    assert first.number >= int(rig.clock().timestamp()) - 1
    assert (await rig.answer(first)).status_code == 200
    rig.clock.ahead = timedelta(minutes=-30)  # the desk's clock goes back; the number does not
    assert (await rig.give()).number == first.number + 1


async def test_the_same_wish_twice_and_too_many_are_refused(rig):
    await rig.give()
    with pytest.raises(BoothOrderRefusedError):
        await rig.give()
    for kind in (OrderKind.SUPPORT_BUNDLE, OrderKind.IN_SERVICE, OrderKind.ROTATE_KEY)[: MOST_WAITING - 1]:
        await rig.give(kind)
    with pytest.raises(BoothOrderRefusedError, match="wait"):
        await rig.give(OrderKind.OUT_OF_SERVICE, reason="other")


async def test_two_desks_at_once_give_one_order_of_a_kind(rig):
    outcomes = await asyncio.gather(rig.give(), rig.give(), return_exceptions=True)
    assert sorted(type(one).__name__ for one in outcomes) == ["BoothOrderRefusedError", "StoredOrder"]
    assert len(await rig.orders.listed(rig.booth, 10)) == 1


async def test_no_order_without_a_key_to_an_unknown_booth_or_with_other_arguments(rig):
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


async def test_an_order_that_was_taken_back_or_is_past_its_end_is_not_told(rig):
    taken_back = await rig.give()
    await rig.orders.withdraw(taken_back.id)
    assert await pulled(rig) == []
    problem(await rig.answer(taken_back), 404, "booth_order.unknown")
    late = await rig.give()
    rig.clock.ahead = LIFE + timedelta(seconds=1)
    assert await rig.orders.waiting(rig.booth) == []
    rig.clock.ahead = timedelta()
    await rig.answer(late, rig.answer_to(late, Outcome.REFUSED, code="expired"))
    with pytest.raises(BoothOrderRefusedError):
        await rig.orders.withdraw(late.id)


async def test_only_the_booth_itself_sees_and_answers_its_orders(rig, keys, stranger):
    given = await rig.give()
    problem(await rig.ask("GET", "", signer=stranger), 401, "signature.invalid")
    problem(await rig.answer(given, signer=stranger), 401, "signature.invalid")
    async with rig.intake.rooms.store.writing() as connection:
        await note_booth(connection, "booth-other", rig.clock())
    other = await rig.orders.give("booth-other", OrderKind.RUN_TESTS, {}, OFFICER)
    assert len(await pulled(rig)) == 1
    problem(await rig.answer(other), 404, "booth_order.unknown")
    unsigned = await rig.intake.client.get("/v1/booth-orders")
    problem(unsigned, 401, "signature.missing")


async def test_an_answer_counts_once_and_only_for_its_own_order(rig):
    one, two = await rig.give(), await rig.give(OrderKind.IN_SERVICE)
    problem(await rig.answer(one, rig.answer_to(two)), 422, "booth_order.answer")
    problem(await rig.answer(one, b"{}"), 422, "booth_order.answer")
    forged = rig.answer_to(one, order_document=b"another order")
    problem(await rig.answer(one, forged), 422, "booth_order.answer")
    good = rig.answer_to(one, counts={"passed": 3})
    assert (await rig.answer(one, good)).status_code == 200
    assert (await rig.answer(one, good)).status_code == 200  # its first answer's answer was lost
    problem(await rig.answer(one, rig.answer_to(one, Outcome.FAILED, code="other")), 409, "booth_order.answered")


async def test_a_request_counts_once(rig):
    url = f"{BASE}/v1/booth-orders"
    signed = sign_request("GET", url, {}, b"", rig.keys.signer)
    assert (await rig.intake.client.get(url, headers=signed)).status_code == 200
    problem(await rig.intake.client.get(url, headers=signed), 401, "signature.replayed")


async def test_a_bundle_lies_sealed_and_only_the_desk_opens_it(rig, keys):
    given = await rig.give(OrderKind.SUPPORT_BUNDLE)
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
    assert await rig.orders.forget_old() == 1


async def test_a_bundle_that_nobody_asked_for_or_of_another_is_refused(rig):
    tests, wanted = await rig.give(), await rig.give(OrderKind.SUPPORT_BUNDLE)
    problem(await rig.put_bundle(tests, rig.sealed(tests)), 422, "booth_order.answer")
    problem(await rig.put_bundle(wanted, rig.sealed(tests)), 422, "booth_order.answer")
    problem(await rig.put_bundle(wanted, b"no bundle"), 422, "booth_order.answer")
    problem(await rig.put_bundle(wanted, bytes(MAX_SEALED_BUNDLE_BYTES + 1)), 413, "request.too_large")
    assert await rig.orders.bundled([tests.id, wanted.id]) == frozenset()
