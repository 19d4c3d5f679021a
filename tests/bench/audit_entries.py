"""How long an entry of the audit log takes, how large it is, and how fast a log is checked: signed and under the secret, on SQLite and on the database given.

    python -m tests.bench.audit_entries
    python -m tests.bench.audit_entries --entries 5000 --database-url postgresql+asyncpg://user@host/empty

A database that is given must be empty, and keeps what was written. Figures of one machine say nothing of another.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from crypto.desk_secret import load_desk_secret
from crypto.keys import SignerSource, load_trust, make_development_pki
from server.audit import Action, AuditLog, audit_log
from server.audit_trail import Witness, check_trail
from server.store import open_store


async def measure(folder: Path, url: str, entries: int, *, signs: bool) -> dict[str, object]:
    """One kind of sealing."""
    keys = folder / "pki"
    secret, trust = load_desk_secret(keys / "desk.secret"), load_trust(keys / "ca.pem")
    signer = SignerSource(f"file:{keys / 'desk.key'}").current if signs else None
    async with open_store(url) as store:
        async with store.reading() as connection:
            before = (await connection.execute(sa.select(sa.func.max(audit_log.c.number)))).scalar_one() or 0
        log = AuditLog(store, secret, folder, signer=signer, now=lambda: datetime.now(UTC))
        took_ms = []
        for number in range(entries):
            began = time.perf_counter()
            await log.note("u-00000001", Action.PACKET_SEEN, f"{number:064x}")
            took_ms.append((time.perf_counter() - began) * 1000)
            if number % 200 == 0:
                print(f"\r{'signed' if signs else 'under the secret'}: {number} of {entries}", end="", file=sys.stderr)
        async with store.reading() as connection:
            query = sa.select(sa.func.avg(sa.func.length(audit_log.c.entry))).where(audit_log.c.number > before)
            size = float((await connection.execute(query)).scalar_one())
        known = log.witness.read()
        began = time.perf_counter()
        trail = await check_trail(
            store, trust, secret, witnesses=[Witness("this desk", known)] if known else [], newest=entries
        )
        checked_s = time.perf_counter() - began
    print(file=sys.stderr)
    took_ms.sort()
    return {
        "sealing": "cms" if signs else "hmac",
        "entries": entries,
        "median_ms": round(statistics.median(took_ms), 2),
        "p99_ms": round(took_ms[int(0.99 * len(took_ms))], 2),
        "bytes": round(size),
        "checked_per_s": round(trail.entries / checked_s),
        "sound": trail.sound,
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1000, help="of each kind (default %(default)s)")
    parser.add_argument("--database-url", help="an empty database; SQLite in a temporary folder if none")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="audit-entries-") as name:
        folder = Path(name)
        make_development_pki(folder / "pki")
        url = arguments.database_url or f"sqlite+aiosqlite:///{folder / 'intake.sqlite3'}"
        for signs in (False, True):
            print(json.dumps(asyncio.run(measure(folder, url, arguments.entries, signs=signs))))


if __name__ == "__main__":
    main()
