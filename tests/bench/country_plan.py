"""The arithmetic of docs/scale.md, "A country": from packets a year to rates, bandwidth, storage, the database, replicas, backups and what a loss costs.

    .venv/bin/python -m tests.bench.country_plan                       print the tables
    .venv/bin/python -m tests.bench.country_plan --fill                write them into docs/scale.md
    .venv/bin/python -m tests.bench.country_plan --packets-a-year 2000000 --packet-kb 800

Every number that goes in is a constant here with where it comes from: given by the task, measured (docs/scale.md), the product's default, or assumed. Nobody
has run a country on this: it is a plan on paper, for engines that exist.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from server.retention import Policy
from tests.bench.page_tables import fill_tables

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scale.md"

# Given.
PACKETS_A_YEAR = 20_000_000
REGIONS = 3
PACKET_KB = 200  # a sealed packet of a portrait, its chip image, report and visit, as the load tests send it
LARGE_PACKET_KB = 2_000  # assumed: with PAD frames; 6 MB is the most that a booth makes (server/quotas.py)
# Assumed: how a year falls into hours.
OPEN_DAYS, OPEN_HOURS = 250, 10
PEAK_DAY = 2.0  # of an average open day: before the holidays
PEAK_HOUR_SHARE = 0.2  # of a day's packets
BURST = 2.0  # of the peak hour's mean, for minutes
BACKLOG_DRAIN_H = 4.0  # a whole peak day that waited in the booths comes within so many hours, beside the day's own
VISITS_A_BOOTH_HOUR = 12  # a visit every five minutes
# Measured: packets of 200 kB a second of one replica with the folder store, PostgreSQL and TLS on two cores that its clients share (docs/scale.md,
# "Throughput"). Larger packets are assumed to be as many bytes.
REPLICA_PACKETS_A_S = 250.0
HEADROOM = 0.5  # of what was measured is planned with
# Measured: `intake log verify` and appends of one writer (docs/scale.md, "Growth"; docs/receipt-log.md).
VERIFY_ENTRIES_A_S = 3_000.0
APPENDS_A_S_64 = 985.0
# Measured with 10^4 packets in PostgreSQL, indexes included (tests/bench/stored_packets.py).
ROW_KB = 4.0  # a packet and its capture, gone when it is deleted
LOG_KB = 0.9  # entry, two hashes, its share of a head of 64
HEAD_KB = 1.3  # a signed head; with so few packets a second nearly each has one
# Six signed records, of decision (two), order, answer, deletion and erasure: 1.2 to 1.35 kB each, measured; their keys and columns assumed.
RECORDS_KB = 6 * 1.3 + 1.3
# Assumed: what becomes of packets, and how long it takes until then.
ACCEPTED, REJECTED = 0.95, 0.03
DAYS_TO_END = 3.0
COPIES = 3  # of each object: one in each region
LINK_GBIT = 1.0  # for backups, and between regions
BACKUP_DAYS = 30
WAL_KB = (
    60.0  # of a commit, full pages after a checkpoint included: a dozen index pages of 8 kB, half of them dirty already
)
YEAR_DAYS = 365


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows, for packets of one size."""

    packets_a_year: int
    packet_kb: float

    @property
    def mean_day(self) -> float:
        """Packets of an average open day."""
        return self.packets_a_year / OPEN_DAYS

    @property
    def peak_day(self) -> float:
        """Packets of the busiest day."""
        return self.mean_day * PEAK_DAY

    @property
    def peak_hour_s(self) -> float:
        """Packets a second in the peak hour."""
        return self.peak_day * PEAK_HOUR_SHARE / 3600

    @property
    def backlog_s(self) -> float:
        """Packets a second while a day's backlog comes in besides."""
        return self.peak_hour_s + self.peak_day / (BACKLOG_DRAIN_H * 3600)

    @property
    def design_s(self) -> float:
        """Packets a second that everything is planned for."""
        return max(self.peak_hour_s * BURST, self.backlog_s)

    @property
    def booths(self) -> int:
        """How many it takes for the peak hour."""
        return math.ceil(self.peak_hour_s * 3600 / VISITS_A_BOOTH_HOUR)

    @property
    def replica_s(self) -> float:
        """Packets of this size that one replica takes in a second."""
        return REPLICA_PACKETS_A_S * min(1.0, PACKET_KB / self.packet_kb)

    @property
    def replicas_needed(self) -> float:
        """To carry everything."""
        return self.design_s / (self.replica_s * HEADROOM)

    @property
    def replicas_a_region(self) -> int:
        """So many that the regions that are left carry everything, and two at least, so that one may be taken down."""
        return max(2, math.ceil(self.replicas_needed / (REGIONS - 1)))

    @property
    def kept_days(self) -> float:
        """How long a packet is kept, on average."""
        policy = Policy()
        undecided = 1 - ACCEPTED - REJECTED
        decided = ACCEPTED * policy.handed_over_days + REJECTED * policy.rejected_days
        return decided + (1 - undecided) * DAYS_TO_END + undecided * policy.undecided_days

    @property
    def kept(self) -> float:
        """Packets in the store."""
        return self.packets_a_year / YEAR_DAYS * self.kept_days

    @property
    def objects_tb(self) -> float:
        """Packets, and the message for the producer that an accepted one is sealed into again; one copy."""
        return self.kept * (1 + ACCEPTED) * self.packet_kb / 1e9

    @property
    def rows_gb(self) -> float:
        """The database without what stays for ever."""
        return self.kept * ROW_KB / 1e6

    @property
    def forever_gb_a_year(self) -> float:
        """Log and signed records, which are not deleted."""
        return self.packets_a_year * (LOG_KB + HEAD_KB + RECORDS_KB) / 1e6


