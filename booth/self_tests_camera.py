"""Self-tests of the camera and of the lines to lamps and camera head: rate, delay, noise, echo times.

Nobody sits in the booth while they run, and they change nothing but lamp levels, by a fifth of full drive at most; who runs them restores the lamps.
The delay is taken from the lamps: the time from the acknowledged change to the first picture that shows more than half of it. It holds
exposure, transport and decoding, and is told as zero when the picture was quicker than the acknowledgement.
Noise is the scatter between pictures of the same still scene, in 8-bit steps: 1.4826 × the median of the differences' amount / √2 of the quietest
pair, so that something that moves in a part of the picture does not count.
"""  # noqa: RUF002 - the sign of multiplication

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from booth.self_test import Measured
from capture.station import Station

if TYPE_CHECKING:
    from booth.bench import Bench

RATE_PICTURES = 16
NOISE_PICTURES = 4
STEP_PCT = 20.0
LATENCY_S = 1.2
# Beyond this share of full scale the change of the lamps is no noise.
LEAST_CHANGE = 2.0
FOLLOWED = 0.5
ECHOES = 5
MAD_TO_SIGMA = 1.4826  # of a normal distribution


async def _pictures(station: Station, count: int) -> list[tuple[int, NDArray[np.uint8]]]:
    """So many pictures one after another, coming now."""
    newest = station.preview()
    sequence = -1 if newest is None else newest.sequence
    found: list[tuple[int, NDArray[np.uint8]]] = []
    while len(found) < count:
        frame = await station.next_preview(sequence)
        sequence = frame.sequence
        found.append((frame.at_ns, frame.pixels))
    return found


async def rate(bench: Bench) -> Measured:
    """Pictures per second."""
    taken = await _pictures(bench.station, RATE_PICTURES)
    wanted = bench.config.camera.fps
    hz = (len(taken) - 1) * 1e9 / (taken[-1][0] - taken[0][0])
    # The same share from which the camera's driver calls its rate good again (hardware/picture_state.py).
    return Measured(hz, low=None if wanted is None else 0.75 * wanted)


def noise_of(pictures: list[NDArray[np.uint8]]) -> float:
    """Standard deviation of one picture's values in time."""
    # Small differences are whole numbers, of which a median is coarse: both halves are spread over their step.
    sigmas = []
    for one, other in itertools.pairwise(pictures):
        difference = np.abs(one.astype(np.int16) - other).ravel()
        counts = np.bincount(difference, minlength=2)
        below = np.cumsum(counts) / difference.size
        step = int(np.searchsorted(below, 0.5))
        # A difference of zero stands for -0.5..0.5, one of n for both n-0.5..n+0.5.
        start, width = (0.0, 0.5) if step == 0 else (step - 0.5, 1.0)
        before = below[step - 1] if step else 0.0
        sigmas.append(MAD_TO_SIGMA * (start + width * (0.5 - before) / (below[step] - before)) / np.sqrt(2))
    return float(min(sigmas))


async def noise(bench: Bench) -> Measured:
    """Scatter between pictures of the same scene."""
    pictures = [pixels for _, pixels in await _pictures(bench.station, NOISE_PICTURES)]
    if all(np.array_equal(pictures[0], other) for other in pictures[1:]):
        return Measured(0.0, "camera.frozen", "fail")
    return Measured(noise_of(pictures), "camera.noisy")


def brightness(pixels: NDArray[np.uint8]) -> float:
    """Mean value of a picture, quickly."""
    return float(pixels[::4, ::4].mean())


async def latency(bench: Bench) -> Measured:
    """Milliseconds from an acknowledged change of the lamps to the picture that shows it."""
    station = bench.station
    if not station.lamps:
        return Measured(None, "absent.lamps", "not_assessed")
    async with bench.lamps() as levels:
        return await _latency(station, levels)


async def _latency(station: Station, levels: Mapping[str, float]) -> Measured:
    base = {name: min(levels.get(name, 0.0), 100.0 - STEP_PCT) for name in station.lamps}
    await station.set_levels(base)
    before = float(np.median([brightness(pixels) for _, pixels in await _pictures(station, 3)]))
    await station.set_levels({name: level + STEP_PCT for name, level in base.items()}, seen=False, ramped=False)
    at_ns = time.monotonic_ns()
    seen: list[tuple[int, float]] = []
    newest = station.preview()
    sequence = -1 if newest is None else newest.sequence
    while not seen or seen[-1][0] - at_ns < LATENCY_S * 1e9:
        frame = await station.next_preview(sequence)
        sequence = frame.sequence
        seen.append((frame.at_ns, brightness(frame.pixels)))
        if len(seen) > 6 and seen[-1][1] - before > LEAST_CHANGE and abs(seen[-1][1] - seen[-5][1]) < LEAST_CHANGE / 2:
            break  # it has arrived and stays
    change = float(np.median([value for _, value in seen[-3:]])) - before
    if change < LEAST_CHANGE:
        return Measured(None, "camera.unseen", "fail")
    first = next(each for each, value in seen if value - before > FOLLOWED * change)
    return Measured(max((first - at_ns) / 1e6, 0.0))


async def lamps_echo(bench: Bench) -> Measured:
    """Milliseconds from a lamp order to its acknowledgement; the middle of a few."""
    if not bench.station.lamps:
        return Measured(None, "absent.lamps", "not_assessed")
    took = []
    for _ in range(ECHOES):
        begun = time.perf_counter()
        await bench.station.echo_lamps()
        took.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(0)
    return Measured(float(np.median(took)))


async def controls_echo(bench: Bench) -> Measured:
    """Milliseconds for reading all settings of the camera head."""
    begun = time.perf_counter()
    if await bench.station.read_controls() is None:
        return Measured(None, "absent.controls", "not_assessed")
    return Measured((time.perf_counter() - begun) * 1000)


async def lift_echo(bench: Bench) -> Measured:
    """Milliseconds from an order to stop, where the height drive stands, to its answer; the middle of a few."""
    took = []
    for _ in range(ECHOES):
        begun = time.perf_counter()
        if await bench.station.echo_lift() is None:
            return Measured(None, "absent.lift", "not_assessed")
        took.append((time.perf_counter() - begun) * 1000)
    return Measured(float(np.median(took)))
