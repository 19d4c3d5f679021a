"""Self-tests of the machine: disk, clock, certificate, the way to the intake, and what waits for it.

Each takes the `Bench` and returns what it measured. They ask nothing of the camera or the lamps, so that they work on a booth without devices.
The clock: the intake's `Date` of an answer over TLS that leads to our own trust root, to the second, minus ours; half of the request's time is taken
off. Without an answer now the newest one that the uplink remembers counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2

from booth.errors import UplinkError
from booth.intake_answers import read_bounded, read_skew_s
from booth.self_test import Measured, Verdict
from capture.calibration import EARLIEST_AGE_DAYS
from crypto.errors import CryptoError

if TYPE_CHECKING:
    from booth.bench import Bench

MB = 1e6
PROBE_BYTES = 4096
PROBE_NAME = "diagnose.probe"
MAX_HEALTH_BYTES = 65_536
HOUR_S = 3600.0
DAY_S = 86_400.0
# Least space that a booth needs whatever [outbox] says: a handful of the largest packets (6 MB, product.md), the log and the history.
LEAST_FREE_BYTES = 64_000_000
# An intake that is slower delays every delivery; the booth itself gives up after [intake] timeout_s.
RECALIBRATE_DAYS = 7.0
WAITING_TOO_LONG = 0.5  # of [outbox] max_age_days: half of the time until the booth lets nobody in is gone


async def free_disk(bench: Bench) -> Measured:
    """Space left where packets go, and whether a file can be written and made durable there."""
    folder = bench.config.booth.data_dir
    free = await bench.blocking(bench.files.free_bytes, folder)
    low = max(bench.config.outbox.min_free_bytes, LEAST_FREE_BYTES)
    try:
        await bench.blocking(_write_probe, bench, folder / PROBE_NAME)
    except OSError:
        cause = "disk.full" if free < low else "disk.unwritable"
        return Measured(free / MB, cause, "fail", low=low / MB)
    return Measured(free / MB, low=low / MB)


def _write_probe(bench: Bench, path: Path) -> None:
    bench.files.remove(path)  # of a run that was killed
    try:
        bench.files.write_new(path, bytes(PROBE_BYTES))
    finally:
        with contextlib.suppress(
            OSError
        ):  # what cannot be written cannot always be removed; the write's own error is told
            bench.files.remove(path)


async def _ask_intake(bench: Bench) -> tuple[int, float, float | None]:
    """Status, seconds and clock difference of one question; raises httpx2.HTTPError, TimeoutError, OSError, UplinkError."""
    settings = bench.config.intake
    begun = time.perf_counter()
    async with asyncio.timeout(settings.timeout_s):
        async with bench.client.stream("GET", f"{settings.url}/v1/health") as answer:
            await read_bounded(answer, MAX_HEALTH_BYTES)
    took_s = time.perf_counter() - begun
    skew_s = read_skew_s(answer.headers, bench.utc().timestamp() - took_s / 2)
    return answer.status_code, took_s, skew_s


NO_ANSWER = (httpx2.HTTPError, TimeoutError, OSError, UplinkError)


async def intake_reachable(bench: Bench) -> Measured:
    """How long the intake takes for the smallest answer."""
    try:
        status, took_s, _ = await _ask_intake(bench)
    except NO_ANSWER:
        return Measured(None, "intake.silent", "fail")
    if status != 200:
        return Measured(took_s * 1000, "intake.other", "fail", {"status": str(status)})
    return Measured(took_s * 1000)


async def clock_skew(bench: Bench) -> Measured:
    """The intake's clock minus ours."""
    try:
        skew_s = (await _ask_intake(bench))[2]
    except NO_ANSWER:
        skew_s = None
    if skew_s is None:
        skew_s = bench.known_skew_s()
    return Measured(None, "clock.unknown", "not_assessed") if skew_s is None else Measured(skew_s)


async def certificate_days(bench: Bench) -> Measured:
    """Days until the booth's certificate ends; below zero when it has ended."""
    try:
        certificate = await bench.blocking(bench.certificate)
    except (CryptoError, OSError):
        return Measured(None, "certificate.unreadable", "fail")
    now = bench.utc()
    days = (certificate.not_valid_after_utc - now).total_seconds() / DAY_S
    if now < certificate.not_valid_before_utc:
        return Measured(days, "certificate.early", "fail")
    return Measured(days, "certificate.expired" if days < 0 else "certificate.ending")


async def outbox_age(bench: Bench) -> Measured:
    """Hours that the oldest packet has waited for its receipt."""
    status = await bench.blocking(bench.outbox)
    high = bench.config.outbox.max_age_days * WAITING_TOO_LONG * DAY_S / HOUR_S
    age_h = 0.0 if status.oldest_at is None else max(bench.utc().timestamp() - status.oldest_at, 0.0) / HOUR_S
    if status.damaged:
        return Measured(age_h, "outbox.damaged", "fail", {"count": str(status.damaged)}, high=high)
    if status.refused:
        return Measured(age_h, "outbox.refused", "fail", {"count": str(status.refused)}, high=high)
    return Measured(age_h, high=high)


async def calibration_age(bench: Bench) -> Measured:
    """Days since the last calibration, and how many it holds."""
    try:
        known = await bench.blocking(bench.calibration)
    except (CryptoError, OSError):
        return Measured(None, "calibration.unusable", "fail")
    if known is None:
        return Measured(None, "absent.calibration", "warn")
    now = bench.utc()
    left_days = (known.expires_at - now).total_seconds() / DAY_S
    holds_days = (known.expires_at - known.made_at).total_seconds() / DAY_S
    ending: Verdict | None = "warn" if left_days < RECALIBRATE_DAYS else None
    return Measured(known.age_days(now), "calibration.old", ending, low=EARLIEST_AGE_DAYS, high=holds_days)
