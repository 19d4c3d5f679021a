"""How long an officer waits for a page of the desk when a million packets are stored, on SQLite and on PostgreSQL.

    .venv/bin/python -m tests.bench.desk_pages                           10^6 packets in both, about six minutes and 6 GB in the temporary folder
    .venv/bin/python -m tests.bench.desk_pages --packets 20000           half a minute
    .venv/bin/python -m tests.bench.desk_pages --engine postgres --json figures.json

What is measured is the desk's whole application over ASGI: session, permission, the audit log's durable entry, the questions to the database, the page. Left out are
TLS and the way to the browser. Rows of packets, decisions, captures and of the queue are inserted at once, with true terms and sealed summaries under the desk's
secret, and with short stand-ins for receipts and signatures, which no page of these reads. Some packets are real: they are read by the desk's own reader, whose rate is
told, and opened. Exit code 1 when the median of any page is above `GOAL_S`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import sqlalchemy as sa

from crypto.application import application_digest
from crypto.desk_secret import load_desk_secret
from server.application_rows import captures
from server.desk_terms import PURPOSE, DeskTerms
from server.handover_rows import decisions
from server.log_rows import log_heads
from server.messages import load_messages
from server.packet_search import Place
from server.queue_reader import QueueReader
from server.queue_rows import TERM_BYTES, QueueState, queue_mark, queue_packets, queue_terms
from server.store import packets
from tests.bench.growth_stores import Database, make_postgres, make_sqlite, postgres
from tests.bench.written_log import RECIPIENT, number_at, packet_id_at, sha256_at
from tests.desk_rig import NOW, Desk, opened_desk
from tests.sealed_packets import Keys

GOAL_S = 0.3
PACKETS = 1_000_000
REAL = 100
SPACING = timedelta(seconds=25)
BOOTHS, CENTRES = 2_000, 100
# The newest of all wait; of those that were decided one in ten was refused.
WAITING_SHARE, PROPOSED_SHARE, REFUSED_SHARE = 0.02, 0.001, 0.1
RULES = tuple(
    f"{subject}.{name}"
    for subject in ("pose", "light", "eyes", "background", "image", "face", "geometry", "mouth")
    for name in ("first", "second", "third", "fourth", "fifth")
)
RULE_SHARE, PAD_SHARE, RELEASED_SHARE = 0.02, 0.01, 0.02
# As long as a short stand-in; a real one has two or three thousand bytes.
STAND_IN = b"\0" * 200
ROUNDS = 30

Page = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Written:
    """One packet as rows."""

    serial: int
    sha256: str
    at: datetime
    booth: str
    state: str
    terms: tuple[bytes, ...]
    summary: bytes


class Filling:
    """Rows of any number of packets, behind the real ones."""

    def __init__(self, terms: DeskTerms, judged: bytes, count: int) -> None:
        self.terms, self.judged, self.count = terms, judged, count
        self.first = REAL + 1
        self.begun = NOW - timedelta(hours=1) - SPACING * count
        self.rows: list[Written] = []
        chance = random.Random(1)
        known: dict[tuple[str, str], bytes] = {}

        def term(kind: str, value: str) -> bytes:
            if (kind, value) not in known:
                known[kind, value] = terms.term(kind, value)
            return known[kind, value]

        waiting = count - int(count * WAITING_SHARE)
        for number in range(count):
            failed = [rule for rule in RULES if chance.random() < RULE_SHARE]
            pad, released = chance.random() < PAD_SHARE, chance.random() < RELEASED_SHARE
            booth = chance.randrange(BOOTHS)
            result = "not_compliant" if failed else "warnings" if chance.random() < 0.2 else "compliant"
            found = [term("result", f"result.{result}"), term("booth", booth_at(booth))]
            found += [term("centre", f"centre-{booth % CENTRES:03d}"), term("software", "passbooth 0.2.0")]
            found += [term("rule", rule) for rule in failed]
            found += [term("pad", "warns")] * pad + [term("override", "released")] * released
            found.append(terms.application(application_digest(number_at(number)).hex()))
            summary = {"opened": True, "application_number": number_at(number), "has_report": True, "rules": 40}
            summary |= {"compliant": not failed, "failed": len(failed), "suspected": pad, "released": released}
            sha256 = sha256_at(number)
            sealed = terms._secret.seal(PURPOSE, json.dumps(summary).encode(), sha256.encode())
            state = QueueState.WAITING if number >= waiting else QueueState.ACCEPTED
            if state is QueueState.ACCEPTED and chance.random() < REFUSED_SHARE:
                state = QueueState.REFUSED
            at = self.begun + SPACING * number
            self.rows.append(
                Written(self.first + number, sha256, at, booth_at(booth), str(state), tuple(found), sealed)
            )
            if number % 20_000 == 0:
                say(f"{number:,} packets made")

    def packets(self) -> Iterator[tuple[Any, ...]]:
        for number, row in enumerate(self.rows):
            yield (
                *(row.serial, row.sha256, packet_id_at(number), row.booth, RECIPIENT, 200_000),
                *(row.at, row.at, "received", STAND_IN, row.serial - 1),
            )

    def captures(self) -> Iterator[tuple[Any, ...]]:
        told = {"waiting": "received", "accepted": "accepted", "refused": "retake"}
        for number, row in enumerate(self.rows):
            digest = application_digest(number_at(number)).hex()
            yield row.serial, row.sha256, digest, None, told[row.state], None, row.at

    def decisions(self) -> Iterator[tuple[Any, ...]]:
        decided = (row for row in self.rows if row.state != QueueState.WAITING)
        for number, row in enumerate(decided, 1):
            yield number, row.sha256, row.at, row.state, STAND_IN, STAND_IN

    def queue(self) -> Iterator[tuple[Any, ...]]:
        for row in self.rows:
            yield row.sha256, row.serial, row.at, row.state, self.judged, b"".join(row.terms), row.summary

    def queue_terms(self) -> Iterator[tuple[Any, ...]]:
        """In the order of their key."""
        found: dict[bytes, list[int]] = defaultdict(list)
        for number, row in enumerate(self.rows):
            for term in row.terms:
                found[term].append(number)
        for one in sorted(found):
            for number in sorted(found[one], key=lambda n: (self.rows[n].state, n)):
                row = self.rows[number]
                yield one, row.state, row.at, row.serial

    def tables(self) -> Iterable[tuple[sa.Table, Iterator[tuple[Any, ...]]]]:
        """Each table with its rows."""
        size = self.count + REAL
        head = (size, b"\0" * 32, NOW, STAND_IN)
        yield packets, self.packets()
        yield captures, self.captures()
        yield decisions, self.decisions()
        yield queue_packets, self.queue()
        yield queue_terms, self.queue_terms()
        yield log_heads, iter([head])
        yield queue_mark, iter([(1, self.terms.owner, size - 1)])


def booth_at(number: int) -> str:
    """A booth's name."""
    return f"booth-{number:04d}"


