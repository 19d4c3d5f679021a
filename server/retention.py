"""PURE. How long a packet is kept: the policy, what may happen to a packet, and the time at which it is due for deletion.

    final event                                                kept afterwards (days)
    undecided     none: the packet was received                undecided_days       180
    waiting       accepted; a producer has not answered        for ever: late answers are told (docs/handover.md)
    handed_over   accepted, and every producer took it         handed_over_days      30
    rejected      a producer rejected it, or the desk did      rejected_days         90

The days are assumed: BSI TR-03121 and ICAO Doc 9303 give none, the operator's law does. A packet that is held is never due. One whose hold was released is
not due before `release_days` (7, assumed) are over, so that a hold that was released by mistake can be placed again.

What is dated after `now` is not believed to have happened where that would delete: a release then has not come yet. (Clocks of several machines differ.) Nor is
what is dated before the receipt, which the log has signed: no row that somebody made older by hand makes a packet due before the shortest time of the policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Fate(StrEnum):
    """What has become of a packet; the reason of its deletion. In words: `retention.fate.<value>` in the catalogues."""

    UNDECIDED = "undecided"
    WAITING = "waiting"
    HANDED_OVER = "handed_over"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Policy:
    """How many days packets are kept after their final event, and how long backups are."""

    handed_over_days: int = 30
    undecided_days: int = 180
    rejected_days: int = 90
    release_days: int = 7
    backups_days: int = 30
    keep_links: bool = False

    def kept(self, fate: Fate) -> timedelta | None:
        """How long a packet is kept after its final event; None when it has none yet."""
        days = {
            Fate.UNDECIDED: self.undecided_days,
            Fate.HANDED_OVER: self.handed_over_days,
            Fate.REJECTED: self.rejected_days,
        }
        return timedelta(days=days[fate]) if fate in days else None

    @property
    def shortest(self) -> timedelta:
        """No packet is due before this time after it was received: every final event comes later."""
        return timedelta(days=min(self.handed_over_days, self.undecided_days, self.rejected_days))

    @property
    def backups(self) -> timedelta:
        """How long a backup is kept."""
        return timedelta(days=self.backups_days)


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """One order to a producer that counts: none that was replaced by another."""

    answered_at: datetime | None
    accepted: bool
    asked_anew: bool = False


@dataclass(frozen=True, slots=True)
class PacketFacts:
    """What happened to a packet."""

    received_at: datetime
    decided_at: datetime | None = None
    accepted: bool = False
    orders: tuple[OrderFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class HoldSpan:
    """One hold."""

    placed_at: datetime
    released_at: datetime | None = None

    def keeps(self, now: datetime) -> bool:
        """Whether it is open."""
        return self.released_at is None or self.released_at > now


def final_event(facts: PacketFacts) -> tuple[Fate, datetime]:
    """What has become of a packet, and when."""
    if facts.decided_at is None:
        return Fate.UNDECIDED, facts.received_at
    decided_at = max(facts.decided_at, facts.received_at)
    if not facts.accepted:
        return Fate.REJECTED, decided_at
    answers = [order.answered_at for order in facts.orders if order.answered_at is not None and not order.asked_anew]
    if not facts.orders or len(answers) < len(facts.orders):
        return Fate.WAITING, decided_at
    fate = Fate.HANDED_OVER if all(order.accepted for order in facts.orders) else Fate.REJECTED
    return fate, max([decided_at, *answers])


def due(facts: PacketFacts, policy: Policy, holds: Sequence[HoldSpan], now: datetime) -> datetime | None:
    """When the packet is to be deleted; None while it is held or a producer's answer is waited for."""
    fate, at = final_event(facts)
    kept = policy.kept(fate)
    if kept is None or any(hold.keeps(now) for hold in holds):
        return None
    releases = [hold.released_at for hold in holds if hold.released_at is not None]
    return max([at + kept, *(released + timedelta(days=policy.release_days) for released in releases)])
