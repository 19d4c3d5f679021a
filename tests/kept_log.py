"""A finished receipt log in a folder, as an intake leaves it, to be harmed by tests; and what was kept outside."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from crypto.keys import Signer, SignerSource, load_trust
from crypto.seal import read_header
from crypto.tree_head import verify_tree_head
from server.folder_objects import open_folder_objects
from server.log_audit import Witness, audit_log
from server.receipt_log import open_receipt_log
from server.store import NewPacket, Nonce, open_store
from tests.sealed_packets import Keys, digest

BATCHES = (1, 2, 1, 5, 3)
SIZE = sum(BATCHES)


@dataclass
class Kept:
    """A finished log in a folder, and what was kept outside."""

    keys: Keys
    data: Path
    receipts: list[bytes]
    heads: list[bytes]

    @property
    def database(self) -> Path:
        return self.data / "intake.sqlite3"

    @property
    def signer(self) -> Callable[[], Signer]:
        return SignerSource(f"file:{self.keys.folder / 'intake.key'}").current

    def copy(self, folder: Path) -> Kept:
        shutil.copytree(self.data, folder)
        return Kept(self.keys, folder, self.receipts, self.heads)

    def change(self, *statements: str | tuple[str, tuple]) -> None:
        with contextlib.closing(sqlite3.connect(self.database)) as connection, connection:
            for one in statements:
                connection.execute(*([one] if isinstance(one, str) else one))

    def rows(self, query: str) -> list[tuple]:
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query).fetchall()


def described(packet: bytes) -> NewPacket:
    header = read_header(packet)
    recipients = " ".join(header.recipient_key_ids)
    now = datetime.now(UTC)
    return NewPacket(digest(packet), header.packet_id, header.booth, recipients, len(packet), header.created_at, now)


async def append(receipts, packets: list[bytes]) -> list[bytes]:
    """One batch."""
    soon = datetime.now(UTC) + timedelta(minutes=5)
    answers = await asyncio.gather(
        *(receipts.append(described(one), Nonce("booth-0001", digest(one), soon)) for one in packets)
    )
    return [stored.receipt for stored, _ in answers]


def make_kept(folder: Path) -> Kept:
    """A log of `SIZE` packets in `BATCHES`, with their files."""
    kept = Kept(Keys(folder / "pki"), folder / "data", [], [])

    async def fill() -> None:
        async with (
            open_store(f"sqlite+aiosqlite:///{kept.database}") as store,
            open_folder_objects(kept.data / "objects") as objects,
            open_receipt_log(store, kept.signer) as receipts,
        ):
            for number in BATCHES:
                packets = [kept.keys.packet({"visit.json": b"{}"}) for _ in range(number)]
                for one in packets:
                    async with objects.packets.writer() as writer:
                        await writer.write(one)
                        await writer.keep(digest(one))
                kept.receipts += await append(receipts, packets)
                kept.heads.append(await receipts.head())

    asyncio.run(fill())
    return kept


@contextlib.asynccontextmanager
async def auditing(kept: Kept, *, witness: bool = False, **more) -> AsyncIterator:
    """Audits of one database, again and again."""
    trust = load_trust(kept.keys.folder / "ca.pem")
    witnesses = [Witness("kept", verify_tree_head(kept.heads[-1], trust))] if witness else []
    async with (
        open_store(f"sqlite+aiosqlite:///{kept.database}") as store,
        open_folder_objects(kept.data / "objects") as objects,
    ):
        yield lambda: audit_log(store, trust, witnesses=witnesses, objects=objects.packets, **more)
