"""The fault matrix: every fault at the wire of every device ends in its documented state, is told once with its remedy, and heals by itself.

The cells are data (`fault_tables`); the devices stand in the virtual booth. A round is one cell of each device, side by side: nearly all of the time is
waiting for limits. What is logged is told apart by the device it is about. `--device URL` runs the same cells against a real device: the person
at the device is asked to pull and plug, and what needs the simulator's knobs is skipped. `--heal-times PATH` notes what was measured; nothing is
judged by the clock but `LIMIT_S`, far beyond what is documented (docs/reliability.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hardware.errors import HardwareError
from hardware.link import DeviceState
from tests.wire.fault_benches import BENCH_OF_SCHEME, IMPATIENT_S, PATIENT_S, CameraBench, ask_person, make_bench
from tests.wire.fault_tables import FAULTS, NOT_APPLICABLE, PICTURES, ROUNDS, TABLES, Cell, End

LIMIT_S = 30.0
# How often a condition that nobody announces is looked at.
LOOK_S = 0.02
CALLS = 3
ASIDE = re.compile("camera is (slow|live):")
PICTURE = re.compile("camera is (black|frozen|resized):")
WARM_UP_PICTURES = 20
PHASE_S = 1.5


async def until(true: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    try:
        async with asyncio.timeout(LIMIT_S):
            while not true():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.Event().wait(), LOOK_S)
    except TimeoutError:
        raise AssertionError(f"not within {LIMIT_S:.0f} s: {what}") from None


class MachineTooBusyError(Exception):
    """Nothing can be said of a device's rate on this machine now."""


class Bout:
    """One device, one fault: begun, told, ended, healed."""

    def __init__(self, request: pytest.FixtureRequest, device: str, fault: str, bench: Any, booth: Any) -> None:
        self.device, self.fault, self.cell = device, fault, TABLES[device][fault]
        self.bench, self.booth = bench, booth
        self._config = request.config
        self.states: list[DeviceState] = []
        self._lines: list[logging.LogRecord] = []

    def hear(self, line: logging.LogRecord) -> bool:
        """A line that a driver logged; whether it is about this device."""
        about = bool(self.bench.is_about(line.getMessage()))
        if about:
            self._lines.append(line)
        return about

    def forget(self) -> None:
        """What was logged until now counts no more."""
        self._lines.clear()

    @property
    def told(self) -> tuple[list[str], list[str]]:
        """What the device logged: that something is wrong, and that all is well again.

        A shared machine's own slowness may be told beside the fault, and is set aside: slow pictures count as live ones.
        """
        worse, better, live = [], [], True
        for one in self._lines:
            text = one.getMessage()
            if self.cell.ends is not End.SLOW and ASIDE.match(text):
                if not live:
                    better.append(text)
                live = True
            elif one.levelno >= logging.WARNING:
                worse.append(text)
                live = live and not PICTURE.match(text)
            else:
                better.append(text)
        return worse, better

    def note(self, **measured: Any) -> None:
        """Write down what was measured, when asked to."""
        path = self._config.getoption("--heal-times")
        if path is not None:
            line = {"device": self.device, "fault": self.fault, "ends": self.cell.ends.value, **measured}
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    async def begin(self) -> None:
        """The fault comes."""
        if self.booth is None:
            await self._ask(0)
        elif self.cell.knob:
            self.booth.fault(self.cell.knob, **self.cell.options)

    async def require_rate(self, driver: Any, fps: float) -> None:
        """A machine too busy for even this rate cannot tell whose slowness it sees."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while driver.status.info["picture"] != "live" or float(driver.status.info["fps"]) < fps:
                    await self.bench.prove(driver)
        except TimeoutError:
            raise MachineTooBusyError(f"this machine does not deliver {fps:g} pictures a second now") from None

    async def pause(self) -> None:
        """When times are measured, the device returns at any moment of the driver's attempts, not right after one."""
        if self._config.getoption("--heal-times") is not None:
            await asyncio.sleep(random.uniform(0, PHASE_S))

    async def end(self) -> int:
        """The device returns; when."""
        if self.booth is None:
            await self._ask(1)
        elif self.cell.knob:
            self.booth.fault(self.cell.knob, on=False)
            if self.cell.knob == "camera.move":
                self.bench.look_where_it_is()
        return time.monotonic_ns()

    async def _ask(self, which: int) -> None:
        assert self.cell.by_hand is not None
        if self.cell.by_hand[which] != "nothing":
            await ask_person(self._config, f"{self.device}: {self.cell.by_hand[which]}")

    async def prove(self, driver: Any) -> None:
        if self.fault == "unplug while writing" and isinstance(self.bench, CameraBench):
            await self.bench.prove_still(driver)
        else:
            await self.bench.prove(driver)

    async def failure(self, driver: Any) -> HardwareError:
        """What a call raises while the fault lasts."""
        self.bench.patience_s = IMPATIENT_S
        try:
            async with asyncio.timeout(LIMIT_S):
                while True:
                    try:
                        await self.prove(driver)
                    except HardwareError as error:
                        return error
        finally:
            self.bench.patience_s = PATIENT_S


