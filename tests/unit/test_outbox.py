"""Nothing that was confirmed is lost, whatever step a crash comes between; nothing is sent that was told to be lost."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import signal
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from booth.errors import (
    CommitRevokedError,
    OutboxDamagedError,
    OutboxFullError,
    OutboxInUseError,
    OutboxUnreadableError,
    OutboxWriteError,
)
from booth.faults import fault_of
from booth.outbox import DATABASE, TURN_TRIES, OutboxLimits, PacketState, open_outbox
from booth.outbox_audit import read_entries, verify_outbox
from booth.outbox_quota import VISIT_BYTES
from tests.fault_disk import PowerCutError, StoppingFiles

LIMITS = OutboxLimits(max_packets=5, max_bytes=10_000, min_free_bytes=0)
PACKET = b"sealed bytes of one visit" * 8
SHA = hashlib.sha256(PACKET).hexdigest()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "outbox"


@pytest.fixture
def now():
    return [1_000.0]


@pytest.fixture
def opened(folder, now):
    def make(files=None, limits=LIMITS):
        return open_outbox(folder, limits, lambda: now[0], files or StoppingFiles())

    return make


def names(folder):
    return sorted(path.name for path in (folder / "packets").iterdir())


def test_a_stored_packet_is_a_private_file_named_by_its_digest_and_survives_a_restart(opened, folder):
    with opened() as outbox:
        assert outbox.put(PACKET, "id1") == SHA
        assert outbox.status.waiting == 1
    assert names(folder) == [f"{SHA}.packet"]
    for path in (folder / "packets" / f"{SHA}.packet", folder / DATABASE):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with opened() as outbox:
        assert outbox.problems == []
        assert outbox.read(SHA) == PACKET
        assert outbox.next_due().packet_id == "id1"


def test_a_power_cut_at_any_step_of_storing_leaves_all_or_nothing(opened, folder):
    counting = StoppingFiles()
    with opened(counting) as outbox:
        before = counting.steps
        outbox.put(b"count", "id0")
        steps = counting.steps - before
        outbox.settle(hashlib.sha256(b"count").hexdigest(), b"receipt")
    assert steps >= 4
    for step in range(1, steps + 1):
        for after in (False, True):
            packet = PACKET + bytes([step, after])
            files = StoppingFiles(after=after)
            with opened(files) as outbox:
                files.stop_at = files.steps + step
                with pytest.raises(PowerCutError):
                    outbox.put(packet, "id1")
            with opened() as outbox:
                assert outbox.status.damaged == 0
                due = outbox.next_due()
                if due is None:
                    assert names(folder) == [], f"step {step} after={after}: something was left"
                else:  # whole, and nobody was told that it was lost
                    assert names(folder) == [f"{due.sha256}.packet"]
                    assert outbox.read(due.sha256) == packet
                    outbox.settle(due.sha256, b"receipt")


def test_a_power_cut_at_any_step_of_settling_keeps_the_receipt_and_removes_the_copy(opened, folder):
    for number, (step, after) in enumerate([(1, False), (1, True), (2, False), (2, True)]):
        packet = PACKET + bytes([number])
        files = StoppingFiles(after=after)
        with opened(files) as outbox:
            sha = outbox.put(packet, "id")
            files.stop_at = files.steps + step
            with pytest.raises(PowerCutError):
                outbox.settle(sha, b"receipt")
        with opened() as outbox:
            assert outbox.receipt(sha) == b"receipt"
            assert names(folder) == []
            assert outbox.next_due() is None


def test_a_failed_fsync_is_told_and_leaves_nothing(opened, folder):
    files = StoppingFiles(error=OSError(5, "Input/output error"))
    with opened(files) as outbox:
        files.stop_at = files.steps + 2
        with pytest.raises(OutboxWriteError, match="check the disk"):
            outbox.put(PACKET, "id1")
        assert outbox.status.waiting == 0
        assert names(folder) == []
        files.stop_at = None
        assert outbox.put(PACKET, "id1") == SHA


def test_a_visit_that_ended_before_the_commit_stores_nothing(opened, folder):
    with opened() as outbox:
        with pytest.raises(CommitRevokedError):
            outbox.put(PACKET, "id1", permit=lambda: False)
        assert outbox.status.waiting == 0
    assert names(folder) == []


def test_closing_waits_for_the_call_that_is_at_work_on_another_thread(opened):
    """A program that ends while its worker thread stores a packet: SQLite's memory must not be freed under the statement."""
    with opened() as outbox:
        closing = threading.Thread(target=outbox.close)

        def permit():
            closing.start()
            closing.join(timeout=0.2)
            return closing.is_alive()

        assert outbox.put(PACKET, "id1", permit) == SHA
        closing.join()
        with pytest.raises(OutboxWriteError, match="closed"):
            outbox.postpone(SHA, 0.0, "code", "text")
    with opened() as outbox:
        assert outbox.read(SHA) == PACKET
        assert outbox.next_due().attempts == 0


