"""What is known of an upload before its body is read: the packet's row, if it came before, and how much its booth has brought today.

Rules: a booth may bring so many packets and bytes within a day (UTC), counted from the rows, so that all replicas on a database count together; what is
refused is told when to come back (429 with Retry-After). A packet that is here already is never refused: it costs nothing. Uploads that are judged at the
same moment do not see each other, so a booth may exceed its quota by those that it sends at once (config.max_uploads_per_booth at each replica).

The default quota stops a key in wrong hands, never a booth: a visit takes more than two minutes, so a booth that worked day and night would make 720
packets; one with a full-resolution portrait and PAD frames has at most 6 MB (product.md), which makes 4.3 GB. A booth that was without a network for four
weeks of 200 visits a day brings 5600 packets: with 3000 a day and 16 GiB it is done on the second day.

Uploads that ask at the same moment are answered by one transaction: while the database is being asked, others gather for the next question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from server.deletions import find_deletions
from server.errors import QuotaError
from server.gathering import Gathering
from server.late_packets import find_taken
from server.store import Store, StoredPacket, packets, padded, stored_packet

# One question for so many uploads; above the uploads that one intake takes at once (config.max_uploads).
MAX_ASKED = 64
# A booth that has to wait asks again this soon, though the day may be longer: somebody may have raised its quota.
LONGEST_WAIT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one upload."""

    known: StoredPacket | None
    packets_today: int
    bytes_today: int


@dataclass(frozen=True, slots=True)
class _Question:
    sha256: str
    booth: str


class Reception:
    """Asks the database about uploads, of many at once in one go."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store, self._now = store, now
        self._questions = Gathering(self._look_up, MAX_ASKED, "reception")

    async def ask(self, sha256: str, booth: str) -> Standing:
        """What is known of this packet and of the booth's day. Raises `StorageError`."""
        return await self._questions.ask(_Question(sha256, booth))

    async def _look_up(self, asked: Sequence[_Question]) -> list[Standing]:
        midnight = self._now().replace(hour=0, minute=0, second=0, microsecond=0)
        digests, booths = padded(one.sha256 for one in asked), padded(one.booth for one in asked)
        async with self._store.reading() as connection:
            rows = await connection.execute(_BY_DIGESTS, {"digests": digests})
            known = {row.sha256: stored_packet(row) for row in rows}
            counts = await connection.execute(_OF_THE_DAY, {"booths": booths, "midnight": midnight})
            today = {booth: (int(count), int(size)) for booth, count, size in counts}
            others = {one.sha256 for one in asked} - known.keys()
            deleted = await find_deletions(connection, padded(others)) if others else {}
        for sha256 in deleted:
            if (taken := await find_taken(self._store, sha256)) is not None:
                known[sha256] = taken
        return [Standing(known.get(one.sha256), *today.get(one.booth, (0, 0))) for one in asked]


# Made once: the library takes longer to put a statement together than the database to answer it.
_BY_DIGESTS = sa.select(packets).where(packets.c.sha256.in_(sa.bindparam("digests", expanding=True)))
_OF_THE_DAY = (
    sa.select(packets.c.booth, sa.func.count(), sa.func.coalesce(sa.func.sum(packets.c.size), 0))
    .where(
        packets.c.booth.in_(sa.bindparam("booths", expanding=True)), packets.c.received_at >= sa.bindparam("midnight")
    )
    .group_by(packets.c.booth)
)


@dataclass(frozen=True, slots=True)
class Quota:
    """How much one booth may bring within a day."""

    packets: int
    size_bytes: int

    def check(self, standing: Standing, size: int, now: datetime) -> None:
        """Whether a new packet of this size may come. Raises `QuotaError`."""
        if standing.packets_today < self.packets and standing.bytes_today + size <= self.size_bytes:
            return
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        wait = min(midnight - now, LONGEST_WAIT)
        raise QuotaError(
            "This booth has sent as much today as one booth may: it goes on at midnight UTC.",
            retry_after_s=int(wait.total_seconds()) + 1,
        )
