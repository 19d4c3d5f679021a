"""PURE: how many visits a day had and how they ended, how often each rule failed, how much light the lamps gave: sums, folded into days that may be told.

Order of operation: what is counted goes into the open day → when that day is over it is added to what waits → when `LEAST_VISITS` visits with
a judged portrait are together it is closed under the newest day's date and may be told from then on (crypto/heartbeat.py says why) → days that are too old to be told are dropped.

Rules
  - No time but the date; nothing tells which visit added what. What waits is one sum: of quiet days nothing is left but their total and where it began.
  - A closed day is never changed: two versions of one day would tell what a single visit added. When the clock was set back, what is counted goes into the open
    day, which waits until a day comes that was not closed yet. Closed days more than a week ahead are dropped: the clock was wrong when they were closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from crypto.heartbeat import DAYS_BACK, LEAST_VISITS, MAX_RULES, MOST_FOLDED_DAYS, Day, Id, Lamp, RuleCount, Visits

Ending = Literal["started", "finished", "cancelled", "timed_out", "handed_to_staff", "overridden"]
Count = Annotated[int, Field(ge=0)]
# Above ten times its baseline somebody exchanged the lamp; a heartbeat tells no more than this.
MOST_PERCENT = 1000.0


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Counted(_Value):
    """What is counted together: a visit that began or ended, or a run of self-tests."""

    visits: Mapping[Ending, Count] = {}
    portraits: Count = 0
    judged_visits: Count = 0  # in which at least one portrait was judged; not told
    rules: Annotated[Mapping[Id, tuple[Count, Count]], Field(max_length=MAX_RULES)] = {}  # failed, assessed
    lamps: Mapping[Lamp, tuple[Annotated[float, Field(ge=0)], Count]] = {}  # sum of percents, how many


class DaySum(Counted):
    """The sums of the days from `since` to `day`."""

    since: date
    day: date

    def plus(self, more: Counted) -> DaySum:
        """With more counted, under the same dates."""
        return self.model_copy(
            update={
                "visits": _sums(self.visits, more.visits),
                "portraits": self.portraits + more.portraits,
                "judged_visits": self.judged_visits + more.judged_visits,
                "rules": _rules(self.rules, more.rules),
                "lamps": _lamps(self.lamps, more.lamps),
            }
        )


class Kept(_Value):
    """Everything that a booth keeps of its days."""

    version: Literal[1] = 1
    open: DaySum
    waiting: DaySum | None = None  # over, and of too few visits to be told
    closed: tuple[DaySum, ...] = ()  # oldest first

    @classmethod
    def empty(cls, today: date) -> Kept:
        """Nothing yet."""
        return cls(open=DaySum(since=today, day=today))


def add(kept: Kept, counted: Counted, today: date) -> Kept:
    """With what was counted today."""
    kept = roll(kept, today)
    return kept.model_copy(update={"open": kept.open.plus(counted)})


def roll(kept: Kept, today: date) -> Kept:
    """As it stands today: days that are over are closed or wait, those that are too old are gone."""
    past = [one for one in kept.closed if one.day <= today + timedelta(days=DAYS_BACK)]
    waiting, opened = kept.waiting, kept.open
    if waiting is not None and waiting.day > today:
        opened, waiting = opened.plus(waiting), None
    if opened.day >= today:  # still the day, or the clock was set back
        opened = opened.model_copy(update={"since": today, "day": today})
        return Kept(open=opened, waiting=waiting, closed=_young(past, today))
    since = opened.since
    if waiting is not None and opened.day - waiting.since <= timedelta(days=MOST_FOLDED_DAYS):
        opened, since = opened.plus(waiting), waiting.since
    last = past[-1].day if past else date.min
    opened = opened.model_copy(update={"since": min(max(since, last + timedelta(days=1)), opened.day)})
    done = min(opened.judged_visits, opened.portraits) >= LEAST_VISITS and opened.day > last
    return Kept(
        open=DaySum(since=today, day=today),
        waiting=None if done else opened,
        closed=_young([*past, opened] if done else past, today),
    )


def _young(closed: Sequence[DaySum], today: date) -> tuple[DaySum, ...]:
    """Those that a heartbeat tells; the newest stays longer, so that no day is closed twice."""
    oldest = today - timedelta(days=DAYS_BACK)
    return (*(one for one in closed[:-1] if one.day >= oldest), *closed[-1:])


def told(kept: Kept, today: date) -> tuple[Day, ...]:
    """The days of a heartbeat, as of a `roll` today."""
    oldest = today - timedelta(days=DAYS_BACK)
    return tuple(_told(one) for one in kept.closed if oldest <= one.day < today)


def _told(one: DaySum) -> Day:
    ended: dict[str, int] = dict(one.visits.items())
    return Day(
        day=one.day,
        since=one.since,
        portraits=one.portraits,
        visits=Visits(**{name: ended.get(name, 0) for name in Visits.model_fields}),
        rules={rule: RuleCount(failed=pair[0], assessed=pair[1]) for rule, pair in one.rules.items() if pair[1]},
        lamps={lamp: min(round(pair[0] / pair[1], 1), MOST_PERCENT) for lamp, pair in one.lamps.items() if pair[1]},
    )


def _sums(one: Mapping[Ending, int], more: Mapping[Ending, int]) -> dict[Ending, int]:
    return {name: one.get(name, 0) + more.get(name, 0) for name in {**one, **more}}


def _rules(one: Mapping[str, tuple[int, int]], more: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    pairs = {rule: (one.get(rule, (0, 0)), more.get(rule, (0, 0))) for rule in {**one, **more}}
    return {rule: (first[0] + second[0], first[1] + second[1]) for rule, (first, second) in pairs.items()}


def _lamps(
    one: Mapping[Lamp, tuple[float, int]], more: Mapping[Lamp, tuple[float, int]]
) -> dict[Lamp, tuple[float, int]]:
    pairs = {lamp: (one.get(lamp, (0.0, 0)), more.get(lamp, (0.0, 0))) for lamp in {**one, **more}}
    return {lamp: (first[0] + second[0], first[1] + second[1]) for lamp, (first, second) in pairs.items()}
