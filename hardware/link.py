"""Serial ports and the state of devices; the only file that imports pyserial.

`SerialLink` is one open port: exclusive open by path (best /dev/serial/by-id/…, which survives re-numbering), timed reads and writes,
every low-level error translated here and nowhere else. It is used by one thread. Nothing in it waits longer than it says: not a write to a
device that never reads (what it did not take is thrown away, so that closing the port does not wait for it and no old command reaches the
device later), not the clearing of a line on which something babbles.

`Port` keeps one device alive on one named thread. Order of operation:

1. open the port, let the driver shake hands (`Dialogue.connect`), which also restores the last acknowledged settings → READY;
2. perform jobs one after another; when idle, call `Dialogue.idle` every `idle_s` seconds and whenever bytes come unasked;
3. an error that ends the link (`LinkError`, lamps that do not follow) means the connection is worth nothing: close, → LOST, and from 1 again; attempts begin at least `RETRY_S`
   apart, and one that took longer is followed by the next at once.

A device that never answered is MISSING, one that did is LOST until it is READY again. Changes of state are told once each way: one log
line and one callback (in the event loop); what keeps failing in between only changes the `detail` of the status. A READY device that
refuses a setting stays READY; the refusal stands in the `detail` until it takes a setting again, and is logged once each way.
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
from collections.abc import Callable, Iterator, Mapping
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
WRITE_TIMEOUT_S = 1.0
# A port that is writable and yet takes nothing is asked again after this pause.
WRITE_PAUSE_S = 0.01
# Clearing a line ends after this time also when bytes keep coming.
DISCARD_S = 0.2
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
ANSWERS = "answers"


class StatusBoard:
    """Holds a device's status for every thread and tells changes of state once."""

    def __init__(self, name: str, url: str, on_status: StatusCallback | None) -> None:
        self._status = DeviceStatus(
            name, url, DeviceState.CONNECTING, time.monotonic_ns(), "connecting for the first time"
        )
        self._on_status = on_status
        self._loop: asyncio.AbstractEventLoop | None = None
        self._refusing = False

    @property
    def status(self) -> DeviceStatus:
        """The status now."""
        return self._status

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say in which event loop the callback runs."""
        self._loop = loop

    def tell(self, state: DeviceState, detail: str, info: Mapping[str, str] | None = None) -> None:
        """Note the status; log and call back when the state is another one."""
        old = self._status
        since_ns = old.since_ns if state is old.state else time.monotonic_ns()
        known = old.info if info is None else MappingProxyType(dict(info))
        self._status = status = DeviceStatus(old.name, old.url, state, since_ns, detail, known)
        if state is old.state:
            return
        self._refusing = False
        level = logging.INFO if state is DeviceState.READY else logging.WARNING
        log.log(level, "%s is %s: %s (%s)", status.name, state, detail, status.url)
        if self._on_status is not None and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                self._loop.call_soon_threadsafe(self._on_status, status)

    @contextlib.contextmanager
    def judging(self) -> Iterator[None]:
        """Around a setting, on the port's thread: a refusal stands in the status until a setting is taken."""
        try:
            yield
        except HardwareError as error:
            if error.blame != "us" and not error.ends_link:
                self._note_refusal(str(error))
            raise
        if self._refusing:
            self._refusing = False
            self.tell(DeviceState.READY, ANSWERS)
            log.info("%s takes its settings again (%s)", self._status.name, self._status.url)

    def _note_refusal(self, detail: str) -> None:
        if self._status.state is DeviceState.READY:
            self.tell(DeviceState.READY, detail)
            if not self._refusing:
                self._refusing = True
                log.warning("%s refuses: %s (%s)", self._status.name, detail, self._status.url)


def read_serial_path(url: str, scheme: str) -> str:
    """Return the device path of e.g. `wled+serial:///dev/serial/by-id/…`."""
    parts = urlsplit(url)
    if parts.scheme != scheme or parts.netloc or not parts.path.startswith("/") or parts.query or parts.fragment:
        raise SettingsError(f"{url!r} does not name a serial port: write {scheme}:///dev/serial/by-id/…")
    return parts.path


