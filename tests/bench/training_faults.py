"""Whether every fault that `booth train` hides can be found with the page's own tools.

    python -m tests.bench.training_faults [--json]

One training with every fault once. For each: devices and health are looked at, all self-tests run (with the test card, hung when it is asked for), and the
findings that are not met are printed, worst first, beside the answer that is right. Exits with 1 when a fault shows nowhere, or a sound booth shows one.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import dataclass
from typing import Any

import httpx2

from booth.train import TrainOptions, running_training
from booth.trainer import FAULTS

SETTLE_S = 12.0  # a lost device is noticed, a repaired booth clears and invites
RUN_S = 240.0
GRAVITY = ("fail", "warn")


@dataclass(frozen=True)
class Seen:
    """What the page shows of one hidden fault."""

    name: str
    fault: str | None
    devices: tuple[str, ...]  # not ready
    findings: tuple[str, ...]  # id and cause, the failed ones first
    seconds: float

    @property
    def shown(self) -> bool:
        """Whether there is anything to see."""
        return bool(self.devices or self.findings or self.fault)


class Page:
    """What a technician's page does, without the page."""

    def __init__(self, address: str, passphrase: str) -> None:
        self._client = httpx2.AsyncClient(base_url=address, timeout=60.0)
        self._passphrase = passphrase

    async def log_in(self) -> None:
        """Open a session."""
        page = (await self._client.get("/technician")).text
        self._client.headers["X-Kiosk-Token"] = re.search(r'kiosk-token" content="([^"]+)"', page).group(1)
        (await self._client.post("/api/technician/session", json={"passphrase": self._passphrase})).raise_for_status()

    async def get(self, path: str) -> dict[str, Any]:
        """What is shown."""
        answer = await self._client.get(f"/api/technician{path}")
        return answer.raise_for_status().json()

    async def tell(self, path: str, **body: object) -> int:
        """Do something; the status of the answer."""
        return (await self._client.post(f"/api/technician{path}", json=body)).status_code

    async def close(self) -> None:
        """Leave."""
        await self._client.aclose()


async def look(page: Page, name: str) -> Seen:
    """Run the tests and tell what is to be seen."""
    began = time.monotonic()
    await asyncio.sleep(SETTLE_S)
    status = await page.get("")
    while await page.tell("/tests", attended=True) != 202:
        await asyncio.sleep(1.0)
        if time.monotonic() - began > RUN_S:
            break
    while (work := await page.get("/maintenance"))["state"]["busy"] and time.monotonic() - began < RUN_S:
        if work["state"]["tests"]["waiting"]:
            await page.tell("/training/scene", scene="card")
            await asyncio.sleep(1.0)
            await page.tell("/maintenance/proceed")
        await asyncio.sleep(0.5)
    findings = work["state"]["tests"]["findings"]
    poor = [f"{one['id']}: {one['cause']}" for verdict in GRAVITY for one in findings if one["verdict"] == verdict]
    fault = None if status["fault"] is None else status["fault"]["code"]
    devices = tuple(f"{one['name']} {one['state']}" for one in status["devices"] if one["state"] != "ready")
    return Seen(name, fault, devices, tuple(poor), time.monotonic() - began)


async def measure() -> list[Seen]:
    """Every fault, one after the other."""
    seen = []
    async with running_training(TrainOptions(rounds=len(FAULTS), seed=1)) as training:
        page = Page(training.kiosk_url, training.passphrase)
        await page.log_in()
        for fault in training.trainer.faults:
            seen.append(await look(page, fault.name))
            print(".", end="", flush=True, file=sys.stderr)
            await page.tell("/training/answer", cause=fault.cause)
            await page.tell("/training/next")
        await page.close()
    return seen


def main() -> int:
    """Print what is seen; 1 when something is not."""
    seen = asyncio.run(measure())
    if "--json" in sys.argv[1:]:
        print(json.dumps([one.__dict__ for one in seen], indent=2))
    for one in seen:
        told = "; ".join([*one.devices, *([one.fault] if one.fault else []), *one.findings]) or "nothing"
        print(f"{one.name:17} {one.seconds:5.0f} s  {told}")
    return int(any(one.shown == (one.name == "nothing") for one in seen))


if __name__ == "__main__":
    sys.exit(main())
