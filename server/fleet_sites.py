"""Sites and booths as the operator names them: made, renamed, assigned, taken out of the fleet.

Rules: a site has a short id that never changes and a name for people; a booth has the name of its certificate and, for people, where it stands. A booth is there from
its first heartbeat on, or earlier when somebody names it. A booth that leaves the fleet is retired, never removed: its days stay in the statistics, its alerts end
(server/fleet_jobs.py), and it comes back by a button. A site can be removed when no booth stands there. What is written is printable text: no control
characters and none that turn the direction of writing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from server.fleet_errors import BoothUnknownError, FleetEntryError, SiteInUseError, SiteUnknownError
from server.fleet_rows import booths, inserting, note_booth, sites
from server.store import Store

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,63}")
MAX_NAME = 80


@dataclass(frozen=True, slots=True)
class Site:
    """A place with booths."""

    site: str
    name: str


@dataclass(frozen=True, slots=True)
class Booth:
    """A booth as the operator knows it."""

    booth: str
    site: str | None
    label: str
    made_at: datetime
    retired_at: datetime | None


class Sites:
    """The rows."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store, self._now = store, now

    async def sites(self) -> list[Site]:
        """Every site, by name."""
        async with self._store.reading() as connection:
            rows = await connection.execute(sa.select(sites.c.site, sites.c.name).order_by(sites.c.name, sites.c.site))
            return [Site(*row) for row in rows]

    async def booths(self) -> list[Booth]:
        """Every booth, by name."""
        async with self._store.reading() as connection:
            rows = await connection.execute(sa.select(*_BOOTH).order_by(booths.c.booth))
            return [Booth(*row) for row in rows]

    async def booth(self, booth: str) -> Booth:
        """One booth. Raises `BoothUnknownError`."""
        async with self._store.reading() as connection:
            row = (await connection.execute(sa.select(*_BOOTH).where(booths.c.booth == booth))).one_or_none()
        if row is None:
            raise BoothUnknownError("There is no booth of this name.")
        return Booth(*row)

    async def put_site(self, site: str, name: str) -> None:
        """Make a site, or give it another name. Raises `FleetEntryError`."""
        name = read_name(name)
        if not name:
            raise FleetEntryError("A site needs a name.")
        async with self._store.writing() as connection:
            put = inserting(connection, sites).values(site=read_id(site), name=name, made_at=self._now())
            await connection.execute(put.on_conflict_do_update(index_elements=[sites.c.site], set_={"name": name}))

    async def remove_site(self, site: str) -> None:
        """Raises `SiteUnknownError`, `SiteInUseError`."""
        async with self._store.writing() as connection:
            standing = sa.select(booths.c.booth).where(booths.c.site == site).limit(1)
            if (await connection.execute(standing)).first() is not None:
                raise SiteInUseError("Booths stand at this site: assign them to another one first.")
            if (await connection.execute(sa.delete(sites).where(sites.c.site == site))).rowcount != 1:
                raise SiteUnknownError("There is no site of this name.")

    async def add_booth(self, booth: str, label: str, site: str) -> None:
        """A booth that has not told anything yet; one that is there keeps what is known of it. Raises as `change_booth`."""
        booth = read_id(booth)
        async with self._store.writing() as connection:
            await note_booth(connection, booth, self._now())
        await self.change_booth(booth, label, site)

    async def change_booth(self, booth: str, label: str, site: str) -> None:
        """Where a booth stands: in words, and at which site ("" for none). Raises `BoothUnknownError`, `SiteUnknownError`, `FleetEntryError`."""
        label = read_name(label)
        async with self._store.writing() as connection:
            known = sa.select(sites.c.site).where(sites.c.site == site)
            if site and (await connection.execute(known)).first() is None:
                raise SiteUnknownError("There is no site of this name.")
            change = sa.update(booths).where(booths.c.booth == booth).values(label=label, site=site or None)
            if (await connection.execute(change)).rowcount != 1:
                raise BoothUnknownError("There is no booth of this name.")

    async def retire(self, booth: str, *, back: bool = False) -> None:
        """Take a booth out of the fleet, or back into it. Raises `BoothUnknownError`."""
        async with self._store.writing() as connection:
            change = sa.update(booths).where(booths.c.booth == booth)
            if (await connection.execute(change.values(retired_at=None if back else self._now()))).rowcount != 1:
                raise BoothUnknownError("There is no booth of this name.")


_BOOTH = (booths.c.booth, booths.c.site, booths.c.label, booths.c.made_at, booths.c.retired_at)


def read_id(text: str) -> str:
    """The id of a site or the name of a booth. Raises `FleetEntryError`."""
    text = text.strip()
    if not ID.fullmatch(text):
        raise FleetEntryError(
            "A name has 1 to 64 letters, digits, dots, dashes and underscores, and starts with a letter or digit."
        )
    return text


def read_name(text: str) -> str:
    """A name for people, "" too. Raises `FleetEntryError`."""
    text = text.strip()
    if len(text) > MAX_NAME or not text.isprintable():
        raise FleetEntryError(f"A name has at most {MAX_NAME} printable characters.")
    return text