def test_storing_the_same_packet_twice_is_one_packet(opened):
    with opened() as outbox:
        assert outbox.put(PACKET, "id1") == outbox.put(PACKET, "id1")
        assert outbox.status.waiting == 1
        assert outbox.read(SHA) == PACKET


@pytest.mark.parametrize("quota", [OutboxLimits(max_packets=1), OutboxLimits(max_bytes=100)])
def test_a_full_outbox_refuses_before_a_visit_and_opens_again_after_delivery(opened, quota):
    limits = OutboxLimits(quota.max_packets, quota.max_bytes, 0)
    with opened(limits=limits) as outbox:
        outbox.require_room()
        outbox.put(PACKET, "id1")
        assert not outbox.status.accepting
        with pytest.raises(OutboxFullError, match="limit"):
            outbox.require_room()
        other = outbox.put(PACKET + b"2", "id2")  # who was already inside is not refused
        for sha256 in (SHA, other):
            outbox.settle(sha256, b"receipt")
        outbox.require_room()


def test_packets_that_nobody_takes_close_the_booth_after_the_age_limit(opened, now):
    with opened(limits=OutboxLimits(min_free_bytes=0, max_age_s=86_400.0)) as outbox:
        outbox.put(PACKET, "id1")
        now[0] += 86_400
        outbox.require_room()
        now[0] += 1
        with pytest.raises(OutboxFullError, match=r"1\.0 days, its limit is 1"):
            outbox.require_room()
        outbox.refuse(SHA, "packet.booth_mismatch", "Another booth's packet.")
        outbox.require_room()  # the technician knows of it
        outbox.retry(SHA)
        assert not outbox.status.accepting
        outbox.settle(SHA, b"receipt")
        outbox.require_room()


def test_a_disk_that_is_nearly_full_refuses_visits(opened):
    files = StoppingFiles()
    for wanted, needed in ((VISIT_BYTES + 1_000, VISIT_BYTES + 1_000), (0, VISIT_BYTES)):
        with opened(files, OutboxLimits(min_free_bytes=wanted)) as outbox:
            files.free = needed - 1
            with pytest.raises(OutboxFullError, match="free"):
                outbox.require_room()
            outbox.put(PACKET + str(wanted).encode(), "id")  # who was already inside is not refused
            files.free = needed
            outbox.require_room()


def test_a_row_without_its_file_is_flagged_for_the_technician(opened, folder):
    with opened() as outbox:
        outbox.put(PACKET, "id1")
    (folder / "packets" / f"{SHA}.packet").unlink()
    with opened() as outbox:
        assert (outbox.status.waiting, outbox.status.damaged) == (0, 1)
        assert outbox.entries()[0].error_code == "outbox.damaged"
        assert outbox.problems


