"""Serial ports and the state of devices; the only file that imports pyserial.

`SerialLink` is one open port: exclusive open by path (best /dev/serial/by-id/…, which survives re-numbering), timed reads and writes,
every low-level error translated here and nowhere else. It is used by one thread.

`Port` keeps one device alive on one named thread. Order of operation:

1. open the port, let the driver shake hands (`Dialogue.connect`), which also restores the last acknowledged settings → READY;
2. perform jobs one after another; when idle, call `Dialogue.idle` every `idle_s` seconds and whenever bytes come unasked;
3. `LinkError` out of any of these means the connection is worth nothing: close, → LOST, and from 1 again every `RETRY_S` seconds.

A device that never answered is MISSING, one that did is LOST until it is READY again. Changes of state are told once each way: one log
line and one callback (in the event loop); what keeps failing in between only changes the `detail` of the status.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import select
import termios
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import serial

from hardware.errors import (
    HardwareError,
    LinkBusyError,
    LinkError,
    LinkLostError,
    LinkMissingError,
    LinkSilentError,
    SettingsError,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_S = 0.5
# How long opening a device waits for its first attempt; a device that needs longer (a camera warming up) becomes READY later.
FIRST_ATTEMPT_S = 2.0
# A write that the port does not take for this long is a dead device: 512 bytes at 9600 baud take 0.53 s.
WRITE_TIMEOUT_S = 1.5
# Reads wait in slices of this length, so that closing a port never waits for a silent device.
SLICE_S = 0.1
READ_SIZE = 4096

# What pyserial and the system raise when a port fails: SerialException is an OSError, `in_waiting` raises plain OSError after unplug,
# termios.error is no OSError, ValueError comes with an unusable speed, TypeError with a descriptor closed under way.
PORT_ERRORS = (OSError, termios.error, ValueError, TypeError)


class DeviceState(StrEnum):
    """Where a device is in its life."""

    MISSING = "missing"
    CONNECTING = "connecting"
    READY = "ready"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """A device's state in words for the technician."""

    name: str
    url: str
    state: DeviceState
    since_ns: int
    detail: str = ""
    info: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


StatusCallback = Callable[[DeviceStatus], None]
