"""How long a calibration of the virtual booth takes, and how much repeated ones spread.

    python -m tests.bench.calibrations [times] [--json]

A booth that does not change is calibrated again and again over its serial lines and its camera; printed are the duration and, for every value
that has a drift limit, mean, spread (standard deviation), range and the limit. Sensor noise, serial lines and lamp drives are the virtual booth's.
"""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from capture.calibration import MEASURES, Calibration, drift
from capture.calibration_run import CalibrationRun, CalibrationSettings, StepState, Subject
from capture.station import StationSettings, open_station

PROJECT = Path(__file__).resolve().parents[2]
SETTINGS = CalibrationSettings()


def order(control: str, **orders: object) -> None:
    """Gives the virtual booth an order."""
    with socket.socket(socket.AF_UNIX) as line, line.makefile("rb") as answers:
        line.connect(control)
        line.sendall(json.dumps(orders).encode() + b"\n")
        answer = json.loads(answers.readline())
    if not answer.get("ok"):
        raise SystemExit(f"the virtual booth refuses {orders}: {answer}")


async def follow(run: CalibrationRun, control: str) -> None:
    """Does what the steps wait for: empties the booth, hangs the card."""
    async for _ in run.published.values():
        if run.step.state is StepState.WAITING:
            if run.step.problem is not None:
                raise SystemExit(f"the card cannot be read: {run.step.problem}")
            order(control, card="test" if run.step.key == "card" else None)
            run.proceed()


async def calibrate(settings: StationSettings, control: str, times: int) -> list[tuple[float, Calibration]]:
    """As many calibrations, and how long each took."""
    done = []
    async with open_station(settings) as station:
        for _ in range(times):
            run = CalibrationRun(station, SETTINGS, Subject(booth="booth-0001", software="bench"))
            began = time.monotonic()
            async with asyncio.TaskGroup() as group:
                following = group.create_task(follow(run, control))
                calibration = await run.perform()
                following.cancel()
            done.append((time.monotonic() - began, calibration))
    return done


def main() -> None:
    numbers = [argument for argument in sys.argv[1:] if argument.isdecimal()]
    times = int(numbers[0]) if numbers else 10
    process = subprocess.Popen(
        [sys.executable, "-m", "hardware.sim", "visit", "--json", "--with-parent"], stdout=subprocess.PIPE, cwd=PROJECT
    )
    try:
        told = json.loads(process.stdout.readline())
        tree = tomllib.loads(told["toml"])
        settings = StationSettings.model_validate({key: tree[key] for key in ("camera", "controls", "lights")})
        done = asyncio.run(calibrate(settings, told["control"], times))
    finally:
        process.terminate()
        process.wait()
    seconds = [took for took, _ in done]
    rows = {}
    for key, measure in MEASURES.items():
        values = [measure.read(calibration) for _, calibration in done]
        rows[key] = (values, measure.low, measure.high, measure.relative, measure.unit)
    first = done[0][1]
    for _, calibration in done:
        for row in drift(calibration, first):
            if row.key.startswith("lamp."):
                rows.setdefault(row.key, ([], row.low, row.high, False, row.unit))[0].append(row.value)
    if "--json" in sys.argv:
        print(json.dumps({"seconds": seconds, "values": {key: row[0] for key, row in rows.items()}}))
        return
    print(f"{times} calibrations: {statistics.mean(seconds):.1f} s each ({min(seconds):.1f} to {max(seconds):.1f} s)")
    print(f"{'value':32}{'mean':>12}{'spread':>10}{'range':>10}  drift limit")
    for key, (values, low, high, relative, unit) in rows.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        limit = " to ".join("-" if each is None else f"{each:+g}" for each in (low, high))
        unit_of_limit = "% of it" if relative else unit
        print(
            f"{key:32}{statistics.mean(values):12.4f}{spread:10.4f}{max(values) - min(values):10.4f}  {limit} {unit_of_limit}"
        )
    print(done[-1][1].white_balance, done[-1][1].sharpness, done[-1][1].noise, done[-1][1].exposure, sep="\n")


if __name__ == "__main__":
    main()
