"""A desk's hand-over, the intake that serves its orders, and a producer who asks for them, over ASGI and on one store."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from crypto.cms import verify_content
from crypto.handover import ANSWER_TYPE, HandedOver, open_message, sign_answer
from crypto.http_signature import sign_request
from crypto.keys import SignerSource, load_recipient_key, open_signer
from crypto.trust import CONTENT_PACKAGE, Purpose
from server.booth_trust import BoothTrust
from server.decisions import HandOver, HandOverRooms
from server.handover_rows import Order
from server.opening import open_opener
from server.store import StoredPacket
from tests.intake_rig import BASE, Running, running
from tests.sealed_packets import Keys, digest

PRODUCER = "producer-development"
OFFICER = "session-0001"


class Clock:
    """The clock of desk and intake, ahead of the real one by a span."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Counter:
    """The desk's side and the producer's."""

    intake: Running
    hand_over: HandOver
    keys: Keys
    clock: Clock

    @property
    def orders(self):
        return self.hand_over.orders

    async def receive(self, packet: bytes | None = None) -> StoredPacket:
        """A packet that came."""
        body = packet or self.keys.packet()
        assert (await self.intake.put(body)).status_code == 201
        stored = await self.intake.rooms.store.find(digest(body))
        assert stored is not None
        return stored

    async def accept(self, stored: StoredPacket | None = None) -> Order:
        """A packet that was accepted: its order."""
        stored = stored or await self.receive()
        await self.hand_over.accept(stored, PRODUCER, OFFICER)
        return (await self.orders.of_packet(stored.sha256))[0]

    def signer(self, name: str = "producer"):
        return open_signer(f"file:{self.keys.folder / f'{name}.key'}")

    async def ask(self, path: str, method: str = "GET", body: bytes = b"", *, signer=None, headers=None):
        """A request of the producer."""
        url = f"{BASE}{path}"
        kind = {"Content-Type": ANSWER_TYPE} if body else {}
        signed = kind | sign_request(method, url, kind, body, signer or self.signer()) | (headers or {})
        return await self.intake.client.request(method, url, content=body, headers=signed)

    def answer_to(self, order: Order, code: str | None = None, **changes) -> bytes:
        told = {"order": order.id, "message_sha256": order.message_sha256, "code": code, "at": datetime.now(UTC)}
        return sign_answer(**(told | {"signer": self.signer()} | changes))

    async def answer(self, order: Order, code: str | None = None, **changes):
        return await self.ask(f"/v1/orders/{order.id}/answer", "POST", self.answer_to(order, code, **changes))

    def open(self, message: bytes) -> HandedOver:
        key = load_recipient_key(self.keys.folder / "producer.hpke")
        return open_message(message, [key], self.keys.trust, self.keys.trust)

    def messages(self) -> set[str]:
        """The messages that are durable."""
        root = self.intake.rooms.settings.data_dir / "objects" / "orders"
        return {path.name for path in root.rglob("*") if path.is_file()}


@contextlib.asynccontextmanager
async def opened_counter(keys: Keys, data, *, producers=None, **settings):
    """The counter; further desks on the same store come from `another_desk`."""
    clock, folder = Clock(), producers or keys.folder / "producers"
    async with (
        running(keys, data, now=clock, producers=folder, **settings) as intake,
        another_desk(intake, keys, clock, folder) as hand_over,
    ):
        yield Counter(intake, hand_over, keys, clock)


@contextlib.asynccontextmanager
async def another_desk(intake: Running, keys: Keys, clock: Clock, producers, *, messages=None, signer="desk"):
    rooms, pki = intake.rooms, keys.folder
    async with open_opener(
        rooms.objects.packets,
        [load_recipient_key(pki / "desk.hpke")],
        BoothTrust(pki / "ca.pem", pki / "ca.crl"),
        kept=4,
        kept_s=60,
    ) as opener:
        source = SignerSource(f"file:{pki / f'{signer}.key'}").current
        chosen = messages or rooms.objects.orders
        yield HandOver(HandOverRooms(rooms.store, chosen, opener, producers, source, timedelta(hours=72), clock))


def signed_package(cms: bytes, keys: Keys) -> bytes:
    """What a booth signed."""
    return verify_content(cms, CONTENT_PACKAGE, 20_000_000, keys.trust, Purpose.BOOTH).content


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
