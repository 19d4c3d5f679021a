"""A desk over ASGI with a clock of its own, for tests: it receives packets as the intake stores them, and signs in as a browser does."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx2

from crypto.desk_secret import DeskSecret, load_desk_secret
from crypto.keys import SignerSource, load_recipient_key
from crypto.seal import read_header
from server.audit import AuditLog
from server.auth import Doorkeeper
from server.booth_orders import BoothOrders
from server.booth_trust import BoothTrust
from server.config import DeskSettings
from server.desk import DeskRooms, make_desk
from server.desk_booth_orders import BoothOrderRooms
from server.desk_password import PasswordHashes
from server.local_users import LocalUsers
from server.objects import open_objects
from server.opening import open_opener
from server.receipt_log import open_receipt_log
from server.rechecker import open_rechecker
from server.roles import Role
from server.store import NewPacket, Nonce, Store, open_store
from server.users import NewSecrets, Users
from tests.desk_users import QUICK
from tests.made_stores import put_database
from tests.sealed_packets import APPLICANT, Keys, digest, report, visit

BASE = "https://desk.test"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    def __init__(self, rooms: DeskRooms, objects, receipts, client: httpx2.AsyncClient, clock: Clock) -> None:
        self.rooms, self.objects, self.receipts, self.client, self.clock = rooms, objects, receipts, client, clock
        self.received = 0
        self.known: dict[frozenset[Role], NewSecrets] = {}
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

    async def user(self, *roles: Role) -> NewSecrets:
        """A user of this desk's tests with these roles, all unless told, made when first asked for."""
        wanted = frozenset(roles or Role)
        if wanted not in self.known:
            name = f"Test {secrets.token_hex(4)}"
            self.known[wanted] = await self.rooms.users.add(name, [role.value for role in wanted], temporary=False)
        return self.known[wanted]

    async def sign_in(self, password: str = "", **more: str) -> httpx2.Response:
        """As a browser does: the user with all roles and the right password, unless told otherwise."""
        made = await self.user()
        page = await self.client.get("/login")
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert token is not None
        form = {"name": made.user.name, "password": password or made.password, "csrf_token": token[1], **more}
        return await self.client.post("/login", data=form)

    async def sign_in_as(self, *roles: Role) -> httpx2.Response:
        """A new session of a user with these roles alone, in a browser that knows nothing."""
        made = await self.user(*roles)
        self.client.cookies.clear()
        return await self.sign_in(made.password, name=made.user.name)


def users_and_door(
    store: Store, secret: DeskSecret, clock: Callable[[], float], *, totp_required: bool = False
) -> tuple[Users, Doorkeeper]:
    """Users whose passwords are hashed quickly, and the door that they sign in at."""
    users = Users(store, secret, PasswordHashes(secret, QUICK), lambda: NOW)
    identities = LocalUsers(users, totp_required=totp_required)
    device = secret.mac("device", b"")
    limits = {"idle_s": 900, "session_s": 36000, "tries": 3, "lockout_s": 60}
    return users, Doorkeeper(identities, **limits, device_key=device, clock=clock)


@contextlib.asynccontextmanager
async def opened_desk(keys: Keys, data, messages, **settings):
    chosen = DeskSettings.from_pki(keys.folder, data, **{"totp": "optional", **settings})
    clock, trust_clock = Clock(), Clock()
    private = [load_recipient_key(path) for path in chosen.recipient_keys]
    trust = BoothTrust(chosen.trust, chosen.crl, monotonic=trust_clock)
    if chosen.database_url is None:
        put_database(chosen.data_dir)
    async with (
        open_store(chosen.resolved_database_url) as store,
        open_objects(chosen) as objects,
        open_receipt_log(store, SignerSource(f"file:{keys.folder / 'intake.key'}").current) as receipts,
        open_opener(objects.packets, private, trust, kept=4, kept_s=60) as opener,
        open_rechecker(spare_s=0) as rechecker,
    ):
        secret = load_desk_secret(chosen.secret)
        users, door = users_and_door(store, secret, clock, totp_required=chosen.totp == "required")
        audit = AuditLog(store, secret, chosen.data_dir, signer=None, now=lambda: NOW)
        signer = SignerSource(f"file:{keys.folder / 'desk.key'}").current
        orders = BoothOrders(store, lambda: datetime.now(UTC), signer)
        rooms = DeskRooms(
            chosen,
            store,
            opener,
            door,
            messages,
            audit,
            now=lambda: NOW,
            users=users,
            rechecker=rechecker,
            secret=secret,
            booth_orders=BoothOrderRooms(orders, private, trust, lambda: datetime.now(UTC)),
        )
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
