"""Remote orders at the desk: given and taken back by a form alone, shown as they were signed, and a bundle that the desk alone opens."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from crypto.booth_order import OrderKind, Outcome, seal_bundle, sign_booth_answer, verify_booth_answer
from crypto.keys import common_name
from server.booth_orders import booth_orders
from server.fleet_rows import note_booth
from server.messages import load_messages
from server.roles import Role
from tests.desk_rig import Desk, opened_desk
from tests.sealed_packets import Keys


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def desk(keys, tmp_path):
    async with opened_desk(keys, tmp_path / "data", load_messages()) as opened:
        async with opened.rooms.store.writing() as connection:
            await note_booth(connection, "booth-0001", datetime.now(UTC))
        await opened.sign_in()
        yield opened


PAGE = "/fleet/booths/booth-0001"


async def post(desk: Desk, path: str, **fields: str):
    page = await desk.client.get(PAGE)
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token is not None, page.text
    return await desk.client.post(f"{PAGE}{path}", data={"csrf_token": token[1], **fields})


async def answer(desk: Desk, keys: Keys, **changes) -> None:
    """The booth's word on the newest order, past the intake."""
    orders = desk.rooms.booth_orders.orders
    (newest, *_) = await orders.listed("booth-0001", 1)
    told = {"order": newest.id, "order_document": newest.document, "outcome": Outcome.DONE, "code": None, "counts": {}}
    told |= {"bundle": None, "at": datetime.now(UTC), "signer": keys.signer}
    data = sign_booth_answer(**told | changes)
    await orders.answer(newest, verify_booth_answer(data, keys.trust), data)


async def test_an_order_is_given_shown_answered_and_read_as_the_booth_signed_it(desk, keys):
    assert common_name(keys.signer.certificate) == "booth-0001"
    given = await post(desk, "/orders/out_of_service", reason="premises")
    assert (given.status_code, given.headers["location"]) == (303, PAGE)
    page = (await desk.client.get(PAGE)).text
    assert "Waiting" in page
    assert "Take back" in page
    await answer(desk, keys, code="already")
    page = (await desk.client.get(PAGE)).text
    assert "It was so already." in page
    assert "Take back" not in page
    await post(desk, "/orders/run_tests")
    await answer(desk, keys, counts={"pass": 20, "warn": 1, "fail": 0, "not_assessed": 3})
    assert "20 in order, 1 to watch, 0 failed, 3 not assessed" in (await desk.client.get(PAGE)).text


async def test_what_cannot_be_ordered_is_told_a_get_does_nothing_and_what_is_not_genuine_is_told(desk):
    for path, fields in (
        ("/orders/capture", {}),
        ("/orders/out_of_service", {"reason": "x"}),
        ("/orders/change_profile", {}),
    ):
        refused = await post(desk, path, **fields)
        assert refused.status_code == 409
        assert "The order cannot be given" in refused.text
    await desk.client.get(f"{PAGE}/orders/run_tests")
    assert await desk.rooms.booth_orders.orders.listed("booth-0001", 5) == []
    assert (await desk.client.get(f"{PAGE}/orders/run_tests?lang=ar")).headers["location"] == f"{PAGE}?lang=ar"
    await post(desk, "/orders/in_service")
    (waiting,) = await desk.rooms.booth_orders.orders.listed("booth-0001", 5)
    assert (await post(desk, f"/withdraw-order/{'0' * 32}")).status_code == 404
    assert (await post(desk, f"/withdraw-order/{waiting.id}")).status_code == 303
    assert "Taken back" in (await desk.client.get(PAGE)).text
    await post(desk, "/orders/rotate_key")  # and rows that somebody changed are told
    (rotating, _) = await desk.rooms.booth_orders.orders.listed("booth-0001", 5)
    assert "Not genuine" not in (await desk.client.get(PAGE)).text
    async with desk.rooms.store.writing() as connection:  # a genuine one, of another order
        await connection.execute(
            sa.update(booth_orders).where(booth_orders.c.id == rotating.id).values(document=waiting.document)
        )
    assert (await desk.client.get(PAGE)).text.count("Not genuine") == 1
    async with desk.rooms.store.writing() as connection:
        await connection.execute(sa.update(booth_orders).values(document=b"\x30\x00"))
    assert "Not genuine" in (await desk.client.get(PAGE)).text


async def test_a_bundle_is_opened_for_who_may_act_and_every_fetch_is_noted(desk, keys):
    await post(desk, "/orders/support_bundle")
    orders = desk.rooms.booth_orders.orders
    (order,) = await orders.listed("booth-0001", 1)
    assert order.kind == OrderKind.SUPPORT_BUNDLE
    address = f"{PAGE}/bundles/{order.id}"
    assert (await desk.client.get(address)).status_code == 404
    other = seal_bundle("0123456789ab4abc8123456789abcdef", b"PK", [keys.recipient], keys.signer, datetime.now(UTC))
    await orders.keep_bundle(order, other)  # of another order
    assert (await desk.client.get(address)).status_code == 404
    assert (await desk.client.get(f"/fleet/booths/booth-0002/bundles/{order.id}")).status_code == 404
    await orders.keep_bundle(order, seal_bundle(order.id, b"PK zip", [keys.recipient], keys.signer, datetime.now(UTC)))
    fetched = await desk.client.get(address)
    assert (fetched.content, fetched.headers["content-type"]) == (b"PK zip", "application/zip")
    assert "attachment" in fetched.headers["content-disposition"]
    await desk.sign_in_as(Role.SUPERVISOR)
    assert (await desk.client.get(address)).status_code == 403
    page = (await desk.client.get(PAGE)).text
    assert address not in page  # who only looks sees that it was ordered
    assert "Fetch support bundle" in page
    async with desk.rooms.store.reading() as connection:
        rows = await connection.execute(sa.text("SELECT action FROM audit_log ORDER BY number"))
        actions = [one for (one,) in rows]
    assert actions.count("fleet.bundle") == 4  # those that found nothing too
    assert "fleet.order" in actions
    assert "denied" in actions
