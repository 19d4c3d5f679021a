"""A serial port of the virtual booth: a pseudo-terminal with a stable name, and the faults of its cable.

Rules:
1. The slave side stays open here as well, so that a client that goes away does not end the line.
2. The client opens a symbolic link, which keeps its name when the cable is out and in again (as under /dev/serial/by-id).
3. Unplugging closes both ends: the client's next read or write fails as with a pulled USB cable. Plugging in makes a new terminal.
4. What the client does not read is kept up to a limit and then lost, as in a driver's receive buffer; it never blocks the booth.
A pseudo-terminal has no baud rate and no DTR, RTS or CTS.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import random
import tty
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from hardware.sim.faults import Faults

READ_BYTES = 4096
PENDING_LIMIT_BYTES = 65536
SPLIT_GAP_S = 0.003
SPLIT_MAX_BYTES = 7
GARBLED_SHARE = 0.1


class Device(Protocol):
    """What hangs on a port."""

    def receive(self, data: bytes) -> None:
        """Bytes from the client."""

    def plugged(self) -> None:
        """The cable was put in: a device that resets on opening does so, one that announces itself speaks."""


class Port:
    """One pseudo-terminal and its cable."""

    def __init__(self, name: str, link: Path, faults: Faults) -> None:
        self.name = name
        self.link = link
        self.received_bytes = 0
        self.sent_bytes = 0
        self.lost_bytes = 0
        self._faults = faults
        self._device: Device | None = None
        self._master: int | None = None
        self._slave: int | None = None
        self._pending = bytearray()
        self._timers: set[asyncio.TimerHandle] = set()
        self._due = 0.0
        self._random = random.Random(name)  # noqa: S311 - repeatable faults, not secrets

    @property
    def is_plugged(self) -> bool:
        """Whether the cable is in."""
        return self._master is not None

    def attach(self, device: Device) -> None:
        """Says who listens; before the first plug()."""
        self._device = device

    def plug(self) -> None:
        """Makes the terminal and its name."""
        if self._master is not None:
            return
        master, slave = pty.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        self._master, self._slave = master, slave
        fresh = self.link.with_name(self.link.name + ".new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.ttyname(slave))
        fresh.rename(self.link)
        asyncio.get_running_loop().add_reader(master, self._readable)
        if self._device is not None:
            self._device.plugged()

    def unplug(self) -> None:
        """Pulls the cable; also the way to close."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._pending.clear()
        self._due = 0.0
        if self._master is None or self._slave is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._master)
        loop.remove_writer(self._master)
        self.link.unlink(missing_ok=True)
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = None

    def send(self, data: bytes) -> None:
        """Sends the device's bytes to the client, through whatever is wrong with the line."""
        if self._master is None or self._faults.take(f"{self.name}.mute"):
            return
        if self._faults.take(f"{self.name}.garble"):
            data = self._garbled(data)
        loop = asyncio.get_running_loop()
        delay = self._faults.take(f"{self.name}.delay")
        due = max(self._due, loop.time() + (delay.delay_ms / 1000 if delay else 0.0))
        if self._faults.take(f"{self.name}.split"):
            while data:
                size = self._random.randint(1, SPLIT_MAX_BYTES)
                self._send_at(due, data[:size])
                data = data[size:]
                due += SPLIT_GAP_S
        elif due > loop.time():
            self._send_at(due, data)
        else:
            self._write(data)
        self._due = due

    def _send_at(self, due: float, data: bytes) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            self._write(data)

        timer = asyncio.get_running_loop().call_at(due, fire)
        self._timers.add(timer)

    def _garbled(self, data: bytes) -> bytes:
        hit = {self._random.randrange(len(data))} | {
            i for i in range(len(data)) if self._random.random() < GARBLED_SHARE
        }
        return bytes(byte ^ (1 << self._random.randrange(8)) if i in hit else byte for i, byte in enumerate(data))

    def _readable(self) -> None:
        if self._master is None:
            return
        try:
            data = os.read(self._master, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            # The terminal is gone under us (nothing else can fail on a pty we hold both ends of): the cable counts as out.
            self.unplug()
            return
        self.received_bytes += len(data)
        if self._device is not None and not self._faults.take(f"{self.name}.drop"):
            self._device.receive(data)

    def _write(self, data: bytes) -> None:
        if self._master is None:
            return
        room = PENDING_LIMIT_BYTES - len(self._pending)
        self.lost_bytes += max(0, len(data) - room)
        self._pending += data[:room]
        self._flush()

    def _flush(self) -> None:
        if self._master is None:
            return
        loop = asyncio.get_running_loop()
        with contextlib.suppress(BlockingIOError):
            while self._pending:
                written = os.write(self._master, self._pending)
                self.sent_bytes += written
                del self._pending[:written]
        if self._pending:
            loop.add_writer(self._master, self._flush)
        else:
            loop.remove_writer(self._master)

    def state(self) -> dict[str, object]:
        """For the control socket."""
        return {
            "path": str(self.link),
            "plugged": self.is_plugged,
            "received_bytes": self.received_bytes,
            "sent_bytes": self.sent_bytes,
            "lost_bytes": self.lost_bytes,
        }