@pytest.fixture(scope="session")
def booths(request: pytest.FixtureRequest, start_booth: Callable[[str], Any]) -> Mapping[str, Any]:
    """The virtual booths by scenario; none beside a real device."""
    real = request.config.getoption("--device") is not None
    return {} if real else {scenario: start_booth(scenario) for scenario in ("seated", "dmx-fine")}


@pytest.fixture
def bouts(
    request: pytest.FixtureRequest, booths: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sequence[Bout]]:
    """The round's cells; with a real device its own alone."""
    url = request.config.getoption("--device")
    found, why = [], ""
    for device, fault in request.param:
        cell = TABLES[device][fault]
        if url is not None and BENCH_OF_SCHEME.get(url.partition(":")[0]) != device:
            continue
        if url is not None and cell.by_hand is None:
            why = f"'{FAULTS[fault]}' needs the simulator's knob {cell.knob}"
            continue
        bench, booth = make_bench(device, url, booths)
        if cell.knob == "camera.move":
            bench.named(monkeypatch)
        if cell.calm_fps is not None:
            bench.calm(cell.calm_fps)
        found.append(Bout(request, device, fault, bench, booth))
    if not found:
        pytest.skip(why or f"{url} has no cell in this round")
    yield found
    for bout in found:
        if bout.booth is not None:
            bout.booth.mend()
            if bout.cell.knob == "camera.move":
                bout.booth.fault("camera.move")
                bout.booth.fault("camera.move", on=False)  # back at its first address, for the tests that follow


class Ear(logging.Handler):
    """Gives each line to the bout that it is about."""

    def __init__(self, bouts: Sequence[Bout]) -> None:
        super().__init__(logging.INFO)
        self._bouts = bouts
        self.stray: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        heard = [bout for bout in self._bouts if bout.hear(record)]
        if not heard:
            self.stray.append(record.getMessage())


@pytest.fixture
def ear(bouts: Sequence[Bout], caplog: pytest.LogCaptureFixture) -> Iterator[Ear]:
    caplog.set_level(logging.INFO, logger="hardware")
    ear = Ear(bouts)
    logging.getLogger("hardware").addHandler(ear)
    yield ear
    logging.getLogger("hardware").removeHandler(ear)


def names(cells: Sequence[tuple[str, str]]) -> str:
    return "+".join(f"{device}-{fault}" for device, fault in cells)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("bouts", ROUNDS, indirect=True, ids=names)