def rates(plans: list[Plan]) -> str:
    """Rates and bandwidth."""
    one = plans[0]
    lines = [
        ["", "arithmetic", "result"],
        ["average open day", f"{one.packets_a_year:,} / {OPEN_DAYS} days", f"{one.mean_day:,.0f} packets"],
        ["peak day", f"x {PEAK_DAY:g}", f"{one.peak_day:,.0f}"],
        ["peak hour", f"x {PEAK_HOUR_SHARE:g}", f"{one.peak_day * PEAK_HOUR_SHARE:,.0f}, {one.peak_hour_s:.1f}/s"],
        ["minutes within it", f"x {BURST:g}", f"{one.peak_hour_s * BURST:.1f}/s"],
        [
            "a day's backlog besides",
            f"{one.peak_day:,.0f} / {BACKLOG_DRAIN_H:g} h + the peak hour",
            f"{one.backlog_s:.1f}/s",
        ],
        ["**planned for**", "the larger of both", f"**{one.design_s:.1f}/s**"],
        ["booths", f"peak hour / {VISITS_A_BOOTH_HOUR} visits an hour", f"{one.booths:,}"],
        *(
            [
                f"into the intakes, packets of {plan.packet_kb:g} kB",
                f"{plan.design_s:.1f}/s x {plan.packet_kb:g} kB",
                f"{plan.design_s * plan.packet_kb / 1000:.1f} MB/s, {plan.design_s * plan.packet_kb / 125_000:.2f} Gbit/s",
            ]
            for plan in plans
        ),
        *(
            [
                f"between regions, {plan.packet_kb:g} kB",
                f"x {COPIES - 1} copies elsewhere x (1 + {ACCEPTED:g} handed over)",
                f"{plan.design_s * plan.packet_kb / 125_000 * (COPIES - 1) * (1 + ACCEPTED):.2f} Gbit/s",
            ]
            for plan in plans
        ),
    ]
    return table(lines)


def engines(plans: list[Plan]) -> str:
    """Replicas, database, log."""
    one = plans[0]
    total = one.rows_gb + one.forever_gb_a_year * 10
    log_10 = one.packets_a_year * 10
    lines = [
        ["", "arithmetic", "result"],
        *(
            [
                f"intake replicas, packets of {plan.packet_kb:g} kB",
                f"{plan.design_s:.1f}/s / ({plan.replica_s:g}/s x {HEADROOM:g}) = {plan.replicas_needed:.1f}, carried by {REGIONS - 1} of {REGIONS} regions, two in each at least",
                f"{plan.replicas_a_region} in each region, {plan.replicas_a_region * REGIONS} in all",
            ]
            for plan in plans
        ),
        [
            "commits of the log",
            f"one writer at a time, {APPENDS_A_S_64:g} appends a second measured in batches",
            f"{one.design_s / APPENDS_A_S_64:.0%} of it",
        ],
        [
            "the same across regions",
            "20 ms + 10 ms to the synchronous standby for each commit, at most 64 packets in it",
            f"{64 / 0.03:,.0f}/s at most",
        ],
        [
            "database writes",
            f"{one.design_s:.1f} commits/s (batches of one) x {WAL_KB:g} kB of WAL",
            f"{one.design_s * WAL_KB / 1000:.1f} MB/s, about {one.design_s * (1 + WAL_KB / 8):.0f} IOPS",
        ],
        ["packets kept", f"{one.packets_a_year:,} / {YEAR_DAYS} x {one.kept_days:.1f} days", f"{one.kept / 1e6:.2f} M"],
        ["their rows", f"x {ROW_KB:g} kB", f"{one.rows_gb:.1f} GB"],
        [
            "what stays for ever",
            f"{one.packets_a_year:,} x ({LOG_KB:g} + {HEAD_KB:g} + {RECORDS_KB:.1f}) kB",
            f"{one.forever_gb_a_year:.0f} GB a year",
        ],
        ["database after ten years", "rows + 10 years", f"{total / 1000:.2f} TB"],
        [
            "receipt log after ten years",
            f"{log_10 / 1e6:.0f} M entries",
            f"a proof of {math.ceil(math.log2(log_10))} hashes, {math.ceil(math.log2(log_10)) * 67 / 1000:.1f} kB of a receipt",
        ],
        [
            "`intake log verify` of all of it",
            f"{log_10 / 1e6:.0f} M / {VERIFY_ENTRIES_A_S:,.0f}/s",
            f"{log_10 / VERIFY_ENTRIES_A_S / 3600:.0f} h; one year {one.packets_a_year / VERIFY_ENTRIES_A_S / 3600:.1f} h",
        ],
    ]
    return table(lines)


