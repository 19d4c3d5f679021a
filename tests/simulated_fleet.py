"""Booths that only tell: each with a key and a certificate of its own, lamps that age, and days with visits; for tests and tests/bench/fleet_beats.py.

The numbers are drawn from a seed, so that each run is the same. One lamp may fail slowly: it loses `LOSS_PCT` a day from the first day on.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from crypto.heartbeat import PATH, Day, Heartbeat, LampLight, RuleCount, SelfTests, Visits
from crypto.http_signature import sign_request
from crypto.issuance import Issuer, Profile, issue
from crypto.keys import FileSigner, load_certificates, load_key
from tests.heartbeats import LAMPS, heartbeat

LOSS_PCT = 0.8
# Two thirds of the booths' real rules would do; these are some of each kind.
RULES = ("pose.yaw", "pose.pitch", "eyes.open", "light.even", "light.shadows", "background.uniform", "mouth.closed")
JSON = {"Content-Type": "application/json"}


@dataclass
class SimulatedBooth:
    """One booth."""

    name: str
    signer: FileSigner
    began: date
    failing: str | None = None  # the lamp that fails
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.name)
        self.told: dict[date, Day] = {}

    def light_pct(self, lamp: str, on: date) -> float:
        """As a nightly test sees it: it scatters by a few tenths, as measured in the virtual booth."""
        lost = LOSS_PCT * (on - self.began).days if lamp == self.failing else 0.0
        return round(99.0 - lost + self.chance.gauss(0, 0.3), 2)

    def day(self, on: date) -> Day:
        """The counts of a day that is over; the same whenever it is told."""
        if on not in self.told:
            portraits = self.chance.randint(20, 60)
            rules = {rule: self._count(portraits) for rule in RULES}
            visits = Visits(
                started=portraits, finished=portraits - 5, cancelled=2, timed_out=1, handed_to_staff=2, overridden=0
            )
            lamps = {lamp: self.light_pct(lamp, on) for lamp in LAMPS}
            self.told[on] = Day(day=on, since=on, portraits=portraits, visits=visits, rules=rules, lamps=lamps)
        return self.told[on]

    def beat(self, at: datetime) -> Heartbeat:
        """What it tells at a time."""
        back = min(7, (at.date() - self.began).days)
        days = tuple(self.day(at.date() - timedelta(days=ago)) for ago in range(back, 0, -1))
        lamps = {lamp: LampLight(response_pct=self.light_pct(lamp, at.date()), drive_pct=60.0) for lamp in LAMPS}
        return heartbeat(booth=self.name, sent_at=at, days=days, lamps=lamps, tests=SelfTests(tested_at=at, passed=21))

    def request(self, base: str, at: datetime) -> tuple[str, bytes, dict[str, str]]:
        """Address, body and headers of a heartbeat, signed."""
        url, body = f"{base}{PATH}", self.beat(at).to_bytes()
        return url, body, JSON | sign_request("POST", url, JSON, body, self.signer, created=at)

    def _count(self, portraits: int) -> RuleCount:
        return RuleCount(failed=sum(self.chance.random() < 0.06 for _ in range(portraits)), assessed=portraits)


def simulated_booths(pki: Path, count: int, began: date, failing: tuple[int, str]) -> Iterator[SimulatedBooth]:
    """Booths that the root in `pki` issued certificates for; the one of this number has a lamp that fails."""
    issuer = Issuer(load_certificates(pki / "ca.pem")[0], load_key(pki / "ca.key", None))
    now = datetime.now(UTC).replace(microsecond=0)
    for number in range(1, count + 1):
        name, key = f"booth-{number:04d}", ec.generate_private_key(ec.SECP384R1())
        signer = FileSigner(issue(issuer, key.public_key(), name, Profile.BOOTH, now), (), key)
        yield SimulatedBooth(name, signer, began, failing[1] if number == failing[0] else None)