async def test_a_fault_ends_as_documented_is_told_once_and_heals(bouts, ear, no_tasks_left):
    ended = await asyncio.gather(*(run(bout) for bout in bouts), return_exceptions=True)
    failed: list[Exception] = []
    busy = []
    for bout, outcome in zip(bouts, ended, strict=True):
        if isinstance(outcome, MachineTooBusyError):
            busy.append(str(outcome))
        elif isinstance(outcome, Exception):
            outcome.add_note(f"{bout.device}: {FAULTS[bout.fault]}; told {bout.told}")
            failed.append(outcome)
        elif outcome is not None:
            raise outcome
    if len(failed) == 1:
        raise failed[0]
    if failed:
        raise ExceptionGroup("several devices", failed)
    assert ear.stray == [], "every line is about one of the devices"
    if busy:
        pytest.skip(f"{busy[0]}; the other devices of the round are as documented")


async def run(bout: Bout) -> None:
    """One cell, from a device that works to one that works again."""
    cell: Cell = bout.cell
    if cell.ends is End.MISSING:
        await hold_and_heal(bout)
        return
    async with bout.bench.open(lambda status: bout.states.append(status.state)) as driver:
        await until(lambda: driver.status.state is DeviceState.READY, f"ready at first ({driver.status.detail})")
        for _ in range(WARM_UP_PICTURES if cell.ends is End.SLOW else CALLS):
            await bout.bench.prove(driver)
        await until(lambda: bout.states == [DeviceState.READY], "the first state is told")
        if cell.calm_fps is not None:
            await bout.require_rate(driver, 0.9 * cell.calm_fps)
        bout.forget()
        begun_ns = time.monotonic_ns()
        await bout.begin()
        if cell.ends is End.WORKS:
            for _ in range(CALLS):
                await bout.prove(driver)
            await bout.end()
            await bout.bench.require_restored(driver)
            assert bout.states == [DeviceState.READY]
            assert bout.told == ([], [])
            bout.note(told_s=None, healed_s=None, detail=driver.status.detail)
            return
        told_ns, detail = await ends_as_documented(bout, driver)
        assert re.search(cell.says, detail), detail
        assert len(bout.told[0]) == 1, bout.told
        await bout.pause()
        returned_ns = await bout.end()
        healed_ns = await heals(bout, driver)
        await bout.bench.require_restored(driver)
        await bout.bench.prove(driver)
        assert [len(lines) for lines in bout.told] == [1, 1], bout.told
        back = [] if cell.ends in PICTURES or cell.ends is End.REFUSES else [DeviceState.LOST, DeviceState.READY]
        await until(lambda: bout.states == [DeviceState.READY, *back], f"told once each way: {bout.states}")
        bout.note(told_s=(told_ns - begun_ns) / 1e9, healed_s=(healed_ns - returned_ns) / 1e9, detail=detail)


async def ends_as_documented(bout: Bout, driver: Any) -> tuple[int, str]:
    """Wait for the documented state; when it was told, and the words."""
    if bout.cell.ends in PICTURES:
        await until(lambda: driver.status.info["picture"] == bout.cell.ends.picture, f"the picture is {bout.cell.ends}")
        assert driver.status.state is DeviceState.READY
        await bout.bench.prove(driver)
        return time.monotonic_ns(), driver.status.detail
    if bout.fault != "unplug while idle":
        error = await bout.failure(driver)
        assert error.code in bout.cell.raises, f"{error.code}: {error}"
    if bout.cell.ends is End.REFUSES:
        again = await bout.failure(driver)
        assert again.code in bout.cell.raises
        assert driver.status.state is DeviceState.READY
        return time.monotonic_ns(), driver.status.detail
    await until(lambda: driver.status.state is DeviceState.LOST, f"{bout.device} is lost")
    lost = driver.status
    later = await bout.failure(driver)
    assert later.retry, later.code
    # Tried again at least once, and not told again.
    await until(lambda: driver.status is not lost, "another attempt")
    first = lost.detail if re.search(bout.cell.says, lost.detail) else ""
    await until(
        lambda: bool(first or re.search(bout.cell.says, driver.status.detail)), f"words: {driver.status.detail}"
    )
    return lost.since_ns, first or driver.status.detail