def say(text: str) -> None:
    """Progress."""
    print(f"\r\033[K{text}", end="", flush=True, file=sys.stderr)


def fill_sqlite(url: str, filling: Filling) -> None:
    """All rows, without a wait for the disk."""
    with contextlib.closing(sqlite3.connect(sa.make_url(url).database or "")) as connection:
        for pragma in ("synchronous=OFF", "cache_size=-600000", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("DELETE FROM queue_mark")
        for table, rows in filling.tables():
            say(f"SQLite: {table.name}")
            marks = ", ".join("?" * len(table.columns))
            with connection:
                connection.executemany(
                    f"INSERT INTO {table.name} VALUES ({marks})",
                    ([_plain(value) for value in row] for row in rows),
                )
        connection.execute("ANALYZE")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _plain(value: Any) -> Any:
    """A time as SQLAlchemy writes it into SQLite."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return str(value) if isinstance(value, QueueState) else value


async def fill_postgres(url: str, filling: Filling) -> None:
    """All rows, by COPY."""
    place = sa.make_url(url)
    connection = await asyncpg.connect(host=place.query["host"], user="postgres", database=place.database)
    try:
        await connection.execute("DELETE FROM queue_mark")
        for table, rows in filling.tables():
            say(f"PostgreSQL: {table.name}")
            names = table.columns.keys()
            await connection.copy_records_to_table(table.name, records=rows, columns=names, timeout=1800)
        say("PostgreSQL: vacuum")
        await connection.execute("VACUUM ANALYZE", timeout=1800)
    finally:
        await connection.close()


class Officer:
    """Asks for pages, each time at another place."""

    def __init__(self, desk: Desk, filling: Filling, real: list[str], token: str) -> None:
        self.desk, self.filling, self.real, self.token = desk, filling, real, token
        self._chance = random.Random(2)
        waiting = [row for row in filling.rows if row.state == QueueState.WAITING]
        self._any, self._shown = filling.rows, real[0]
        self.pages: dict[str, Page] = {
            "queue: what waits longest": lambda: self._list(""),
            "queue: a page in the middle of what waits": lambda: self._list("", waiting),
            "queue: waiting, received more than 3 days ago": lambda: self._list("older=3d", at_least=0),
            "queue: waiting, a rule that failed": lambda: self._list(f"rule={self._rule()}"),
            "queue: waiting, rule, centre and presentation attack": lambda: self._list(
                f"rule={self._rule()}&centre={self._centre()}&pad=1", at_least=0
            ),
            "list: everything, newest": lambda: self._list("state=all"),
            "list: everything, at any place": lambda: self._list("state=all", self._any),
            "list: accepted, at any place": lambda: self._list("state=accepted", self._any),
            "list: refused, a booth": lambda: self._list(f"state=refused&booth={self._booth()}", at_least=0),
            "list: everything of a booth and a day": lambda: self._list(
                f"state=all&booth={self._booth()}&{self._one_day()}", at_least=0
            ),
            "list: everything, a rule, at any place": lambda: self._list(f"state=all&rule={self._rule()}", self._any),
            "list: everything, rule and centre": lambda: self._list(
                f"state=all&rule={self._rule()}&centre={self._centre()}", at_least=0
            ),
            "list: released and presentation attack (rare and rare)": lambda: self._list(
                "state=all&pad=1&released=1", at_least=0
            ),
            "list: presentation attack and two rare others, nothing matches": lambda: self._list(
                f"state=all&pad=1&released=1&rule={self._rule()}&centre=centre-none", at_least=0
            ),
            "search: application number": lambda: self._search(number_at(self._place())),
            "search: beginning of a digest": lambda: self._search(sha256_at(self._place())[:8]),
            "next: take the oldest that nobody looks at": self._next,
            "packet: opened for the first time": lambda: self._packet(opened=False),
            "packet: open already": lambda: self._packet(opened=True),
        }

    def _place(self) -> int:
        return self._chance.randrange(len(self._any))

    def _rule(self) -> str:
        return self._chance.choice(RULES)

    def _centre(self) -> str:
        return f"centre-{self._chance.randrange(CENTRES):03d}"

    def _booth(self) -> str:
        return booth_at(self._chance.randrange(BOOTHS))

    def _one_day(self) -> str:
        day = self._any[self._place()].at.date()
        return f"from={day}&to={day}"

    async def _list(self, query: str, within: list[Written] | None = None, *, at_least: int = 1) -> None:
        if within is not None:
            row = self._chance.choice(within[len(within) // 4 : -len(within) // 4])
            query += f"&behind={Place(row.at, row.serial)}"
        answer = await self.desk.client.get(f"/?{query.lstrip('&')}")
        found = re.findall(r'href="/packets/([0-9a-f]{64})', answer.text)
        if answer.status_code != 200 or len(found) < at_least:
            raise RuntimeError(f"no page of {query}: {answer.status_code}")

    async def _search(self, word: str) -> None:
        answer = await self.desk.client.post("/search", data={"csrf_token": self.token, "q": word})
        if answer.status_code != 200 or "/packets/" not in answer.text:
            raise RuntimeError("nothing was found")

    async def _next(self) -> None:
        answer = await self.desk.client.post("/queue/next", data={"csrf_token": self.token})
        if "/packets/" not in answer.headers.get("location", ""):
            raise RuntimeError("there is no next packet")

    async def _packet(self, *, opened: bool) -> None:
        """One that is not in the desk's memory, or the one that was shown before."""
        if not opened:
            self._shown = self._chance.choice(self.real)
            self.desk.rooms.opener.forget(self._shown)
        answer = await self.desk.client.get(f"/packets/{self._shown}")
        if answer.status_code != 200:
            raise RuntimeError("the packet is not shown")


async def measure(officer: Officer, rounds: int) -> dict[str, list[float]]:
    """How long each page took, page after page within each round."""
    times: dict[str, list[float]] = defaultdict(list)
    for turn in range(-2, rounds):  # the first ones warm up
        for name, page in officer.pages.items():
            start = time.perf_counter()
            await page()
            if turn >= 0:
                times[name].append(time.perf_counter() - start)
        say(f"round {turn + 1} of {rounds}")
    say("")
    return times


async def one_engine(
    database: Database, keys: Keys, folder: Path, filled: Filling | None, count: int, rounds: int
) -> tuple[Filling, dict[str, Any]]:
    """Make, read, measure."""
    async with opened_desk(keys, folder, load_messages(), database_url=database.url) as desk:
        real = [await desk.receive(keys.packet()) for _ in range(REAL)]
        terms = DeskTerms(load_desk_secret(desk.rooms.settings.secret))
        reader, began = QueueReader(desk.rooms.store, desk.rooms.opener, terms), time.perf_counter()
        read = await reader.look()
        rate = read / (time.perf_counter() - began)
        judged = terms.judged(*await desk.rooms.opener.judges())
        filling = filled or Filling(terms, judged, count)
        began = time.monotonic()
        if database.engine == "SQLite":
            await asyncio.to_thread(fill_sqlite, database.url, filling)
        else:
            await fill_postgres(database.url, filling)
        say(f"{database.engine}: filled in {time.monotonic() - began:.0f} s\n")
        await desk.sign_in()
        page = await desk.client.get("/")
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert token is not None
        times = await measure(Officer(desk, filling, real, token[1]), rounds)
    return filling, {"engine": database.engine, "packets": count, "read_per_s": round(rate, 1), "times": times}


def told(figures: list[dict[str, Any]]) -> float:
    """Print the table; the worst median in seconds."""
    worst = 0.0
    for one in figures:
        print(
            f"\n{one['engine']}, {one['packets']:,} packets; read for the queue: {one['read_per_s']} packets a second"
        )
        for name, times in one["times"].items():
            median, late = statistics.median(times), sorted(times)[int(len(times) * 0.95)]
            worst = max(worst, median)
            print(f"  {name:62}{median * 1e3:9.1f} ms{late * 1e3:9.1f} ms (95 %)")
    print(f"\nworst median {worst * 1e3:.0f} ms, goal {GOAL_S * 1e3:.0f} ms")
    return worst


async def run(arguments: argparse.Namespace, folder: Path) -> int:
    """Both engines, one after the other."""
    keys, figures, filling = Keys(folder / "pki"), [], None
    assert TERM_BYTES == 16
    with contextlib.ExitStack() as stack:
        for engine in ("sqlite", "postgres") if arguments.engine == "both" else (arguments.engine,):
            data = folder / engine
            data.mkdir()
            if engine == "sqlite":
                database, _ = await make_sqlite(data, arguments.packets)
            else:
                socket = stack.enter_context(postgres(folder / "server"))
                database, unused = await make_postgres(socket, arguments.packets)
                await unused.finish()
            filling, found = await one_engine(database, keys, data, filling, arguments.packets, arguments.rounds)
            figures.append(found)
    worst = told(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))
    return int(worst > GOAL_S)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=PACKETS, help=f"how many are stored ({PACKETS})")
    parser.add_argument("--engine", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each page is asked for ({ROUNDS})")
    parser.add_argument("--folder", type=Path, help="where the stores are made; a temporary folder, removed at the end")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="passbooth-desk-", dir=arguments.folder) as folder:
        Path(folder).chmod(0o755)  # under root PostgreSQL runs as a user of its own
        return asyncio.run(run(arguments, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