def test_a_changed_file_is_never_sent(opened, folder):
    with opened() as outbox:
        outbox.put(PACKET, "id1")
        other = outbox.put(PACKET + b"other", "id2")
        path = folder / "packets" / f"{SHA}.packet"
        path.write_bytes(PACKET[:-1] + b"X")
        with pytest.raises(OutboxDamagedError):
            outbox.read(SHA)
        assert outbox.next_due().sha256 == other
        assert outbox.status.damaged == 1


def test_a_lost_or_broken_database_loses_no_packet(opened, folder):
    with opened() as outbox:
        outbox.put(PACKET, "id1")
    (folder / DATABASE).write_bytes(b"this is not a database, it was one" * 100)
    with opened() as outbox:
        assert outbox.next_due().sha256 == SHA
        assert any("set aside" in problem for problem in outbox.problems)
    assert list(folder.glob(f"{DATABASE}.damaged-*"))
    (folder / DATABASE).unlink()
    for extra in folder.glob(f"{DATABASE}-*"):
        extra.unlink()
    with opened() as outbox:
        assert outbox.read(SHA) == PACKET
        assert outbox.status.waiting == 1


def test_a_busy_database_is_not_taken_for_a_broken_one(opened, folder):
    with opened() as outbox:
        outbox.put(PACKET, "id1")
    other = sqlite3.connect(folder / DATABASE, isolation_level=None)
    try:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE packets SET attempts = 1")
        with pytest.MonkeyPatch.context() as patch:
            connect = sqlite3.connect
            patch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "timeout": 0.05}))
            with pytest.raises(OutboxWriteError), opened():
                pass
        other.execute("ROLLBACK")
    finally:
        other.close()
    assert not list(folder.glob("*.damaged-*"))
    with opened() as outbox:
        assert outbox.status.waiting == 1


def test_attempts_and_the_time_of_the_next_one_survive_a_restart(opened, now):
    with opened() as outbox:
        outbox.put(PACKET, "id1")
        now[0] += 1
        second = outbox.put(PACKET + b"2", "id2")
        outbox.postpone(SHA, 5_000.0, "intake.unreachable", "No answer.")
    with opened() as outbox:
        assert outbox.next_due().sha256 == second
        first = outbox.entries()[0]
        assert (first.attempts, first.next_try_at, first.error_code) == (1, 5_000.0, "intake.unreachable")
        outbox.hasten()
        assert outbox.entries()[0].next_try_at == 0
        assert outbox.next_due().sha256 == SHA, "what was begun goes on before another is begun"
        for _ in range(TURN_TRIES - 1):
            outbox.postpone(SHA, 0, "intake.unreachable", "No answer.")
        assert outbox.next_due().sha256 == second, "but not for ever"
        outbox.postpone(SHA, 5_000.0, "intake.answer", "Trouble with this packet alone.")
        outbox.hasten()
        assert outbox.entries()[0].next_try_at == 5_000.0


def test_a_refused_packet_is_kept_and_can_be_tried_again(opened):
    with opened() as outbox:
        outbox.put(PACKET, "id1")
        outbox.refuse(SHA, "packet.booth_mismatch", "Another booth's packet.")
        assert outbox.next_due() is None
        assert outbox.entries()[0].state is PacketState.REFUSED
        assert outbox.read(SHA) == PACKET
        assert outbox.retry(SHA)
        assert not outbox.retry(SHA)
        assert outbox.next_due().sha256 == SHA


def test_the_age_of_the_oldest_waiting_packet_is_told(opened, now):
    with opened() as outbox:
        outbox.put(PACKET, "id1")
        now[0] += 60
        outbox.put(PACKET + b"2", "id2")
        assert outbox.status.oldest_at == 1_000.0


def test_two_booths_never_share_an_outbox_but_anybody_may_look(opened, folder):
    assert read_entries(folder) == ()
    with opened() as outbox:
        outbox.put(PACKET, "id1")
        with pytest.raises(OutboxInUseError, match="in use by another booth") as caught, opened():
            pass
        assert "disk" not in fault_of(caught.value).hint
        assert [entry.sha256 for entry in read_entries(folder)] == [SHA]
    (folder / DATABASE).write_bytes(b"no database" * 100)
    with pytest.raises(OutboxDamagedError):
        read_entries(folder)


