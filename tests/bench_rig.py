"""A bench of self-tests made of stand-ins that a test holds in its hand, and one over a real station."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import httpx2
import numpy as np

from booth.bench import Bench
from booth.disk import DiskFiles
from booth.outbox_quota import OutboxStatus
from capture.frames import Frame
from hardware.lights import CHANNELS
from tests.runner_rig import config

# The settings of a booth whose devices nobody reaches, beside its file.
BARE_TOML = """
[booth]
id = "booth-0001"
site = "s"
centre = "c"
data_dir = "."
[camera]
url = "http://127.0.0.1:1/preview.mjpg"
[intake]
url = "https://intake.example"
trust = "ca.pem"
[keys]
signer = "file:booth.key"
recipients = ["desk.hpke.pub"]
"""

NOW = datetime(2026, 11, 23, 3, 30, tzinfo=UTC)
PERIOD_NS = 33_000_000


class Disk(DiskFiles):
    """The real disk, with as much space as it is told."""

    free = 10**10
    refuses = False

    def free_bytes(self, folder):
        return self.free

    def write_new(self, path, data):
        if self.refuses:
            raise OSError(28, "No space left on device")
        super().write_new(path, data)


class Scene:
    """A station before a grey wall: lamps, pictures of them after a delay, noise. Time passes with the pictures."""

    lamps = CHANNELS

    def __init__(self):
        self.levels_pct = dict.fromkeys(CHANNELS, 15.0)
        self.period_ns, self.delay, self.sigma = PERIOD_NS, 1, 1.5
        self.echo_s, self.failure = 0.0, None
        self.shown = [self._light()] * 64
        self.at_ns, self.sequence = 10**9, 0
        self.random = np.random.default_rng(7)
        self.gate = asyncio.Event()
        self.gate.set()

    def _light(self):
        return 20 + sum(self.levels_pct.values()) / 4

    def preview(self):
        return None

    async def next_preview(self, after_sequence):
        await self.gate.wait()
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.sequence += 1
        self.at_ns += self.period_ns
        self.shown.append(self._light())
        pixels = self.shown[-1 - self.delay] + self.random.normal(0, self.sigma, (48, 36, 3))
        return Frame(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), self.at_ns, self.sequence, "JPEG", lossy=True)

    async def set_levels(self, levels_pct, *, seen=True, ramped=True):
        self.levels_pct = {**self.levels_pct, **levels_pct}
        return self.levels_pct

    async def echo_lamps(self):
        await asyncio.sleep(self.echo_s)

    async def read_controls(self):
        await asyncio.sleep(self.echo_s)

    @asynccontextmanager
    async def lent(self):
        base = dict(self.levels_pct)
        try:
            yield base
        finally:
            await self.set_levels(base)


class Intake:
    """Answers the question whether it is there, with its clock."""

    def __init__(self):
        self.status, self.ahead_s, self.failure = 200, 0.0, None

    async def __call__(self, request):
        if self.failure is not None:
            raise self.failure
        date = format_datetime(NOW + timedelta(seconds=self.ahead_s), usegmt=True)
        return httpx2.Response(self.status, json={"status": "ok"}, headers={"Date": date})


def certificate(days=300.0, begun_days=-10.0):
    return SimpleNamespace(
        not_valid_after_utc=NOW + timedelta(days=days), not_valid_before_utc=NOW + timedelta(days=begun_days)
    )


@asynccontextmanager
async def open_bench(folder, **changes):
    """A sound bench; what a test wants otherwise it names."""
    scene, intake = changes.pop("scene", None) or Scene(), changes.pop("intake", None) or Intake()
    with ThreadPoolExecutor(1) as worker:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(intake)) as client:
            bench = Bench(
                config(folder), scene, worker, Disk(), client, certificate, OutboxStatus, lambda: None, lambda: NOW,
                scene.lent,
            )  # fmt: skip
            yield replace(bench, **changes)
