"""A visit and its upload, stopped or failed at every single system call: what was confirmed is delivered once, nothing is lost or doubled.

Every write, truncate, fsync, rename, unlink and creation of the outbox and of SQLite below it is a step (tests/fault_disk.py). The tests go
through all of them: an error at each, an error from each on, a process that ends before, within and after each, and the power cut at each
with what the disk may have kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import random
import sqlite3
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from booth.config import IntakeSection
from booth.disk import DiskFiles
from booth.errors import OutboxError, OutboxWriteError
from booth.outbox import DATABASE, OutboxLimits, PacketState, open_outbox
from booth.uplink import Uplink
from crypto.keys import make_development_pki, open_signer
from crypto.receipt import verify_receipt
from tests.fake_intake import FakeIntake
from tests.fault_disk import CRASHED, Fault, FaultyDisk, Platter, faulty, lay_out
from tests.uplink_rig import Clocks

LIMITS = OutboxLimits(min_free_bytes=0)
PACKETS = [bytes([65 + n]) * 3_000 for n in range(2)]
DIGESTS = [hashlib.sha256(packet).hexdigest() for packet in PACKETS]
TURNS = 200


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crash-keys") / "pki"
    make_development_pki(folder)
    return folder


@pytest.fixture
def tmp_path(tmp_path):
    """In memory where that is possible: thousands of fsyncs."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="outbox-", dir=memory) as folder:
        yield Path(folder)


