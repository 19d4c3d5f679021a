"""What a backup of many rows costs: time, room, and the memory of the process, which must not grow with the rows. Without sealed packets: those are copied one by one.

    .venv/bin/python -m tests.bench.backup_rows                    10^4 and 10^6 packets' rows, about ten minutes and 20 GB in the temporary folder
    .venv/bin/python -m tests.bench.backup_rows --rows 1000 100000

Each part runs in a process of its own: the peak of its memory is its own. Exit code 1 when the largest takes more than 1.5 times the memory of the smallest.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import multiprocessing
import os
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from server.backup import read_moment
from server.backup_manifest import TableFacts
from server.line_files import check_file
from server.restore import write_moment
from server.store import open_present_store, open_store, schema_revisions
from server.table_rows import frozen

LIMIT = 1.5
RECEIPT_BYTES = 3_100  # docs/receipt-log.md, with a million entries
PROGRESS_ROWS = 100_000


def url_of(database: Path) -> str:
    return f"sqlite+aiosqlite:///{database}"


def packet_rows(count: int) -> Iterator[tuple[Any, ...]]:
    """Rows of packets as an intake writes them; receipts compress as little as real ones: half of them is random."""
    for serial in range(1, count + 1):
        sha256 = hashlib.sha256(str(serial).encode()).hexdigest()
        receipt = os.urandom(RECEIPT_BYTES // 4).hex().encode() + b"{'a receipt':1}" * (RECEIPT_BYTES // 30)
        at = f"2026-11-23 12:{serial // 60_000_000:02d}:{serial // 1_000_000 % 60:02d}.{serial % 1_000_000:06d}"
        yield (
            serial,
            sha256,
            sha256[:32],
            f"booth-{serial % 2000:04d}",
            "ab" * 16,
            200_000,
            at,
            at,
            "received",
            receipt,
            serial - 1,
        )


def fill(database: Path, count: int) -> None:
    """A database of the present schema with so many packets and the hashes of their log."""

    async def make() -> None:
        async with open_store(url_of(database)):
            pass

    asyncio.run(make())
    names = "serial, sha256, packet_id, booth, recipient, size, sealed_at, received_at, state, receipt, position"
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executemany(f"INSERT INTO packets ({names}) VALUES ({', '.join('?' * 11)})", packet_rows(count))
        entries = ((number, hashlib.sha256(b"%d" % number).hexdigest(), b"e" * 500) for number in range(count))
        connection.executemany("INSERT INTO log_entries (position, packet_sha256, entry) VALUES (?, ?, ?)", entries)
        nodes = ((0, number, os.urandom(32)) for number in range(count))
        connection.executemany("INSERT INTO log_nodes (level, number, hash) VALUES (?, ?, ?)", nodes)


def show(name: str, done: int, total: int) -> None:
    if sys.stderr.isatty() and done % PROGRESS_ROWS == 0:
        print(f"\r{name}: {done} of {total}   ", end="", file=sys.stderr)


def write(database: Path, folder: Path) -> dict[str, Any]:
    """Rows and list of objects into files."""

    async def work() -> dict[str, Any]:
        async with open_present_store(url_of(database)) as store, frozen(store) as connection:
            return await read_moment(connection, folder, show)

    facts = asyncio.run(work())
    tables = [one.model_dump() for one in facts["tables"]]
    return {
        "rows": sum(one["rows"]["lines"] for one in tables),
        "bytes": sum(one["rows"]["size"] for one in tables),
        "tables": tables,
    }


def read(database: Path, folder: Path, tables: list[dict[str, Any]]) -> dict[str, Any]:
    """Files into the rows of an empty database, in one transaction, as a restore does it."""

    async def work() -> None:
        facts = [TableFacts.model_validate(one) for one in tables]
        async with open_present_store(url_of(database)) as store, store.writing() as connection:
            for one in facts:
                check_file(folder / f"{one.name}.gz", one.rows.written)
            await write_moment(connection, facts, schema_revisions()[-1], folder, show)

    database.touch(0o600)
    asyncio.run(work())
    return {}


def apart(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """In a process of its own, with its time and the peak of its memory."""
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=_tell, args=(its, work, arguments))
    process.start()
    its.close()
    told: dict[str, Any] = ours.recv()
    process.join()
    return told


def _tell(pipe: Any, work: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> None:
    began = time.perf_counter()
    told = work(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    pipe.send(told | {"seconds": round(time.perf_counter() - began, 1), "peak_mib": peak})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000], help="packets in each database")
    arguments = parser.parse_args()
    peaks: dict[str, list[int]] = {"backup": [], "restore": []}
    for count in sorted(arguments.rows):
        with tempfile.TemporaryDirectory(prefix="passbooth-backup-") as name:
            folder = Path(name)
            fill(folder / "old.sqlite3", count)
            written = apart(write, folder / "old.sqlite3", folder)
            restored = apart(read, folder / "new.sqlite3", folder, written["tables"])
            for part, told in (("backup", written), ("restore", restored)):
                peaks[part].append(told["peak_mib"])
                facts = {"packets": count, "part": part, "seconds": told["seconds"], "peak_mib": told["peak_mib"]}
                more = {"rows": written["rows"], "bytes": written["bytes"]} if part == "backup" else {}
                print(json.dumps(facts | more), flush=True)
    grown = {part: its[-1] / its[0] for part, its in peaks.items()}
    print(json.dumps({"memory_ratio": {part: round(ratio, 2) for part, ratio in grown.items()}}))
    return 0 if max(grown.values()) <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
