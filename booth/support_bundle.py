"""The support bundle: everything about a booth that its maker needs to help, and nothing about anybody.

Made of: settings (`config.json`), event log (`events.txt`), the newest self-tests (`findings.json`), ninety days of them (`history.json`), devices (`devices.json`), what waits for the
intake (`outbox.json`: counts alone), the newest calibration (`calibration.json`), versions (`bundle.json`). No packet, no picture, no log file, no name of a file.

Rules
  - Allow-list, not deny-list: of the settings only the keys in ALLOWED are told, and only when their value has the shape that is expected of them; of
    addresses the scheme, or scheme, host and port. A new key is withheld until somebody adds it here; the names of withheld keys are told.
  - Of the event log's lines that a visit gave reason for, what was in order (a packet, a staff code with its reason) is left out, and trouble is told by its date
    alone, each kind once a day, behind the others: nothing tells when somebody was here.
  - Free text (event log, what devices say of themselves) goes through the redactor of the logs (crypto/redaction.py), which knows no folder here.
  - Values are numbers, ids of checks, keys of messages, words of the trade.
"""

from __future__ import annotations

import io
import json
import platform
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from importlib.metadata import distributions
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from booth.config import Config
from booth.kiosk import EventView
from booth.outbox_quota import OutboxStatus
from capture.calibration import Calibration
from crypto.redaction import Redactor
from hardware.link import DeviceStatus
from validation.check import software

Told = Callable[[Any], object]
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", re.ASCII)
_FIRMWARE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+/×x-]{0,63}")  # noqa: RUF001 - as a format tells its size
# What the support needs of installed packages: those that drivers, models and seals depend on.
PACKAGES = frozenset(
    {"passbooth", "mediapipe", "opencv-python-headless", "numpy", "cryptography", "pyserial", "httpx2", "pydantic", "fastapi", "linuxpy"}
)  # fmt: skip
# What a device says of itself and what is measured of it; a name that somebody gave it is not in here.
DEVICE_INFO = (
    "firmware",
    "board",
    "lights",
    "size",
    "format",
    "fps",
    "picture",
    "model",
    "vendor",
    "version",
    "frame_hz",
)
DAY = 24 * 3600


class _Withheld(Exception):  # noqa: N818 - not an error: a value that is not told
    """The value does not have the shape of what may be told."""