class SerialLink:
    """One open serial port, used by one thread; raises `LinkError` only."""

    def __init__(self, path: str, baud: int, stopping: threading.Event | None = None) -> None:
        self.path = path
        self._baud = baud
        self._stopping = stopping or threading.Event()
        self._serial: serial.Serial | None = None

    def open(self) -> None:
        """Open the port for ourselves alone (flock), 8N1, no flow control."""
        try:
            self._serial = serial.Serial(self.path, self._baud, timeout=0, exclusive=True)
        except PORT_ERRORS as error:
            raise self._translate_open(error) from error

    def _translate_open(self, error: BaseException) -> LinkError:
        # pyserial keeps the errno of open and flock, but not always that of the configuration.
        number = getattr(error, "errno", None)
        if isinstance(error, FileNotFoundError) or not os.path.exists(self.path):  # noqa: PTH110 (a stat, no path arithmetic)
            return LinkMissingError(f"No device at {self.path}: plug it in, or correct the path in the settings.")
        if isinstance(error, PermissionError) or number in {13, 1}:
            return LinkBusyError(f"{self.path} may not be opened: give this user access (group dialout).")
        if number in {11, 16}:
            return LinkBusyError(f"{self.path} is held by another program: stop it.")
        return LinkLostError(f"{self.path} cannot be opened ({error}): check the cable and the device.")

    def close(self) -> None:
        """Close the port, whatever state it is in."""
        port, self._serial = self._serial, None
        if port is not None:
            with contextlib.suppress(*PORT_ERRORS):  # the port is gone
                # The system waits up to 30 s at the close for what a device has not taken yet.
                port.reset_output_buffer()
            with contextlib.suppress(*PORT_ERRORS):  # closing a port that is gone
                port.close()

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return int(self._port().fileno())

    def _port(self) -> serial.Serial:
        if self._serial is None:
            raise LinkLostError(f"{self.path} is closed.")
        return self._serial

    def write(self, data: bytes) -> None:
        """Write all of `data`; raise `LinkSilentError` when the port does not take it within `WRITE_TIMEOUT_S`."""
        port = self._port()
        deadline = time.monotonic() + WRITE_TIMEOUT_S
        rest = memoryview(data)
        try:
            # Not pyserial's write: it asks a full port again and again without a pause, and closing could not interrupt it.
            poll = select.poll()
            poll.register(port.fileno(), select.POLLOUT)
            while rest:
                self._require_going()
                left = deadline - time.monotonic()
                if left <= 0:
                    port.reset_output_buffer()
                    raise LinkSilentError(
                        f"{self.path} takes no more bytes: the device does not read; check it, switch it off and on."
                    )
                if poll.poll(min(left, SLICE_S) * 1000):
                    rest = rest[self._write_some(port, rest) :]
        except PORT_ERRORS as error:
            raise self._lost(error) from error

    def _write_some(self, port: serial.Serial, rest: memoryview) -> int:
        try:
            return os.write(port.fileno(), rest)
        except BlockingIOError:
            self._stopping.wait(WRITE_PAUSE_S)
            return 0

    def _require_going(self) -> None:
        if self._stopping.is_set():
            raise LinkLostError(f"{self.path} is being closed.")

    def read(self, timeout_s: float) -> bytes:
        """Return the bytes that are there, waiting at most `timeout_s` for the first; empty when none came."""
        port = self._port()
        deadline = time.monotonic() + timeout_s
        try:
            poll = select.poll()
            poll.register(port.fileno(), select.POLLIN)
            while True:
                self._require_going()
                left = deadline - time.monotonic()
                if poll.poll(max(0.0, min(left, SLICE_S)) * 1000):
                    return bytes(port.read(READ_SIZE))
                if left <= 0:
                    return b""
        except PORT_ERRORS as error:
            raise self._lost(error) from error

    def discard(self) -> int:
        """Throw away what has come so far (boot text, late answers); return how many bytes."""
        count = 0
        deadline = time.monotonic() + DISCARD_S
        while time.monotonic() < deadline and (data := self.read(0)):
            count += len(data)
        return count

    def _lost(self, error: BaseException) -> LinkLostError:
        # Of a port that ends pyserial has a guess for programmers; the system's own word, where there is one, says what happened.
        told = error.strerror if isinstance(error, OSError) else None
        return LinkLostError(f"{self.path} was lost ({told or 'the port ended'}): check the cable.")


class Dialogue(Protocol):
    """What a driver does on the port's thread; everything it raises is a `HardwareError`."""

    def connect(self, link: SerialLink) -> Mapping[str, str]:
        """Shake hands, restore the last acknowledged settings, return what the device says of itself."""

    def idle(self, link: SerialLink) -> None:
        """Called every `idle_s` seconds and when bytes come unasked: prove that the device is there."""