def storage(plans: list[Plan]) -> str:
    """Objects and backups."""
    lines = [
        ["", "arithmetic", *(f"{plan.packet_kb:g} kB" for plan in plans)],
        [
            "objects, one copy",
            f"{plans[0].kept / 1e6:.2f} M kept x (1 + {ACCEPTED:g}) x size",
            *(f"{plan.objects_tb:.1f} TB" for plan in plans),
        ],
        [f"in {COPIES} regions", f"x {COPIES}", *(f"{plan.objects_tb * COPIES:.1f} TB" for plan in plans)],
        [
            "object writes",
            f"{plans[0].design_s:.1f}/s x (1 + {ACCEPTED:g}), each with its digest in one PUT",
            *(f"{plan.design_s * (1 + ACCEPTED):.0f}/s" for plan in plans),
        ],
        [
            "a peak day's new objects",
            f"{plans[0].peak_day:,.0f} x (1 + {ACCEPTED:g}) x size",
            *(f"{_day_gb(plan):,.0f} GB" for plan in plans),
        ],
        [
            "backup of that day",
            f"over {LINK_GBIT:g} Gbit/s at 80 %",
            *(_duration(_day_gb(plan) / _link_gb_s()) for plan in plans),
        ],
        [
            "backups kept",
            f"objects + {BACKUP_DAYS} days of them",
            *(f"{_backup_tb(plan):.1f} TB" for plan in plans),
        ],
        [
            "all objects back from a backup",
            f"over {LINK_GBIT:g} Gbit/s at 80 %",
            *(_duration(plan.objects_tb * 1000 / _link_gb_s()) for plan in plans),
        ],
    ]
    return table(lines)


def _day_gb(plan: Plan) -> float:
    return plan.peak_day * (1 + ACCEPTED) * plan.packet_kb / 1e6


def _backup_tb(plan: Plan) -> float:
    """What a backup holds is what was kept on any of its days."""
    return plan.objects_tb + plan.packets_a_year / YEAR_DAYS * BACKUP_DAYS * (1 + ACCEPTED) * plan.packet_kb / 1e9


def _link_gb_s() -> float:
    return LINK_GBIT / 8 * 0.8


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"


def table(lines: list[list[str]]) -> str:
    """In Markdown."""
    first, *rest = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([first, "|" + "---|" * len(lines[0]), *rest])


def tables(packets_a_year: int = PACKETS_A_YEAR, packet_kb: float = PACKET_KB) -> dict[str, str]:
    """All of them, by their places in the page."""
    plans = [Plan(packets_a_year, packet_kb), Plan(packets_a_year, LARGE_PACKET_KB)]
    return {"country rates": rates(plans), "country engines": engines(plans), "country storage": storage(plans)}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets-a-year", type=int, default=PACKETS_A_YEAR)
    parser.add_argument("--packet-kb", type=float, default=PACKET_KB)
    parser.add_argument("--fill", action="store_true", help="write the tables into docs/scale.md")
    arguments = parser.parse_args()
    if arguments.fill:
        fill_tables(PAGE, tables())
        return 0
    print("\n\n".join(tables(arguments.packets_a_year, arguments.packet_kb).values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