def _plain(value: Any) -> object:
    """Numbers, yes or no, and single words."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    if isinstance(value, list) and all(isinstance(one, int | float) for one in value):
        return value
    raise _Withheld


def _scheme(value: Any) -> object:
    """Of an address what kind of device it is."""
    return None if value is None else _plain(urlsplit(str(value)).scheme)


def _host(value: Any) -> object:
    """Of an address scheme, host and port: no user, no path."""
    if value is None:
        return None
    parts = urlsplit(str(value))
    port = "" if parts.port is None else f":{parts.port}"
    return f"{_plain(parts.scheme)}://{_plain(parts.hostname)}{port}"


def _count(value: Any) -> object:
    return len(value) if isinstance(value, list | dict) else None


# Key of the settings (fnmatch) → how its value is told. First match counts.
ALLOWED: Mapping[str, Told] = MappingProxyType(
    {
        "booth.id": _plain,
        "booth.site": _plain,
        "booth.centre": _plain,
        "*.url": _scheme,
        "camera.still_url": _scheme,
        "camera.rotate_deg": _plain,
        "camera.width": _plain,
        "camera.height": _plain,
        "camera.fps": _plain,
        "controls.settings.*": _plain,
        "controls.model": _plain,
        "lights.channels.*": _plain,
        "lights.nominal_pct": _plain,
        "lights.standby_pct": _plain,
        "profile.name": _plain,
        "intake.timeout_s": _plain,
        "intake.first_retry_s": _plain,
        "intake.longest_retry_s": _plain,
        "keys.signer": _scheme,
        "web.port": _plain,
        "technician.session_minutes": _plain,
        "visit.*": _plain,
        "voice.enabled": _plain,
        "outbox.*": _plain,
        "diagnostics.nightly_at": lambda value: value if re.fullmatch(r"(\d\d:\d\d)?", str(value)) else None,
        "fleet.*": _plain,
        "calibration.*": _plain,
        "lift.*_cm": _plain,
    }
)
FIRST: Mapping[str, Told] = MappingProxyType({"intake.url": _host, "keys.recipients": _count})


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """What a bundle is made of; nothing of a visit among it."""

    config: Config
    events: Sequence[EventView]
    devices: Sequence[DeviceStatus]
    outbox: OutboxStatus
    tests: BaseModel | None
    history: Sequence[Mapping[str, object]]
    calibration: Calibration | None
    now: datetime


def make_bundle(facts: BundleFacts) -> bytes:
    """The bundle as a ZIP file; blocks."""
    booth = facts.config.booth
    redactor = Redactor((booth.id, booth.site, booth.centre, facts.config.profile.name))
    members = {
        "bundle.json": _json(_versions(facts)),
        "config.json": _json(config_told(facts.config)),
        "events.txt": "".join(_event_lines(facts.events, redactor)),
        "findings.json": _json(None if facts.tests is None else facts.tests.model_dump(mode="json")),
        "history.json": _json(list(facts.history)),
        "devices.json": _json([_device(each, redactor) for each in facts.devices]),
        "outbox.json": _json(_outbox(facts.outbox, facts.now)),
        "calibration.json": _json(None if facts.calibration is None else facts.calibration.model_dump(mode="json")),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, text in members.items():
            entry = zipfile.ZipInfo(name, facts.now.astimezone(UTC).timetuple()[:6])
            entry.external_attr = 0o600 << 16
            bundle.writestr(entry, text, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def config_told(config: Config) -> dict[str, object]:
    """The settings that may be told, and the names of those that are not."""
    told: dict[str, object] = {}
    withheld: list[str] = []
    for key, value in _leaves(config.model_dump(mode="json")):
        rule = FIRST.get(key) or next((rule for pattern, rule in ALLOWED.items() if fnmatchcase(key, pattern)), None)
        try:
            if rule is None:
                raise _Withheld
            told[key] = rule(value)
        except (_Withheld, ValueError):
            withheld.append(key)
    return {"settings": told, "withheld": withheld}


def _leaves(tree: object, path: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(tree, dict) and tree:
        for name, value in tree.items():
            # A key of ours; what a stranger could have written as a key is not told by name either.
            part = name if isinstance(name, str) and _WORD.fullmatch(name) else "?"
            yield from _leaves(value, f"{path}.{part}" if path else part)
    else:
        yield path, tree


def _versions(facts: BundleFacts) -> dict[str, object]:
    packages = {one.metadata["Name"]: one.version for one in distributions()}
    return {
        "format": "passbooth.support/1",
        "made_at": facts.now.astimezone(UTC).isoformat(timespec="seconds"),
        "booth": facts.config.booth.id,
        "software": software(),
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: packages[name] for name in sorted(PACKAGES & packages.keys())},
    }


def _event_lines(events: Sequence[EventView], redactor: Redactor) -> Iterator[str]:
    lines = [(event.at, f"{event.level} {redactor.text(event.text)}\n", event.of_visit) for event in reversed(events)]
    yield from (f"{at} {text}" for at, text, of_visit in lines if not of_visit)
    # By date and text: neither the time nor the place among the others tells when somebody was here.
    of_visits = {(at[: len("2026-11-23")], text) for at, text, of_visit in lines if of_visit and text[:4] != "info"}
    yield from (f"{day} {text}" for day, text in sorted(of_visits))


def _device(status: DeviceStatus, redactor: Redactor) -> dict[str, object]:
    info = {key: value for key, value in status.info.items() if key in DEVICE_INFO and _FIRMWARE.fullmatch(value)}
    return {
        "name": status.name,
        "kind": urlsplit(status.url).scheme,
        "state": status.state.value,
        "detail": redactor.text(status.detail),
        "info": info,
    }


def _outbox(status: OutboxStatus, now: datetime) -> dict[str, object]:
    told = {key: value for key, value in asdict(status).items() if key not in {"oldest_at", "refusal"}}
    age_s = None if status.oldest_at is None else max(now.timestamp() - status.oldest_at, 0.0)
    return told | {"oldest_age_days": None if age_s is None else round(age_s / DAY, 2), "accepting": status.accepting}


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
