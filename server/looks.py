"""Who has which packet open: "next" gives an officer one that nobody else looks at, and lists say so.

Rules: a look is taken by a form, never by a page that is shown; it ends `LOOK` after its last sign of life, with the decision, or when its officer takes another one. It
forbids nothing: two officers may open one packet, and its decision is made once whoever is faster. Nobody is given what he proposed himself, nor keeps more than `MOST_LOOKS`. Of several who want the same packet at once one gets it,
because taking is one statement.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from server.packet_search import Place
from server.proposals import STANDS, proposals
from server.queue_reader import states_of
from server.queue_rows import LOOK, OPEN_STATES, QueueState, queue_looks
from server.queue_search import Narrowed, QueueLine, queue_page
from server.store import Store, packets

# Looked through at once for one that is free.
CANDIDATES = 50
# Of one officer: somebody with more pages open than these keeps no packet from others.
MOST_LOOKS = 10


class Looks:
    """The looks of one database."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store, self._now = store, now

    async def others(self, digests: Collection[str], officer: str) -> dict[str, str]:
        """Who else looks at which of these packets."""
        query = sa.select(queue_looks.c.packet_sha256, queue_looks.c.officer).where(
            queue_looks.c.packet_sha256.in_(digests),
            queue_looks.c.officer != officer,
            queue_looks.c.until > self._now(),
        )
        async with self._store.reading() as connection:
            return {row.packet_sha256: row.officer for row in await connection.execute(query)}

    async def take(self, sha256: str, officer: str) -> bool:
        """Look at a packet, or go on looking; False when somebody else does, or when nothing is to be done about it any more."""
        now = self._now()
        insert = self._store.insert(queue_looks).values(packet_sha256=sha256, officer=officer, until=now + LOOK)
        free = sa.or_(queue_looks.c.officer == officer, queue_looks.c.until <= now)
        mine = insert.on_conflict_do_update(
            index_elements=[queue_looks.c.packet_sha256], set_={"officer": officer, "until": now + LOOK}, where=free
        ).returning(queue_looks.c.packet_sha256)
        async with self._store.writing() as connection:
            # Locked, as by whoever decides: a look is not taken of what is decided just now.
            locked = sa.select(packets.c.serial).where(packets.c.sha256 == sha256).with_for_update()
            if (await connection.execute(locked)).first() is None:
                return False
            if (await states_of(connection, [sha256]))[sha256] not in OPEN_STATES:
                return False
            if (await connection.execute(mine)).first() is None:
                return False
            await connection.execute(_beyond_most(officer))
            return True

    async def take_next(
        self,
        wanted: Narrowed,
        officer: str,
        behind: Place | None = None,
        passed_over: Callable[[QueueLine], bool] = lambda _line: False,
    ) -> str | None:
        """The first packet behind a place that nobody else looks at, from the beginning again when there is none; None when all are taken or done.

        The officer lets go of what he looked at before. Of states in which nothing is to be done nothing is looked through: there may be millions of such packets.
        """
        if wanted.state not in OPEN_STATES:
            wanted = replace(wanted, state=QueueState.WAITING)
        async with self._store.writing() as connection:
            await connection.execute(sa.delete(queue_looks).where(queue_looks.c.officer == officer))
        for start in (behind, None) if behind is not None else (None,):
            at = start
            while True:
                page = await queue_page(self._store, wanted, CANDIDATES, at)
                found = await self._take_one([line for line in page.lines if not passed_over(line)], officer)
                if found is not None:
                    return found
                if page.behind is None:
                    break
                at = page.behind
        return None

    async def _proposed_by(self, officer: str, digests: Collection[str]) -> set[str]:
        """What he proposed himself: it waits for another person."""
        own = sa.select(proposals.c.packet_sha256).where(proposals.c.packet_sha256.in_(digests), STANDS)
        async with self._store.reading() as connection:
            return set((await connection.execute(own.where(proposals.c.officer == officer))).scalars())

    async def _take_one(self, lines: Collection[QueueLine], officer: str) -> str | None:
        digests = [line.stored.sha256 for line in lines]
        taken = {*await self.others(digests, officer), *await self._proposed_by(officer, digests)}
        for line in lines:
            if line.stored.sha256 not in taken and await self.take(line.stored.sha256, officer):
                return line.stored.sha256
        return None


def _beyond_most(officer: str) -> sa.Delete:
    """Lets go of an officer's oldest looks."""
    own = sa.select(queue_looks.c.packet_sha256).where(queue_looks.c.officer == officer)
    newest = own.order_by(queue_looks.c.until.desc(), queue_looks.c.packet_sha256).limit(MOST_LOOKS)
    return sa.delete(queue_looks).where(queue_looks.c.officer == officer, queue_looks.c.packet_sha256.not_in(newest))
