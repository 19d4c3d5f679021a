"""The bench of a booth whose controller does not run: `booth diagnose` opens the devices itself, and leaves them as it found them.

Only looks at the outbox, the keys and the calibrations; asks the intake nothing but whether it is there. The lamps get standby light while tests run and
afterwards: nobody would dim them again. Devices that are missing are findings, not errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import httpx2

from booth.bench import Bench
from booth.calibrations import CalibrationInUse, CalibrationStore
from booth.config import Config
from booth.disk import DiskFiles
from booth.errors import OutboxDamagedError
from booth.intake_answers import trusting
from booth.outbox_audit import read_entries
from booth.outbox_database import PacketState
from booth.outbox_quota import OutboxStatus
from capture.station import Station, StationSettings, open_station
from crypto.keys import SignerSource, load_trust


@asynccontextmanager
async def open_bench_alone(config: Config) -> AsyncIterator[Bench]:
    """Everything that self-tests need, without a controller. Raises ConfigInvalidError, SettingsError."""
    settings = StationSettings(camera=config.camera, controls=config.controls, lights=config.lights, lift=config.lift)
    async with AsyncExitStack() as stack:
        worker = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="worker"))
        source = SignerSource(config.keys.signer, config.passphrase, config.keys.certificate)
        stack.callback(source.close)
        client = await stack.enter_async_context(
            httpx2.AsyncClient(verify=trusting(config.intake.trust), timeout=config.intake.timeout_s, trust_env=False)
        )
        station = await stack.enter_async_context(open_station(settings))
        trust = load_trust(config.intake.trust)
        calibrations = CalibrationStore(config.booth.data_dir, config.booth.id, lambda: trust)
        # One that cannot be believed is a finding of its own (`calibration.age`).
        in_use = CalibrationInUse()
        await in_use.load(calibrations, worker, station)
        yield Bench(
            config=config,
            station=station,
            worker=worker,
            files=DiskFiles(),
            client=client,
            certificate=source.certificate,
            outbox=lambda: outbox_status(config),
            known_skew_s=lambda: None,
            utc=lambda: datetime.now(UTC),
            lend=lambda: _lent(station),
            calibration=calibrations.current,
            baseline=calibrations.baseline,
            calibration_settings=config.calibration,
            save=lambda found: calibrations.save(found, source.current()),
            adopt=lambda found: in_use.use(found, station),
        )


@asynccontextmanager
async def _lent(station: Station) -> AsyncIterator[Mapping[str, float]]:
    """The lamps, in standby light before and after."""
    await station.set_standby_light()
    try:
        yield dict(station.levels_pct)
    finally:
        # An interrupt must not leave a booth glaring over night.
        await asyncio.shield(station.set_standby_light())


def outbox_status(config: Config) -> OutboxStatus:
    """What waits, read beside whoever has the outbox open; blocks."""
    folder = config.booth.data_dir / "outbox"
    try:
        entries = read_entries(folder)
    except OutboxDamagedError:
        return OutboxStatus(damaged=1)
    count = {state: sum(entry.state is state for entry in entries) for state in PacketState}
    waiting = [entry.created_at for entry in entries if entry.state is PacketState.WAITING]
    return OutboxStatus(
        waiting=count[PacketState.WAITING],
        refused=count[PacketState.REFUSED],
        damaged=count[PacketState.DAMAGED],
        stored_bytes=sum(entry.size for entry in entries if entry.state is not PacketState.RECEIPTED),
        oldest_at=min(waiting, default=None),
    )
