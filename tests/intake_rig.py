"""An intake over ASGI, without sockets, for the server's tests."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import httpx2

from crypto.http_signature import sign_request
from crypto.keys import SignerSource
from server.booth_trust import BoothTrust
from server.config import IntakeSettings
from server.enrolment import open_enrolment
from server.intake import IntakeRooms, make_intake
from server.metrics import Metrics
from server.objects import open_objects
from server.receipt_log import open_receipt_log
from server.store import open_store
from tests.sealed_packets import Keys, digest

BASE = "https://intake.test"


class Running:
    """An intake over ASGI with its rooms."""

    def __init__(self, rooms: IntakeRooms, keys: Keys) -> None:
        self.rooms, self.keys = rooms, keys
        self.app, self.intake = make_intake(rooms)
        transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
        self.client = httpx2.AsyncClient(transport=transport, base_url=BASE)

    async def put(self, body: bytes, *, path: str | None = None, headers: dict[str, str] | None = None, **signing):
        url = f"{BASE}/v1/packets/{path or digest(body)}"
        signed = self.keys.headers("PUT", url, body, **signing) if headers is None else headers
        return await self.client.put(url, content=body, headers=signed)

    async def get(self, path: str, method: str = "GET", **signing):
        url = f"{BASE}{path}"
        return await self.client.request(method, url, headers=self.keys.headers(method, url, **signing))

    async def upload(self, method: str, sha256: str, body: bytes, **fields: object):
        """A request of a resumable upload: `complete`, `offset`, `length`, and others as headers."""
        url, kinds = f"{BASE}/v1/packets/{sha256}", {"PUT": "vnd.passbooth.packet", "PATCH": "partial-upload"}
        sent = {"Content-Type": f"application/{kinds[method]}"}
        for name, value in fields.items():
            sent[f"Upload-{name.title()}"] = ("?1" if value else "?0") if isinstance(value, bool) else str(value)
        return await self.client.request(
            method, url, content=body, headers=sent | sign_request(method, url, sent, body, self.keys.signer)
        )

    def files(self) -> list[str]:
        root = self.rooms.settings.data_dir / "objects"
        return sorted(p.name for p in root.rglob("*") if p.is_file())


@contextlib.asynccontextmanager
async def running(keys: Keys, data, *, now=lambda: datetime.now(UTC), **settings):
    chosen, metrics = IntakeSettings.from_pki(keys.folder, data, **settings), Metrics()
    async with (
        open_store(chosen.resolved_database_url) as store,
        open_objects(chosen) as objects,
        open_receipt_log(store, SignerSource(chosen.receipt_signer).current, metrics=metrics) as receipts,
        open_enrolment(None) as enrolment,
    ):
        trust = BoothTrust(chosen.trust, chosen.crl)
        staff = SignerSource(chosen.staff_signer).current if chosen.staff_signer else None
        rooms = IntakeRooms(
            *(chosen, store, objects, trust, receipts, enrolment), now=now, staff_signer=staff, metrics=metrics
        )
        started = Running(rooms, keys)
        async with started.client:
            yield started


def problem(answer, status: int, code: str) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert (body["code"], body["status"]) == (code, status)
    assert body["type"].endswith(code)
    return body
