"""How many bytes a line that keeps breaking costs: packets of 1 to 6 MB through cuts at random bytes, to a real intake over TLS.

    .venv/bin/python -m tests.bench.network_waste                       60 packets per line, all lines
    .venv/bin/python -m tests.bench.network_waste --packets 10 --seed 7 --line "0.5 MB" --mbit 20

Waste = bytes that the booth sent up the line (TLS, request heads and signatures included), beyond the packets' own bytes, over these. Lines: cut
at a byte drawn below 6 MB, 2 MB and 0.5 MB in every connection, by a reset or an orderly end, every fifth on the way back. Every packet must
arrive exactly once. Exit code 1 when one wastes more than 10 %.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.network_rig import Line, check_delivered_once, cutting, delivering, serving
from tests.sealed_packets import Keys

LINES = {"6 MB": 6_000_000, "2 MB": 2_000_000, "0.5 MB": 500_000}
MOST = 0.10
PATIENCE_S = 600.0
# What is on its way when a connection is reset is lost, and loopback has no limit.
MBIT_PER_S = 100.0


async def measure(
    folder: Path, keys: Keys, packets: list[bytes], up: int, seed: int, mbit_per_s: float
) -> dict[str, float]:
    """The figures of one line."""
    sizes = sum(map(len, packets))
    async with serving(keys.folder, folder / "data") as (port, _), Line(port, mbit_per_s * 125_000) as line:
        async with delivering(folder / "outbox", keys.folder, line.url) as booth:
            line.weather = cutting(random.Random(seed), up)
            start = time.monotonic()
            for packet in packets:
                booth.outbox.put(packet, "id")
            booth.uplink.wake()
            await booth.all_delivered(PATIENCE_S)
            seconds = time.monotonic() - start
            check_delivered_once(
                booth.outbox, keys.folder, folder / "data", [hashlib.sha256(packet).hexdigest() for packet in packets]
            )
            attempts = sum(entry.attempts for entry in booth.outbox.entries())
        return {
            "packets": len(packets),
            "bytes": sizes,
            "connections": line.connections,
            "cuts": line.cuts,
            "attempts": attempts,
            "waste": line.up_bytes / sizes - 1,
            "seconds": seconds,
        }


def make_packets(keys: Keys, count: int, seed: int) -> list[bytes]:
    """Sealed packets of 1 to 6 MB."""
    chance = random.Random(seed)
    return [keys.packet(padding=chance.randrange(900_000, 5_900_000)) for _ in range(count)]


def main() -> int:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--line", choices=tuple(LINES), help="only this one")
    parser.add_argument("--mbit", type=float, default=MBIT_PER_S, help="the line's speed in Mbit/s")
    chosen = parser.parse_args()
    good = True
    for name, up in LINES.items():
        if chosen.line not in {None, name}:
            continue
        with tempfile.TemporaryDirectory() as place:
            keys = Keys(Path(place) / "pki")
            packets = make_packets(keys, chosen.packets, chosen.seed)
            told = asyncio.run(measure(Path(place), keys, packets, up, chosen.seed, chosen.mbit))
        print(
            f"cut below {name:>6}: {told['packets']} packets, {told['bytes'] / 1e6:.1f} MB, {told['connections']} connections, "
            f"{told['cuts']} cuts, {told['attempts']} attempts, waste {told['waste']:.1%}, {told['seconds']:.1f} s",
            flush=True,
        )
        good &= told["waste"] <= MOST
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