def lose_database(folder, left):
    """The database after the disk lost it: zero-length, garbage, or gone."""
    for extra in folder.glob(f"{DATABASE}-*"):
        extra.unlink()
    (folder / DATABASE).unlink()
    if left is not None:
        (folder / DATABASE).write_bytes(left)


GARBAGE = b"this is not a database, it was one" * 100


@pytest.fixture
def three(opened):
    with opened() as outbox:
        return {outbox.put(PACKET + bytes([n]), "id") for n in range(3)}


class Unreadable:
    """Packet files whose reading gives `error`, from the `after`th reading on; other files read as ever."""

    def __init__(self, monkeypatch, error, *, name=None, after=0):
        self.readings = 0
        read = Path.read_bytes

        def read_bytes(path):
            if path.suffix == ".packet" and name in {None, path.stem}:
                self.readings += 1
                if self.readings > after:
                    raise error
            return read(path)

        monkeypatch.setattr(Path, "read_bytes", read_bytes)


@pytest.mark.parametrize("left", [b"", GARBAGE, None], ids=["zero length", "garbage", "gone"])
def test_a_lost_database_loses_none_of_many_packets(opened, folder, three, left):
    lose_database(folder, left)
    for _ in range(2):
        with opened() as outbox:
            assert {entry.sha256 for entry in outbox.entries() if entry.state is PacketState.WAITING} == three
            assert all(outbox.read(sha256) for sha256 in three)


@pytest.mark.parametrize("left", [b"", GARBAGE], ids=["zero length", "garbage"])
def test_a_take_in_that_is_interrupted_is_repeated_at_the_next_start(opened, folder, three, left, monkeypatch):
    for after in range(3):
        lose_database(folder, left)
        with monkeypatch.context() as patch:
            Unreadable(patch, PowerCutError(), after=after)
            with pytest.raises(PowerCutError), opened():
                pass
        assert len(names(folder)) == 3
        with opened() as outbox:
            assert outbox.status.waiting == 3


def test_a_booth_killed_while_taking_in_keeps_every_packet(opened, folder, three, monkeypatch):
    lose_database(folder, GARBAGE)
    child = os.fork()
    if child == 0:
        reader = Path.read_bytes
        seen = []

        def killed(path):
            seen.append(path)
            if len(seen) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return reader(path)

        monkeypatch.setattr(Path, "read_bytes", killed)
        with contextlib.suppress(BaseException), opened():
            pass
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with opened() as outbox:
        assert outbox.status.waiting == 3
    assert len(names(folder)) == 3


def test_a_file_that_cannot_be_read_while_taking_in_is_kept_and_waits_again_when_it_can(
    opened, folder, three, monkeypatch
):
    lose_database(folder, GARBAGE)
    bad = min(three)
    with monkeypatch.context() as patch:
        Unreadable(patch, OSError(errno.EIO, "Input/output error"), name=bad)
        for _ in range(2):
            with opened() as outbox:
                assert (outbox.status.waiting, outbox.status.damaged) == (2, 1)
                flagged = next(entry for entry in outbox.entries() if entry.sha256 == bad)
                assert flagged.error_code == "outbox.unreadable"
    with opened() as outbox:
        assert (outbox.status.waiting, outbox.status.damaged) == (3, 0)
        assert len(outbox.read(bad)) == len(PACKET) + 1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ENOMEM])
def test_a_disk_that_does_not_give_a_packet_now_flags_nothing(opened, number, monkeypatch):
    with opened() as outbox:
        outbox.put(PACKET, "id1")
        with monkeypatch.context() as patch:
            Unreadable(patch, OSError(number, os.strerror(number)))
            with pytest.raises(OutboxUnreadableError):
                outbox.read(SHA)
        assert outbox.status.damaged == 0
        assert outbox.next_due().sha256 == SHA
        assert outbox.read(SHA) == PACKET