class Port:
    """One device on one named thread."""

    def __init__(self, board: StatusBoard, path: str, baud: int, dialogue: Dialogue, idle_s: float) -> None:
        self.board = board
        self._dialogue = dialogue
        self._idle_s = idle_s
        self._stopping = threading.Event()
        self._link = SerialLink(path, baud, self._stopping)
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[SerialLink], Any]]] = queue.SimpleQueue()
        self._tried: Future[None] = Future()
        self._ended: Future[None] = Future()
        self._was_ready = False
        self._wake_read, self._wake_write = -1, -1
        self._thread = threading.Thread(target=self._live, name=f"port {board.status.name}", daemon=True)

    async def open(self) -> None:
        """Start the thread and wait for its first attempt."""
        self.board.bind(asyncio.get_running_loop())
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._thread.start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._tried)), FIRST_ATTEMPT_S)

    async def close(self) -> None:
        """Stop the thread and close the port; reads and waits under way end within `SLICE_S`."""
        if self._thread.ident is None:
            return
        self._stopping.set()
        self._wake()
        await asyncio.shield(asyncio.wrap_future(self._ended))
        self._thread.join()
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._fail_jobs("is closed")

    async def run(self, job: Callable[[SerialLink], T]) -> T:
        """Perform `job` on the port's thread; a device that is not READY raises `LinkLostError` at once."""
        if self.board.status.state is not DeviceState.READY or self._stopping.is_set():
            raise self._unavailable()
        future: Future[T] = Future()
        self._jobs.put((future, job))
        self._wake()
        return await asyncio.wrap_future(future)

    def _unavailable(self) -> LinkLostError:
        status = self.board.status
        return LinkLostError(f"{status.name} is {status.state}: {status.detail}")

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the pipe is full: the thread will wake anyway
            os.write(self._wake_write, b"!")

    def _live(self) -> None:
        try:
            while not self._stopping.is_set():
                begun = time.monotonic()
                try:
                    self._connect()
                    self._serve()
                except HardwareError as error:
                    self._tell_lost(str(error))
                except Exception:  # a defect of a driver must not end the device's thread: told, logged, tried again
                    log.exception("defect in the driver of %s", self.board.status.name)
                    self._tell_lost("its driver failed; the log has the details")
                finally:
                    self._link.close()
                self._mark_tried()
                self._fail_jobs("was lost")
                self._stopping.wait(begun + RETRY_S - time.monotonic())
        finally:
            self._mark_tried()
            self._ended.set_result(None)

    def _tell_lost(self, detail: str) -> None:
        if not self._stopping.is_set():
            self.board.tell(DeviceState.LOST if self._was_ready else DeviceState.MISSING, detail)

    def _mark_tried(self) -> None:
        if not self._tried.done():
            self._tried.set_result(None)

    def _connect(self) -> None:
        self._link.open()
        info = self._dialogue.connect(self._link)
        self._was_ready = True
        self.board.tell(DeviceState.READY, ANSWERS, info)
        self._mark_tried()

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._link.fileno(), select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        idle_at = time.monotonic() + self._idle_s
        while not self._stopping.is_set():
            ready = {number for number, _ in poll.poll(max(0.0, idle_at - time.monotonic()) * 1000)}
            if self._wake_read in ready:
                os.read(self._wake_read, READ_SIZE)
            worked = False
            while not self._stopping.is_set() and not self._jobs.empty():
                self._perform(*self._jobs.get())
                worked = True
            # Checked again after a job, because the job may have taken the bytes.
            if (self._link.fileno() in ready and not worked) or time.monotonic() >= idle_at:
                self._dialogue.idle(self._link)
                worked = True
            if worked:
                idle_at = time.monotonic() + self._idle_s

    def _perform(self, future: Future[Any], job: Callable[[SerialLink], Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = job(self._link)
        except HardwareError as error:
            if not error.ends_link:
                future.set_exception(error)
                return
            # Told before the caller hears of it: who sees the error also sees the state LOST.
            self._tell_lost(str(error))
            future.set_exception(error)
            raise
        except Exception as error:  # noqa: BLE001 (handed to the caller, whose job it is)
            future.set_exception(error)
        else:
            future.set_result(result)

    def _fail_jobs(self, what: str) -> None:
        while not self._jobs.empty():
            future, _ = self._jobs.get()
            if future.set_running_or_notify_cancel():
                future.set_exception(LinkLostError(f"{self.board.status.name} {what}: {self.board.status.detail}"))
