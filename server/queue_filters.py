"""PURE. What an officer asked the queue for: the fields of the form and of the address, what they mean, and how they are written into links again.

Rules: a word may be an application's number, so it is sent in a form and stands in no address; everything else may. Days are those of UTC, as all times of the
desk, and the last one is within. What cannot be read is told beside the field, and nothing is shown as if it had been found. What is not known (a state, an age)
is as if it had not been said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode

from server.desk_terms import DeskTerms
from server.packet_search import Range, read_term
from server.queue_rows import QueueState
from server.queue_search import TERM_KINDS, Narrowed

MAX_WORD = 200
MAX_BOOTH = 128  # of the column; centres and rules are no longer
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(9998, 12, 31)
ALL = "all"
# The desk's work first.
TABS = (*map(str, QueueState), ALL)
AGES = {
    "1h": timedelta(hours=1),
    "8h": timedelta(hours=8),
    "1d": timedelta(days=1),
    "3d": timedelta(days=3),
    "7d": timedelta(days=7),
}
RESULTS = ("compliant", "warnings", "not_compliant", "no_report", "refused")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What stands in the form, and what it means; `wrong` is the field that cannot be read."""

    within: Range
    word: str = ""
    tab: str = str(QueueState.WAITING)
    booth: str = ""
    first: str = ""
    last: str = ""
    older: str = ""
    centre: str = ""
    rule: str = ""
    result: str = ""
    pad: bool = False
    released: bool = False
    wrong: str | None = None

    def __bool__(self) -> bool:
        """Whether anything but a state is asked for."""
        return bool(self.word or self.booth or self.first or self.last or self.more)

    @property
    def more(self) -> bool:
        """Whether one of the further filters is set."""
        return bool(self.older or self.centre or self.rule or self.result or self.pad or self.released)

    def fields(self, **other: str) -> dict[str, str]:
        """What may stand in an address."""
        told = {
            "state": self.tab,
            "booth": self.booth,
            "from": self.first,
            "to": self.last,
            "older": self.older,
            "centre": self.centre,
            "rule": self.rule,
            "result": self.result,
            "pad": "1" if self.pad else "",
            "released": "1" if self.released else "",
        } | other
        if told["state"] == QueueState.WAITING:
            del told["state"]
        return {name: value for name, value in told.items() if value}

    def query(self, **other: str) -> str:
        """The same as the end of an address."""
        return urlencode(self.fields(**other))

    def narrowed(self, terms: DeskTerms, now: datetime) -> Narrowed:
        """The question to the queue."""
        said = {
            "pad": "warns" if self.pad else "",
            "override": "released" if self.released else "",
            "rule": self.rule,
            "booth": self.booth,
            "centre": self.centre,
            "result": f"result.{self.result}" if self.result else "",
        }
        until = self.within.until
        if self.older:
            old = now - AGES[self.older]
            until = old if until is None else min(until, old)
        return Narrowed(
            None if self.tab == ALL else QueueState(self.tab),
            tuple(terms.term(kind, said[kind]) for kind in TERM_KINDS if said[kind]),
            self.booth or None,
            self.within.since,
            until,
        )


def read_wanted(form: Mapping[str, str]) -> Wanted:
    """The fields of a form or of an address."""
    word = form.get("q", "").strip()[:MAX_WORD]
    booth, centre, rule = (_name(form.get(field, "")) for field in ("booth", "centre", "rule"))
    first, last = form.get("from", "").strip()[:MAX_BOOTH], form.get("to", "").strip()[:MAX_BOOTH]
    since, until = _midnight(first), _midnight(last)
    wrong = "from" if first and since is None else "to" if last and until is None else None
    if since is not None and until is not None and until < since:
        wrong = "to"
    if word and read_term(word) is None:
        wrong = "q"
    return Wanted(
        within=Range(booth or None, since, None if until is None else until + timedelta(days=1)),
        word=word,
        tab=_one_of(form.get("state", ""), TABS) or str(QueueState.WAITING),
        booth=booth,
        first=first,
        last=last,
        older=_one_of(form.get("older", ""), AGES),
        centre=centre,
        rule=rule,
        result=_one_of(form.get("result", ""), RESULTS),
        pad=form.get("pad") == "1",
        released=form.get("released") == "1",
        wrong=wrong,
    )


def _name(text: str) -> str:
    """No name of ours has what cannot be printed, and PostgreSQL takes no text with a zero in it."""
    return "".join(filter(str.isprintable, text.strip()[:MAX_BOOTH]))


def _one_of(text: str, known: tuple[str, ...] | Mapping[str, object]) -> str:
    return text if text in known else ""


def _midnight(day: str) -> datetime | None:
    """The beginning of a day; None when it is none."""
    try:
        read = date.fromisoformat(day)
    except ValueError:
        return None
    return datetime(read.year, read.month, read.day, tzinfo=UTC) if FIRST_DAY <= read <= LAST_DAY else None
