"""A desk over ASGI with a clock of its own, for tests: it receives packets as the intake stores them, and signs in as a browser does."""

from __future__ import annotations

import contextlib
import json
import re
from datetime import UTC, datetime, timedelta

import httpx2

from crypto.keys import SignerSource, load_recipient_key
from crypto.seal import read_header
from server.auth import Doorkeeper
from server.booth_trust import BoothTrust
from server.config import DeskSettings
from server.desk import DeskRooms, make_desk
from server.objects import open_objects
from server.opening import open_opener
from server.receipt_log import open_receipt_log
from server.store import NewPacket, Nonce, open_store
from tests.sealed_packets import APPLICANT, Keys, digest, report, visit

BASE = "https://desk.test"
CODE = "ABCDE-23456"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    def __init__(self, rooms: DeskRooms, objects, receipts, client: httpx2.AsyncClient, clock: Clock) -> None:
        self.rooms, self.objects, self.receipts, self.client, self.clock = rooms, objects, receipts, client, clock
        self.received = 0
        self.trust_clock = Clock()

    async def receive(self, packet: bytes, *, keep: bool = True) -> str:
        """What the intake does."""
        sha256 = digest(packet)
        header = read_header(packet)
        if keep:
            async with self.objects.packets.writer() as writer:
                await writer.write(packet)
                await writer.keep(sha256)
        new = NewPacket(
            sha256,
            header.packet_id,
            header.booth,
            " ".join(header.recipient_key_ids),
            len(packet),
            header.created_at,
            NOW - timedelta(minutes=2),
        )
        nonce = Nonce("booth-0001", sha256, NOW)
        await self.receipts.append(new, nonce)
        return sha256

    async def sign_in(self, code: str = CODE, **more: str) -> httpx2.Response:
        page = await self.client.get("/login")
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert token is not None
        return await self.client.post("/login", data={"code": code, "csrf_token": token[1], **more})


@contextlib.asynccontextmanager
async def opened_desk(keys: Keys, data, messages, **settings):
    chosen = DeskSettings.from_pki(keys.folder, data, **settings)
    clock, trust_clock = Clock(), Clock()
    async with (
        open_store(chosen.resolved_database_url) as store,
        open_objects(chosen) as objects,
        open_receipt_log(store, SignerSource(f"file:{keys.folder / 'intake.key'}").current) as receipts,
        open_opener(
            objects.packets,
            [load_recipient_key(path) for path in chosen.recipient_keys],
            BoothTrust(chosen.trust, chosen.crl, monotonic=trust_clock),
            kept=4,
            kept_s=60,
        ) as opener,
    ):
        door = Doorkeeper(CODE, idle_s=900, session_s=36000, tries=3, lockout_s=60, clock=clock)
        rooms = DeskRooms(chosen, store, opener, door, messages, now=lambda: NOW)
        transport = httpx2.ASGITransport(make_desk(rooms), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            desk = Desk(rooms, objects, receipts, client, clock)
            desk.trust_clock = trust_clock
            yield desk


def parts(*findings, portrait: bytes = b"", told: dict | None = None, **more) -> dict[str, bytes]:
    return {
        "portrait.jpg": portrait or APPLICANT.read_bytes(),
        "report.json": json.dumps(report(*findings, **more)).encode(),
        "visit.json": json.dumps(told or visit()).encode(),
    }
