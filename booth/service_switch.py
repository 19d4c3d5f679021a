"""The out-of-service switch: a file in data_dir that stands after a restart.

Written whole before it counts, removed before visits may begin again. A file that cannot be read keeps the booth out of service: whoever switched it off had
a reason. Blocks.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from booth.errors import MaintenanceRefusedError
from crypto.key_folder import PRIVATE, read_file, sync_folder, write_whole

log = logging.getLogger(__name__)

NAME = "out-of-service.json"
MAX_BYTES = 1024

# Why a technician takes a booth out of service; the words are in the catalogues (`switch.<reason>`).
OutReason = Literal["maintenance", "device_fault", "cleaning", "premises", "other"]
OUT_REASONS: tuple[OutReason, ...] = get_args(OutReason)


class OutOfService(BaseModel):
    """The switch, off."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reason: OutReason
    since: str  # UTC, ISO 8601
    order: str | None = None  # of the order from afar that switched; None: somebody at the booth


def utc_text(at: float | None = None) -> str:
    """The time now, or so many seconds since 1970; to the second, UTC, ISO 8601."""
    return (
        (datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC))
        .isoformat(timespec="seconds")
        .replace("+00:00", "Z")
    )


class ServiceSwitch:
    """One booth's."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / NAME

    def read(self) -> OutOfService | None:
        """None: the booth is in service."""
        try:
            return OutOfService.model_validate_json(read_file(self._path, MAX_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            log.warning("%s cannot be read (%s): the booth stays out of service", self._path, type(error).__name__)
            return OutOfService(reason="other", since=utc_text())

    def off(self, reason: OutReason, order: str | None = None) -> OutOfService:
        """Out of service from now on. Raises MaintenanceRefusedError for a reason that is none, OSError."""
        if reason not in OUT_REASONS:
            raise MaintenanceRefusedError(f"There is no such reason: use one of {', '.join(OUT_REASONS)}.")
        switch = OutOfService(reason=reason, since=utc_text(), order=order)
        write_whole(self._path, switch.model_dump_json().encode(), PRIVATE)
        return switch

    def on(self) -> None:
        """In service again. Raises OSError."""
        self._path.unlink(missing_ok=True)
        sync_folder(self._path.parent)