async def heals(bout: Bout, driver: Any) -> int:
    """Wait until the device is used again; when that was."""
    if bout.cell.ends is End.REFUSES:
        async with asyncio.timeout(LIMIT_S):
            while True:
                with contextlib.suppress(HardwareError):
                    await bout.bench.prove(driver)
                    return time.monotonic_ns()
    if bout.cell.ends in PICTURES:
        await until(lambda: driver.status.info["picture"] == "live", "the picture is live again")
        return time.monotonic_ns()
    await until(lambda: driver.status.state is DeviceState.READY, f"ready again ({bout.device})")
    return int(driver.status.since_ns)


async def hold_and_heal(bout: Bout) -> None:
    """Another program has the device first."""
    with bout.bench.held():
        await bout.begin()
        begun_ns = time.monotonic_ns()
        opening = bout.bench.open(lambda status: bout.states.append(status.state))
        driver = await opening.__aenter__()
        try:
            await until(lambda: driver.status.state is DeviceState.MISSING, "told as missing")
            missing = driver.status
            error = await bout.failure(driver)
            assert error.code in bout.cell.raises
            await until(lambda: driver.status is not missing, "another attempt")
            detail = driver.status.detail
            assert re.search(bout.cell.says, detail), detail
            assert len(bout.told[0]) == 1, bout.told
            await bout.pause()
        except BaseException:
            await opening.__aexit__(None, None, None)
            raise
    try:
        returned_ns = time.monotonic_ns()
        await until(lambda: driver.status.state is DeviceState.READY, "ready when the other program ended")
        healed_ns = driver.status.since_ns
        await bout.bench.prove(driver)
        await until(lambda: bout.states == [DeviceState.MISSING, DeviceState.READY], f"told once: {bout.states}")
        assert [len(lines) for lines in bout.told] == [1, 1], bout.told
        bout.note(told_s=(missing.since_ns - begun_ns) / 1e9, healed_s=(healed_ns - returned_ns) / 1e9, detail=detail)
    finally:
        await opening.__aexit__(None, None, None)


async def test_a_stream_that_froze_is_opened_anew_and_lives(booths, caplog, no_tasks_left):
    """The one fault that heals before the device does: the camera is well, its stream is not."""
    if not booths:
        pytest.skip("needs the simulator's knob camera.freeze_stream")
    caplog.set_level(logging.INFO, logger="hardware")
    bench, booth = make_bench("camera", None, booths)
    states: list[DeviceState] = []
    async with bench.open(lambda status: states.append(status.state)) as driver:
        await until(lambda: driver.status.info.get("picture") == "live", "pictures at first")
        streams = booth.state("camera")["streams"]
        booth.fault("camera.freeze_stream")
        try:
            told = lambda: [one.getMessage() for one in caplog.records if PICTURE.match(one.getMessage())]  # noqa: E731 - looked at twice
            await until(lambda: len(told()) == 1, "told as frozen")
            begun_ns = time.monotonic_ns()
            await until(lambda: driver.status.info["picture"] == "live", "live again, with the fault still there")
            healed_s = (time.monotonic_ns() - begun_ns) / 1e9
            await bench.prove(driver)
        finally:
            booth.mend()
        assert booth.state("camera")["streams"] == streams + 1
        assert "frozen: switch the camera off and on" in told()[0]
    assert states == [DeviceState.READY], "never lost"
    print(f"opened anew and live {healed_s:.1f} s after it was told")


def test_every_cell_stands_in_one_round_beside_other_devices():
    cells = [cell for cells in ROUNDS for cell in cells]
    assert sorted(cells) == sorted((device, fault) for device, table in TABLES.items() for fault in table)
    for together in ROUNDS:
        assert len({device for device, _ in together}) == len(together)


def test_every_fault_has_a_cell_or_a_reason_for_every_device():
    for fault in FAULTS:
        for device, cells in TABLES.items():
            assert (fault in cells) != ((fault, device) in NOT_APPLICABLE), (fault, device)
    for cells in TABLES.values():
        assert set(cells) <= set(FAULTS)
        for fault, cell in cells.items():
            assert cell.says or cell.ends is End.WORKS, fault