@dataclass
class World:
    """What stays when the booth is gone: the intake, and what the applicants were told."""

    pki: object
    intake: FakeIntake = field(init=False)
    confirmed: set[str] = field(default_factory=set)
    told_lost: set[str] = field(default_factory=set)
    refused: int = 0

    def __post_init__(self):
        self.intake = FakeIntake(self.pki)
        self.signer = open_signer(f"file:{self.pki / 'booth.key'}")
        self.settings = IntakeSection(url="https://intake.example", trust=self.pki / "ca.pem")

    def visit(self, outbox, packet, tell=lambda *_: None):
        """One visit: refused before it begins, confirmed, or told that nothing was saved."""
        try:
            outbox.require_room()
        except OutboxError:
            self.refused += 1
            return
        sha256 = hashlib.sha256(packet).hexdigest()
        try:
            outbox.put(packet, "id")
        except OutboxWriteError:
            self.told_lost.add(sha256)
        else:
            self.confirmed.add(sha256)
            tell("confirmed", sha256)

    async def upload(self, outbox, tell=lambda *_: None):
        """The real uplink, until nothing waits."""
        clocks = Clocks()

        async def answer(request):
            response = await self.intake(request)
            tell("received", request.url.path.rsplit("/", 1)[1])
            return response

        with ThreadPoolExecutor(1) as worker:
            async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
                trust = self.intake.trust
                uplink = Uplink(
                    *(outbox, worker, self.settings, lambda: self.signer, lambda: trust, client),
                    *(lambda: clocks.wall, lambda *_: None, lambda: 0.5, lambda: clocks.steady),
                )
                for _ in range(TURNS):
                    try:
                        wait_s = await uplink._turn()
                    except OutboxError:
                        wait_s = uplink._pause_for_disk()
                    if wait_s is None:
                        return
                    clocks.pass_s(wait_s or 0.5)

    async def life(self, folder, tell=lambda *_: None, packets=PACKETS):
        """A booth's whole day: opened, visits, uploads, closed."""
        with open_outbox(folder, LIMITS, lambda: 1_000.0) as outbox:
            for packet in packets:
                self.visit(outbox, packet, tell)
            await self.upload(outbox, tell)

    def check(self, folder, *, lost_may_be_sent=False):
        """After a last clean life: confirmed is delivered exactly once, in rows that prove it, and nothing else is there."""
        assert self.confirmed <= self.intake.stored
        if not lost_may_be_sent:
            assert not self.told_lost & self.intake.stored
        assert not list(folder.glob("*.damaged-*"))
        with open_outbox(folder, LIMITS, lambda: 1_000.0) as outbox:
            assert outbox.problems == []
            rows = {entry.sha256: entry for entry in outbox.entries()}
            assert rows.keys() >= self.confirmed
            for sha256 in self.intake.stored:
                assert rows[sha256].state is PacketState.RECEIPTED
                verify_receipt(outbox.receipt(sha256), self.intake.trust, sha256)
            assert all(rows[sha256].state is PacketState.DAMAGED for sha256 in rows.keys() - self.intake.stored)
        assert list((folder / "packets").iterdir()) == []
        with contextlib.closing(sqlite3.connect(folder / DATABASE)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def read(name):
    return Path(name).read_bytes()


async def steps_of_a_life(pki, folder):
    with faulty(FaultyDisk(folder)) as disk:
        world = World(pki)
        await world.life(folder, disk.mark)
    assert world.confirmed == set(DIGESTS) == world.intake.stored
    return disk


async def test_all_that_a_life_does_to_the_disk_is_seen(pki, tmp_path):
    disk = await steps_of_a_life(pki, tmp_path / "outbox")
    kinds = {event[0] for event in disk.events}
    assert kinds == {"create", "write", "truncate", "sync", "rename", "unlink", "mark"}
    platter = Platter()
    for event in disk.events:
        platter.apply(event)
    for name, number in platter.live.items():
        assert read(name) == platter.contents[number], f"{name}: something wrote beside the seam"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
async def test_an_error_at_any_step_is_told_or_made_good_without_a_restart(pki, tmp_path, number):
    steps = (await steps_of_a_life(pki, tmp_path / "counted")).steps
    assert steps > 80
    for failing in range(1, steps + 1):
        world, folder = World(pki), tmp_path / str(failing)
        plan = lambda step, _kind, failing=failing: Fault("error", number) if step == failing else None  # noqa: E731
        opened = True
        with faulty(FaultyDisk(folder, plan)):
            try:
                await world.life(folder)
            except OutboxWriteError:
                opened = False
        if opened:  # nothing waits: the same process has made it good
            assert len(world.told_lost) + world.refused <= 1, f"step {failing}"
            assert world.confirmed <= world.intake.stored, f"step {failing}"
        await world.life(folder, packets=[])
        world.check(folder)


async def test_a_disk_that_fails_from_any_step_on_loses_nothing_that_was_confirmed(pki, tmp_path):
    steps = (await steps_of_a_life(pki, tmp_path / "counted")).steps
    for failing in range(1, steps + 1):
        world, folder = World(pki), tmp_path / str(failing)
        plan = lambda step, _kind, failing=failing: Fault("error") if step >= failing else None  # noqa: E731
        with faulty(FaultyDisk(folder, plan)), contextlib.suppress(OutboxWriteError):
            await world.life(folder)
        for _ in range(2):
            await world.life(folder, packets=[])
        world.check(folder, lost_may_be_sent=True)  # the disk refused the removal too


def crash(world, folder, fault, at):
    """A life in a process of its own that ends at a step; what it told before that."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            tell = lambda *fact: os.write(writing, json.dumps(fact).encode() + b"\n")  # noqa: E731
            plan = lambda step, _kind: fault if step == at else None  # noqa: E731
            with faulty(FaultyDisk(folder, plan)):
                asyncio.run(world.life(folder, tell))
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a child of a test never returns into it
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as lines:
        told = [json.loads(line) for line in lines]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == CRASHED
    world.confirmed |= {sha256 for what, sha256 in told if what == "confirmed"}
    world.intake.stored |= {sha256 for what, sha256 in told if what == "received"}


@pytest.mark.parametrize("kind", ["crash before", "crash torn", "crash after"])
def test_a_process_that_ends_at_any_step_loses_and_doubles_nothing(pki, tmp_path, kind):
    steps = asyncio.run(steps_of_a_life(pki, tmp_path / "counted")).steps
    for at in range(1, steps + 1):
        world, folder = World(pki), tmp_path / str(at)
        crash(world, folder, Fault(kind), at)
        asyncio.run(world.life(folder, packets=[]))
        world.check(folder)


def drained(folder):
    """What a booth finds after a power cut and sends; without keys, for there are thousands of these."""
    with open_outbox(folder, LIMITS, lambda: 1_000.0) as outbox:
        sent = set()
        while (entry := outbox.next_due()) is not None:
            assert hashlib.sha256(outbox.read(entry.sha256)).hexdigest() == entry.sha256
            outbox.settle(entry.sha256, b"receipt")
            assert entry.sha256 not in sent
            sent.add(entry.sha256)
        rows = {entry.sha256: entry.state for entry in outbox.entries()}
        problems = outbox.take_problems()
    assert not list(folder.glob("*.damaged-*")), problems
    assert list((folder / "packets").iterdir()) == []
    return sent, rows


def check_states(events, seen_from, folder, every=1):
    """The invariants in everything that a power cut may leave after each event; how many states that were."""
    platter, chance, told, checked = Platter(), random.Random(20261123), {"confirmed": set(), "received": set()}, 0
    for number, event in enumerate(events):
        if event[0] == "mark":
            told[event[1]].add(event[2])
            continue
        platter.apply(event)
        if number % every and number < len(events) - 1:
            continue
        for name, files in platter.states(chance):
            place = folder / f"{number}-{name.replace(' ', '-')}"
            lay_out(files, seen_from, place)
            sent, rows = drained(place)
            where = f"event {number} {event[0]} {str(event[1])[-20:]}, {name}"
            assert told["confirmed"] <= rows.keys(), where
            assert {state for sha256, state in rows.items() if sha256 in told["confirmed"]} <= {"receipted"}, where
            assert told["confirmed"] <= sent | told["received"], where
            checked += 1
    return checked


async def test_a_power_cut_at_any_step_loses_nothing_that_was_confirmed(pki, tmp_path):
    seen_from = tmp_path / "recorded" / "outbox"
    disk = await steps_of_a_life(pki, seen_from)
    assert check_states(disk.events, seen_from, tmp_path / "states") > 400


async def test_what_a_failed_fsync_lost_is_not_trusted(pki, tmp_path):
    """Each fsync in turn fails and loses what it was for; then the power is cut at some step, or at the end."""
    clean = await steps_of_a_life(pki, tmp_path / "counted")
    syncs, number = [], 0
    for event in clean.events:
        number += event[0] != "mark"
        if event[0] == "sync":
            syncs.append(number)
    assert len(syncs) > 15
    for failing in syncs:
        world, seen_from = World(pki), tmp_path / str(failing) / "outbox"
        plan = lambda step, _kind, failing=failing: Fault("error") if step == failing else None  # noqa: E731
        disk = FaultyDisk(seen_from, plan)
        with faulty(disk), contextlib.suppress(OutboxWriteError):
            await world.life(seen_from, disk.mark)
        check_states(disk.events, seen_from, tmp_path / str(failing) / "states", every=9)


async def test_a_database_whose_log_failed_an_fsync_is_left_for_a_new_file(pki, tmp_path):
    folder = tmp_path / "outbox"
    failing = [False]

    def plan(_step, kind):
        return Fault("error") if failing[0] and kind == "sync" else None

    with faulty(FaultyDisk(folder, plan)), open_outbox(folder, LIMITS, lambda: 1_000.0, DiskFiles()) as outbox:
        first = outbox.put(PACKETS[0], "id")
        old = (folder / DATABASE).stat().st_ino
        failing[0] = True
        with pytest.raises(OutboxWriteError):
            outbox.refuse(first, "packet.refused", "No.")
        with pytest.raises(OutboxWriteError):
            outbox.require_room()  # no visit begins while the disk does not allow a new file
        with pytest.raises(OutboxWriteError):
            outbox.put(PACKETS[1], "id")
        failing[0] = False
        outbox.require_room()
        assert (folder / DATABASE).stat().st_ino != old
        assert [(entry.sha256, entry.state) for entry in outbox.entries()] == [(first, PacketState.WAITING)]
        assert any("written anew" in problem for problem in outbox.take_problems())
        assert outbox.put(PACKETS[1], "id") == DIGESTS[1]
    assert not list(folder.glob("*.renewed")) + list(folder.glob("*.next"))
