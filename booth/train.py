"""`booth train`: a technician looks for a fault that is hidden in the virtual booth, with the pages and tools of a real one.

Order of operations: make throw-away keys, start the virtual booth and an intake of this training's own, calibrate the sound booth, start the trainer
and the controller; then wait until Ctrl-C. Everything is stopped in the opposite order and the folder removed. Nothing leaves this
machine: the controller refuses a training whose intake is elsewhere (booth/training.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from booth.demo import BOOTH_ID, Sitter, booth_toml, started, started_together
from booth.trainer import BEFORE_CAMERA, Tell, Trainer, choose_faults, listen

if TYPE_CHECKING:
    from booth.config import Config
    from capture.calibration_run import CalibrationRun

SOCKET = "trainer.sock"
WATCH_S = 0.5
# The virtual booth's first large picture takes seconds on a busy machine, longer than a camera may.
CALIBRATION_TRIES = 3


@dataclass(frozen=True)
class TrainOptions:
    """What the command line asked for."""

    fault: str | None = None
    rounds: int = 3
    seed: int | None = None
    lights: str = "wled"
    profile: str = "demo"


@dataclass(frozen=True)
class Training:
    """A training under way."""

    data: Path
    kiosk_url: str
    passphrase: str
    trainer: Trainer


@contextlib.asynccontextmanager
async def running_training(options: TrainOptions) -> AsyncIterator[Training]:
    """Start all programs; stops them and removes their folder on the way out. Raises DemoError when one does not start."""
    from booth.config import Config
    from booth.passphrase import make_passphrase, write_passphrase
    from crypto.keys import make_development_pki

    chance = random.Random(options.seed)  # noqa: S311 - chance for an exercise, not for a secret
    data = Path(tempfile.mkdtemp(prefix="passbooth-train-"))
    try:
        pki = await asyncio.to_thread(make_development_pki, data / "pki", booth=BOOTH_ID)
        server = ["--data", str(data / "intake"), "--pki", str(pki), "--port", "0", "--json-ready"]
        simulator = ["hardware.sim", "visit", "--json", "--lights", options.lights, "--run-dir", str(data / "devices")]
        async with contextlib.AsyncExitStack() as stack:
            virtual, intake = await started_together(
                stack,
                started("virtual-booth", simulator, data),
                started("intake", ["server.cli", "serve", *server], data),
            )
            config = data / "booth.toml"
            settings = booth_toml(virtual.ready["toml"], data, pki, intake.ready["url"], options.profile)
            config.write_text(f'{settings}\n[training]\nsocket = "{data / SOCKET}"\n')
            passphrase = make_passphrase()
            await asyncio.to_thread(write_passphrase, Config.load(config).technician_file, passphrase)
            sitter = Sitter(Path(virtual.ready["control"]))
            await calibrate_sound(Config.load(config), sitter.tell)
            trainer = Trainer(choose_faults(options.fault, options.rounds, chance), sitter.tell, chance)
            listening = await listen(trainer, data / SOCKET)
            stack.callback(listening.close)
            controller = await stack.enter_async_context(
                started("controller", ["booth", "run", "--config", str(config), "--json-ready"], data)
            )
            await trainer.begin()
            yield Training(data, controller.ready["url"], passphrase, trainer)
    finally:
        shutil.rmtree(data, ignore_errors=True)


async def calibrate_sound(config: Config, tell: Tell) -> None:
    """The baseline that every test compares with, taken before anything is hidden. Raises CaptureError, HardwareError."""
    from booth.calibrations import CalibrationStore
    from booth.sealing import Sealer
    from capture.calibration_run import CalibrationRun, Subject
    from capture.errors import CaptureError
    from capture.station import StationSettings, open_station
    from crypto.keys import load_trust
    from hardware.errors import HardwareError
    from validation.check import software

    devices = StationSettings(camera=config.camera, controls=config.controls, lights=config.lights, lift=config.lift)
    async with open_station(devices) as station:
        for left in reversed(range(CALIBRATION_TRIES)):
            run = CalibrationRun(station, config.calibration, Subject(booth=config.booth.id, software=software()))
            hanging = asyncio.create_task(_hang_card(run, tell), name="training card")
            try:
                calibration = await run.perform()
                break
            except (HardwareError, CaptureError):
                if left == 0:
                    raise
            finally:
                hanging.cancel()
                await asyncio.gather(hanging, return_exceptions=True)
    trust = load_trust(config.intake.trust)
    sealer = Sealer.open(config)
    try:
        store = CalibrationStore(config.booth.data_dir, config.booth.id, lambda: trust)
        await asyncio.to_thread(store.save, calibration, sealer.source.current())
    finally:
        sealer.close()


async def _hang_card(run: CalibrationRun, tell: Tell) -> None:
    """Does what the calibration waits for."""
    async for _ in run.published.values():
        if run.step.state == "waiting":
            for order in BEFORE_CAMERA["card" if run.step.key == "card" else "empty"]:
                await tell(**order)
            run.proceed()


async def run_training(options: TrainOptions) -> int:
    """Train until Ctrl-C, and tell the score; 0."""
    console = Console(stderr=True)
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    this = asyncio.current_task()
    assert this is not None
    for number in (signal.SIGINT, signal.SIGTERM):  # while starting; a shell starts background jobs with SIGINT ignored
        loop.add_signal_handler(number, this.cancel)
    stack = contextlib.AsyncExitStack()
    with console.status("Starting the virtual booth, the intake and the controller …"):
        training = await stack.enter_async_context(running_training(options))
    async with stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ending.set)
        print(f"Technician  {training.kiosk_url}technician#training   passphrase {training.passphrase}")
        print(f"Kiosk       {training.kiosk_url}", flush=True)
        console.print(
            "A fault is hidden. Find it with the technician's page, name its cause under Training. Ctrl-C ends."
        )
        await _until_over(training.trainer, ending)
        view = training.trainer.view
        print(f"Score       {view.right} of {view.answered} right, {view.exercises} exercises", flush=True)
        if not ending.is_set():
            console.print("The page stays until Ctrl-C.")
            await ending.wait()
    return 0


async def _until_over(trainer: Trainer, ending: asyncio.Event) -> None:
    """Return when the last exercise was answered, or at Ctrl-C."""
    while not (trainer.view.over or ending.is_set()):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WATCH_S):
                await ending.wait()
