"""The booth's own counters of whole days (booth/day_counts.py): what is counted of a visit, and the file `days.json` in data_dir that keeps the sums.

Order of operation: a visit begins (counted at once) → what its portraits were judged by is summed in memory → the visit ends (its ending and those sums are
added to the day) → the file is written whole, on the worker thread, before anything tells of it.

Rules
  - The file holds sums and dates, nothing of a single visit; a visit that a crash cut short is counted as begun and no more. 0600.
  - Written whole or not at all (crypto/key_folder.py): a kill or a power cut costs the newest addition, never the file, and nothing is counted twice.
  - A file that does not read back is set aside as `days.json.damaged`, told once, and begun anew. A disk that refuses is told; the sums go on in memory.
  - Only what the file holds is told. A day that was told from memory and closed again after a kill, with less in it, would tell what the lost visits added.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from booth.day_counts import MOST_PERCENT, Counted, Ending, Kept, add, roll, told
from booth.events import Event
from booth.self_test import CheckFinding
from booth.visit import State, Verdict, Visit
from crypto.heartbeat import Day, Lamp
from crypto.key_folder import PRIVATE, read_file, write_whole
from validation.report import Report

log = logging.getLogger(__name__)

NAME = "days.json"
ASIDE = f"{NAME}.damaged"
# Nine sums of 57 rules have 20 kB.
MAX_BYTES = 1_000_000
_ENDINGS: dict[Event, Ending] = {
    Event.LIMIT: "timed_out",
    Event.CANCEL: "cancelled",
    Event.DECLINED: "cancelled",
}


class Counters:
    """The sums and their file. Blocking; any thread, one at a time."""

    def __init__(self, data_dir: Path, today: Callable[[], date], tell: Callable[[str], None]) -> None:
        """Reads the file; `tell` hears what a technician should know, once each."""
        self._path, self._today, self._tell = data_dir / NAME, today, tell
        self._lock = threading.Lock()
        self._refused = False
        self._kept = self._written = self._read()

    def add(self, counted: Counted) -> None:
        """Counts, on stable storage when this returns; a disk that refuses is told."""
        with self._lock:
            self._keep(add(self._kept, counted, self._today()))

    def days(self) -> tuple[Day, ...]:
        """What a heartbeat tells now."""
        with self._lock:
            today = self._today()
            rolled = roll(self._kept, today)
            if rolled != self._written:  # what was told stays as it was told
                self._keep(rolled)
            return told(self._written, today)

    def _keep(self, kept: Kept) -> None:
        self._kept = kept
        try:
            write_whole(self._path, kept.model_dump_json().encode(), PRIVATE)
        except OSError as error:
            if not self._refused:
                self._tell(f"the counters of the day cannot be written: {error.strerror}")
            self._refused = True
        else:
            self._written, self._refused = kept, False

    def _read(self) -> Kept:
        try:
            return Kept.model_validate_json(read_file(self._path, MAX_BYTES))
        except FileNotFoundError:
            return Kept.empty(self._today())
        except (OSError, ValidationError) as error:
            log.warning("%s does not read back: %s", self._path, type(error).__name__)
            self._tell(f"the counters of the day did not read back; they were set aside as {ASIDE} and begin anew")
            try:
                self._path.replace(self._path.with_name(ASIDE))
            except OSError as refused:
                self._tell(f"the damaged counters cannot be set aside: {refused.strerror}")
            return Kept.empty(self._today())


class VisitTally:
    """What one visit after the other adds to the day."""

    def __init__(self, keep: Callable[[Counted], None]) -> None:
        self._keep = keep
        self._present = False
        self._ended: set[Ending] = set()
        self._judged = Counted()

    def stepped(self, before: Visit, event: Event, after: Visit) -> None:
        """The visit went on to another state."""
        if before.state is State.ATTRACT and after.state is State.LANGUAGE:
            self._present, self._ended, self._judged = True, set(), Counted()
            self._keep(Counted(visits={"started": 1}))
        if not self._present:
            return
        if after.state is State.ASSISTANCE:
            self._ended.add("handed_to_staff")
        if after.state is State.THANKS:
            self._ended |= {"finished", "overridden"} if before.verdict is Verdict.RELEASED else {"finished"}
        if after.state is State.CLEARING:
            if "finished" not in self._ended and event in _ENDINGS:
                self._ended.add(_ENDINGS[event])
            told = {"visits": dict.fromkeys(sorted(self._ended), 1), "judged_visits": min(self._judged.portraits, 1)}
            ending = self._judged.model_copy(update=told)
            self._present, self._ended, self._judged = False, set(), Counted()
            if ending != Counted():
                self._keep(ending)

    def judged(self, report: Report) -> None:
        """A portrait of this visit was judged."""
        if not self._present:
            return
        assessed = {one.rule: one.verdict == "fail" for one in report.findings if one.verdict != "not_assessed"}
        rules = dict(self._judged.rules)
        for rule, failed in assessed.items():
            before = rules.get(rule, (0, 0))
            rules[rule] = (before[0] + failed, before[1] + 1)
        self._judged = Counted(portraits=self._judged.portraits + 1, rules=rules)


def lamps_counted(findings: Sequence[CheckFinding]) -> Counted:
    """What a run of self-tests says of the lamps' light, in percent of the baseline."""
    by_check: dict[str, Lamp] = {f"lamp.{lamp}": lamp for lamp in get_args(Lamp)}
    lamps = {
        by_check[one.id]: (min(max(one.value, 0.0), MOST_PERCENT), 1)
        for one in findings
        if one.id in by_check and one.value is not None
    }
    return Counted(lamps=lamps)
