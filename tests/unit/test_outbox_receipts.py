"""Receipts go when they are old, many, and stand in an export; nothing else ever goes."""

from __future__ import annotations

import hashlib
import sqlite3
from datetime import UTC, datetime

import pytest

from booth.errors import OutboxWriteError
from booth.outbox import DATABASE, OutboxLimits, open_outbox
from booth.outbox_audit import export_outbox
from booth.outbox_quota import DAY_S
from booth.outbox_receipts import note_exported

KEPT, KEPT_S = 3, 10 * DAY_S
LIMITS = OutboxLimits(min_free_bytes=0, receipts_kept=KEPT, receipts_kept_s=KEPT_S)
START = 1_700_000_000.0


class Booth:
    """An outbox over its lives, and the sticks that its exports went to."""

    def __init__(self, folder):
        self.folder, self.sticks, self.now = folder / "outbox", folder / "sticks", START
        self.sticks.mkdir()

    def open(self, limits=LIMITS):
        return open_outbox(self.folder, limits, lambda: self.now)

    def deliver(self, outbox, *numbers):
        for number in numbers:
            self.now += 60
            packet = b"packet %d" % number
            outbox.put(packet, "id")
            outbox.settle(hashlib.sha256(packet).hexdigest(), b"receipt %d" % number)

    def export(self):
        at = datetime.fromtimestamp(self.now, UTC)
        self.now += 1
        return note_exported(self.folder, export_outbox(self.folder, self.sticks, "booth-1", at).folder, self.now)

    def receipts(self, limits=LIMITS):
        """What is there after another start."""
        with self.open(limits) as outbox:
            found = [outbox.receipt(entry.sha256) for entry in outbox.entries()]
        return [int(one.split()[1]) for one in found if one is not None]


@pytest.fixture
def booth(tmp_path):
    return Booth(tmp_path)


def test_an_exported_receipt_goes_when_it_is_old_and_enough_newer_ones_are_here(booth):
    with booth.open() as outbox:
        booth.deliver(outbox, *range(6))
    assert booth.export() == 6
    assert booth.receipts() == list(range(6)), "none is old"
    booth.now += KEPT_S + 600
    assert booth.receipts() == [3, 4, 5]
    assert booth.receipts() == [3, 4, 5]


def test_a_receipt_that_no_export_has_stays_for_ever(booth):
    with booth.open() as outbox:
        booth.deliver(outbox, 0, 1, 2)
        booth.export()
        booth.deliver(outbox, 3, 4, 5, 6)
    booth.now += 1_000 * KEPT_S
    assert booth.receipts() == [3, 4, 5, 6]


def test_a_running_booth_drops_them_too_once_a_day(booth):
    with booth.open() as outbox:
        booth.deliver(outbox, *range(5))
        booth.export()
        booth.now += KEPT_S + 600
        booth.deliver(outbox, 5)
        assert [outbox.receipt(entry.sha256) for entry in outbox.entries()] == [b"receipt %d" % n for n in (3, 4, 5)]


def test_what_is_not_receipted_or_not_the_exported_receipt_or_still_has_its_file_is_never_dropped(booth):
    with booth.open() as outbox:
        booth.deliver(outbox, *range(8))
        waiting, refused = outbox.put(b"waits", "id"), outbox.put(b"refused", "id")
        outbox.refuse(refused, "packet.booth_mismatch", "Another booth's.")
    booth.export()
    changed, with_file = (hashlib.sha256(b"packet %d" % number).hexdigest() for number in (0, 1))
    database = sqlite3.connect(booth.folder / DATABASE)
    with database:
        database.execute("UPDATE packets SET receipt = ? WHERE sha256 = ?", (b"receipt 0 ", changed))
        marks = [(sha256, hashlib.sha256(b"").hexdigest(), 0.0) for sha256 in (waiting, refused)]
        database.executemany("INSERT INTO exported VALUES (?, ?, ?)", marks)
    database.close()
    booth.now += KEPT_S + 600
    kept = booth.folder / "packets" / f"{with_file}.packet"
    with booth.open(OutboxLimits(min_free_bytes=0)) as outbox:  # nothing may go yet
        kept.write_bytes(b"packet 1")
        outbox._limits, outbox._dropped_at = LIMITS, -DAY_S
        outbox._drop_receipts()
        assert {entry.sha256 for entry in outbox.entries()} >= {waiting, refused, changed, with_file}
        assert len(outbox.entries()) == 2 + KEPT + 2


def test_a_mark_that_cannot_be_written_is_told_and_nothing_goes(booth, monkeypatch):
    with booth.open() as outbox:
        booth.deliver(outbox, *range(6))
    with pytest.raises(FileNotFoundError):
        note_exported(booth.folder, booth.sticks, booth.now)
    (booth.folder / DATABASE).rename(booth.folder / "away")
    copy = export_outbox(booth.folder, booth.sticks, "booth-1", datetime.now(UTC)).folder
    (copy / "manifest.json").write_text('{"files": [{"name": "a.receipt.json", "packet": "a", "sha256": "b"}]}')
    with pytest.raises(OutboxWriteError, match="are you its owner"):
        note_exported(booth.folder, copy, booth.now)
    (booth.folder / "away").rename(booth.folder / DATABASE)
    booth.now += KEPT_S + 600
    assert booth.receipts() == list(range(6))