@pytest.mark.parametrize("made", ["fifo", "link", "folder", "huge"])
def test_what_is_no_packet_file_neither_holds_nor_fills_the_booth(opened, folder, made):
    path = folder / "packets" / f"{SHA}.packet"
    with opened() as outbox:
        outbox.put(PACKET, "id1")
        path.unlink()
        match made:
            case "fifo":
                os.mkfifo(path)
            case "link":
                path.symlink_to("/dev/zero")
            case "folder":
                path.mkdir()
            case "huge":
                with path.open("wb") as file:
                    file.truncate(1 << 40)
        with pytest.raises(OutboxDamagedError, match="digest"):
            outbox.read(SHA)
    lose_database(folder, None)
    with opened() as outbox:
        assert [entry.state for entry in outbox.entries()] == [PacketState.DAMAGED]
    assert any("digest" in finding or "bytes" in finding for finding in verify_outbox(folder).findings)


def test_a_damaged_packet_whose_file_is_whole_again_waits_again(opened, folder):
    path = folder / "packets" / f"{SHA}.packet"
    with opened() as outbox:
        outbox.put(PACKET, "id1")
        path.rename(path.with_suffix(".away"))
        with pytest.raises(OutboxDamagedError, match="missing"):
            outbox.read(SHA)
        assert outbox.retry(SHA)
        with pytest.raises(OutboxDamagedError):
            outbox.read(SHA)
    with opened() as outbox:
        assert outbox.status.damaged == 1
    path.with_suffix(".away").rename(path)
    with opened() as outbox:
        assert outbox.status.damaged == 0
        assert outbox.next_due().error_code is None
        assert outbox.read(SHA) == PACKET


class UnmeasurableFiles(StoppingFiles):
    """A disk that tells its free space `answers` times."""

    answers = 1_000

    def free_bytes(self, folder):
        self.answers -= 1
        if self.answers < 0:
            raise OSError(errno.EIO, "Input/output error")
        return super().free_bytes(folder)


def test_a_packet_that_is_committed_is_never_told_to_be_lost(opened):
    files = UnmeasurableFiles()
    with opened(files) as outbox:
        files.answers = 1  # before the commit, and not after it
        assert outbox.put(PACKET, "id1") == SHA
        outbox.postpone(SHA, 5_000.0, "intake.answer", "Not now.")
        assert outbox.next_due().attempts == 1
        with pytest.raises(OutboxWriteError):
            outbox.require_room()
        outbox.settle(SHA, b"receipt")
        assert outbox.receipt(SHA) == b"receipt"


def test_a_delivered_packet_whose_copy_cannot_be_removed_is_settled_all_the_same(opened, folder):
    files = StoppingFiles(error=OSError(errno.EIO, "Input/output error"))
    with opened(files) as outbox:
        outbox.put(PACKET, "id1")
        files.stop_at = files.steps + 1
        outbox.settle(SHA, b"receipt")
        assert outbox.receipt(SHA) == b"receipt"
        assert names(folder) == [f"{SHA}.packet"]
    with opened():
        assert names(folder) == []


def test_whatever_fails_before_the_commit_leaves_no_packet_that_a_restart_would_send(opened, folder):
    def broken():
        raise MemoryError

    with opened() as outbox, pytest.raises(MemoryError):
        outbox.put(PACKET, "id1", permit=broken)
    assert names(folder) == []


def test_a_clock_that_was_set_back_brings_far_times_forward(opened):
    with opened() as outbox:
        outbox.put(PACKET, "id1")
        outbox.postpone(SHA, 9_000.0, "intake.unreachable", "No answer.")
        assert outbox.bring_forward(1_300.0)
        assert not outbox.bring_forward(1_300.0)
        assert outbox.next_due().next_try_at == 1_300.0
