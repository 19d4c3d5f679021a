"""The technician's view, put together from what the rooms say of themselves. Reading only; no personal data."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from booth.config import Config
from booth.health import Health
from booth.kiosk import DeviceView, FaultNotice, IntakeView, KioskFinding, OutboxView, StateName, TechnicianStatus
from booth.outbox import OutboxStatus
from booth.sealing import Sealer
from booth.uplink import UplinkStatus
from capture.station import Station
from hardware.link import DeviceState, DeviceStatus
from validation.profile import Profile

MEASURED = frozenset({"fps", "picture"})  # of what a camera tells: true only while it delivers pictures


def technician_status(
    *,
    state: StateName,
    config: Config,
    profile: Profile,
    software: str,
    station: Station,
    health: Health,
    outbox: OutboxStatus,
    uplink: UplinkStatus,
    sealer: Sealer,
    findings: tuple[KioskFinding, ...],
    now: datetime,
) -> TechnicianStatus:
    """Everything on the technician's page."""
    worst = health.worst
    seconds = now.timestamp()
    return TechnicianStatus(
        state=state,
        booth=config.booth.id,
        site=config.booth.site,
        centre=config.booth.centre,
        profile=profile.name,
        profile_version=profile.version,
        software_version=software,
        devices=tuple(device_view(status, health.last_good(status.name)) for status in station.devices),
        lights_pct=levels_now(station.devices, station.levels_pct),
        outbox=OutboxView(
            waiting=outbox.waiting,
            refused=outbox.refused,
            damaged=outbox.damaged,
            stored_bytes=outbox.stored_bytes,
            max_packets=config.outbox.max_packets,
            max_bytes=config.outbox.max_bytes,
            free_bytes=outbox.free_bytes,
            oldest_age_s=None if outbox.oldest_at is None else max(seconds - outbox.oldest_at, 0.0),
            accepting=outbox.accepting,
        ),
        intake=IntakeView(
            url=config.intake.url,
            last_receipt_at=None if uplink.last_receipt_at is None else _utc(uplink.last_receipt_at),
            last_error=uplink.last_error,
            next_try_s=None if uplink.next_try_at is None else max(uplink.next_try_at - seconds, 0.0),
            clock_skew_s=uplink.clock_skew_s,
            refusal=uplink.refusal,
        ),
        certificate_days=sealer.certificate_days(now),
        fault=None if worst is None else FaultNotice(code=worst.code, message=worst.message),
        fault_hint=None if worst is None else f"{worst.detail} {worst.hint}",
        findings=findings,
        preview_fps=station.preview_fps,
        events=tuple(health.events),
    )


def levels_now(devices: Iterable[DeviceStatus], levels_pct: Mapping[str, float]) -> dict[str, float]:
    """The acknowledged levels of lamps that answer; of lamps that are away nobody knows."""
    answer = any(each.name.startswith("lights") and each.state is DeviceState.READY for each in devices)
    return dict(levels_pct) if answer else {}


def device_view(status: DeviceStatus, last_good_at: str | None = None) -> DeviceView:
    """What a device said of itself stays while it is away; what was measured of it does not."""
    ready = status.state is DeviceState.READY
    info = {key: value for key, value in status.info.items() if ready or key not in MEASURED}
    return DeviceView(
        name=status.name,
        url=status.url,
        state=status.state.value,
        for_s=(time.monotonic_ns() - status.since_ns) / 1e9,
        last_good_at=last_good_at,
        detail=status.detail,
        info=info,
    )


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
