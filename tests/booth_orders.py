"""Orders for booths, from both sides of an intake over ASGI: a desk that gives them and the requests of a booth."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

from crypto.booth_order import ANSWER_TYPE, BUNDLE_TYPE, OrderKind, Outcome, seal_bundle, sign_booth_answer
from crypto.http_signature import sign_request
from crypto.keys import common_name, open_signer
from server.booth_orders import BoothOrders, StoredOrder
from server.fleet_rows import note_booth
from tests.intake_rig import BASE, Running, running
from tests.sealed_packets import Keys

OFFICER = "u-3f9a11c2"


class Clock:
    """The clock of desk and intake, ahead of the real one by a span."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class OrderRig:
    """The desk's side and the booth's."""

    def __init__(self, intake: Running, keys: Keys, clock: Clock) -> None:
        self.intake, self.keys, self.clock = intake, keys, clock
        desk = open_signer(f"file:{keys.folder / 'desk.key'}")
        self.orders = BoothOrders(intake.rooms.store, clock, lambda: desk)
        self.booth = common_name(keys.signer.certificate)

    async def give(self, kind: OrderKind = OrderKind.RUN_TESTS, **arguments: str) -> StoredOrder:
        return await self.orders.give(self.booth, kind, arguments, OFFICER)

    async def ask(self, method: str, path: str, body: bytes = b"", kind: str = "", *, signer=None):
        url = f"{BASE}/v1/booth-orders{path}"
        told = {"Content-Type": kind} if kind else {}
        signed = told | sign_request(method, url, told, body, signer or self.keys.signer)
        return await self.intake.client.request(method, url, content=body, headers=signed)

    def answer_to(self, order: StoredOrder, outcome: Outcome = Outcome.DONE, **changes) -> bytes:
        told = {"order": order.id, "order_document": order.document, "outcome": outcome, "counts": {}, "bundle": None}
        told |= {"code": None, "at": datetime.now(UTC), "signer": self.keys.signer}
        return sign_booth_answer(**told | changes)

    async def answer(self, order: StoredOrder, data: bytes | None = None, *, signer=None):
        return await self.ask("POST", f"/{order.id}/answer", data or self.answer_to(order), ANSWER_TYPE, signer=signer)

    def sealed(self, order: StoredOrder, bundle: bytes = b"PK bundle", **changes) -> bytes:
        told = {"order": order.id, "bundle": bundle, "recipients": [self.keys.recipient]}
        return seal_bundle(**told | {"signer": self.keys.signer, "at": datetime.now(UTC)} | changes)

    async def put_bundle(self, order: StoredOrder, sealed: bytes):
        return await self.ask("PUT", f"/{order.id}/bundle", sealed, BUNDLE_TYPE)


@contextlib.asynccontextmanager
async def order_rig(keys: Keys, data, **settings):
    """The rig, whose booth is known to the fleet."""
    clock = Clock()
    async with running(keys, data, now=clock, **settings) as intake:
        rig = OrderRig(intake, keys, clock)
        async with intake.rooms.store.writing() as connection:
            await note_booth(connection, rig.booth, clock())
        yield rig
