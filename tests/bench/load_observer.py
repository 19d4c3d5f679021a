"""Who compares after a load: what booths sent and were answered, with what the database, the folder and the receipt log hold."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from crypto.keys import load_trust
from crypto.receipt import verify_receipt
from crypto.tree_head import verify_tree_head
from server.config import StoreSettings
from server.log_audit import Witness, audit_log
from server.log_rows import log_entries
from server.objects import open_objects
from server.store import open_present_store, packets
from tests.bench.load_fleet import Fleet

Command = Callable[[list[str]], Awaitable[tuple[int, bytes]]]


async def run_command(arguments: list[str]) -> tuple[int, bytes]:
    """One of the server's commands: its exit code and what it told."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server.cli", *arguments), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    return int(process.returncode or 0), told


def read_receipts(told: list[Path]) -> list[tuple[str, bytes]]:
    """Packets and receipts from files of client processes, which have a line for each receipt that any booth ever got."""
    lines = [json.loads(line) for path in told for line in path.read_text("ascii").splitlines()]
    return [(sha256, receipt.encode()) for sha256, receipt in lines]


async def compare(
    data: Path, fleet: Fleet, database_url: str, receipts: list[tuple[str, bytes]], run: Command = run_command
) -> dict[str, Any]:
    """Figures, and under `wrong` whatever is not as it must be: each packet once, each receipt true, the log sound."""
    wrong: list[str] = []
    sent = await asyncio.to_thread(_digests, fleet)
    async with open_objects(StoreSettings(data_dir=data)) as objects:
        kept = {one.name: await objects.packets.load(one.name) async for one in objects.packets.names()}
    files = {name: hashlib.sha256(content or b"").hexdigest() for name, content in kept.items()}
    trust = load_trust(fleet.pki / "ca.pem")
    async with open_present_store(database_url) as store:
        async with store.reading() as connection:
            rows = [(row.sha256, bytes(row.receipt)) for row in await connection.execute(packets.select())]
            entries = {row.position: row.packet_sha256 for row in await connection.execute(log_entries.select())}
        stored = dict(rows)
        if len(rows) != len(stored) or set(stored) != set(sent):
            wrong.append(f"{len(rows)} rows of {len(stored)} packets, where {len(sent)} were sent")
        if sorted(entries) != list(range(len(sent))) or sorted(entries.values()) != sorted(sent):
            wrong.append("the log does not hold each packet once")
        if files != {name: name for name in sent}:
            wrong.append(f"{len(files)} files, where {len(sent)} packets were sent, or one is not its digest")
        witnesses = []
        for sha256, receipt in set(receipts):
            read = verify_receipt(receipt, trust, sha256)
            witnesses.append(Witness(sha256[:16], verify_tree_head(read.signed_head, trust)))
            if stored.get(sha256) != receipt or entries.get(read.position) != sha256:
                wrong.append(f"a receipt for {sha256[:16]} is not the stored one")
        audit = await audit_log(store, trust, witnesses=witnesses)
        wrong += [str(finding) for finding in audit.findings]
    if {sha256 for sha256, _ in receipts} != set(sent):
        wrong.append("not every packet has a receipt")
    command = ["log", "verify", "--data", str(data), "--pki", str(fleet.pki), "--files", "--json"]
    code, out = await run([*command, "--database-url", database_url])
    verdict = json.loads(out)
    if code or not verdict["sound"] or verdict["size"] != len(sent):
        wrong.append(f"intake log verify: {verdict}")
    return {
        "packets": len(rows),
        "receipts given": len(receipts),
        "log verify": "sound" if verdict["sound"] else "not sound",
        "wrong": wrong,
    }


def _digests(fleet: Fleet) -> list[str]:
    """Of what was sent."""
    return [_digest(path) for booth in fleet.booths() for path in fleet.packets(booth)]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
