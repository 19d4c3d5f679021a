"""A serial port of the virtual booth: a pseudo-terminal with a stable name, and the faults of its cable.

Rules:
1. The slave side stays open here as well, so that a client that goes away does not end the line.
2. The client opens a symbolic link, which keeps its name when the cable is out and in again (as under /dev/serial/by-id).
3. Unplugging closes both ends: the client's next read or write fails as with a pulled USB cable. Plugging in makes a new terminal.
4. Pulled and put in again elsewhere (`move`) the name leads to another terminal; the old one's number stays taken meanwhile.
5. What the client does not read is kept up to a limit and then lost, as in a driver's receive buffer; it never blocks the booth.
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
    from collections.abc import Callable
    from pathlib import Path

    from hardware.sim.faults import Faults

READ_BYTES = 4096
PENDING_LIMIT_BYTES = 65536
SPLIT_GAP_S = 0.003
SPLIT_MAX_BYTES = 7
GARBLED_SHARE = 0.1
CRUMBLE_GAP_S = 0.0002
# A long answer is sent in bursts of single bytes: a timer for each would take seconds.
LONG_ANSWER, BURST_BYTES = 64, 8
NOISE_BYTES = 24
BABBLE_BYTES, BABBLE_GAP_S = 64, 0.005
FILL_AGAIN_S = 0.02
FILLINGS = (bytes(1024), b"\0")


class Device(Protocol):
    """What hangs on a port."""

    def receive(self, data: bytes) -> None:
        """Bytes from the client."""

    def plugged(self) -> None:
        """The cable was put in: a device that resets on opening does so, one that announces itself speaks."""

    def unplugged(self) -> None:
        """The cable is out: a device that lives on it goes dark."""


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
        self._held_number: tuple[int, int] | None = None
        self._held_answers = bytearray()
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
        if self._held_number is not None:
            for number in self._held_number:
                os.close(number)
            self._held_number = None
        if self._device is not None:
            self._device.plugged()

    def unplug(self, *, elsewhere: bool = False) -> None:
        """Pulls the cable; also the way to close. `elsewhere`: the next plug() is in another port."""
        self._unplug()
        if elsewhere and self._held_number is None:
            self._held_number = pty.openpty()

    def _unplug(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._pending.clear()
        self._held_answers.clear()
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
        if self._device is not None:
            self._device.unplugged()

    def deafen(self) -> None:
        """Stops reading, and keeps the line full for as long as the fault is on."""
        if self._master is None or self._slave is None or not self._faults.is_on(f"{self.name}.deaf"):
            return
        asyncio.get_running_loop().remove_reader(self._master)
        os.set_blocking(self._slave, False)
        for filling in FILLINGS:
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(self._slave, filling)
        self._later(FILL_AGAIN_S, self.deafen)

    def hear(self) -> None:
        """Reads again; what piled up is lost."""
        if self._master is None:
            return
        with contextlib.suppress(BlockingIOError):
            while os.read(self._master, READ_BYTES):
                pass
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    def babble(self) -> None:
        """Sends garbage for as long as the fault is on."""
        if self._master is not None and self._faults.is_on(f"{self.name}.babble"):
            self._write(self._random.randbytes(BABBLE_BYTES))
            self._later(BABBLE_GAP_S, self.babble)

    def send(self, data: bytes) -> None:
        """Sends the device's bytes to the client, through whatever is wrong with the line."""
        if self._master is None or self._faults.take(f"{self.name}.mute") or self._faults.is_on(f"{self.name}.babble"):
            return
        if self._faults.take(f"{self.name}.unplug_on_answer"):
            self._write(data[: len(data) // 2])
            self.unplug()
            return
        if self._faults.take(f"{self.name}.garble"):
            data = self._garbled(data)
        if self._faults.take(f"{self.name}.noise"):
            data = self._random.randbytes(NOISE_BYTES) + data[: len(data) // 2] + data
        glue = self._faults.take(f"{self.name}.glue")
        if glue is not None:
            if not self._held_answers:
                self._later(glue.delay_ms / 1000, self._send_held)
            self._held_answers += data
            return
        loop = asyncio.get_running_loop()
        delay = self._faults.take(f"{self.name}.delay")
        due = max(self._due, loop.time() + (delay.delay_ms / 1000 if delay else 0.0))
        crumble = self._faults.take(f"{self.name}.crumble")
        if crumble or self._faults.take(f"{self.name}.split"):
            burst = BURST_BYTES if len(data) > LONG_ANSWER else 1
            while data:
                size = burst if crumble else self._random.randint(1, SPLIT_MAX_BYTES)
                self._send_at(due, data[:size], singly=crumble is not None)
                data = data[size:]
                due += CRUMBLE_GAP_S if crumble else SPLIT_GAP_S
        elif due > loop.time():
            self._send_at(due, data)
        else:
            self._write(data)
        self._due = due

    def _send_held(self) -> None:
        data = bytes(self._held_answers)
        self._held_answers.clear()
        self._write(data)

    def _send_at(self, due: float, data: bytes, *, singly: bool = False) -> None:
        def write() -> None:
            for start in range(0, len(data), 1 if singly else len(data)):
                self._write(data[start : start + 1] if singly else data)

        self._later(due - asyncio.get_running_loop().time(), write)

    def _later(self, delay_s: float, act: Callable[[], None]) -> None:
        """Acts later, unless the cable is pulled meanwhile."""

        def fire() -> None:
            self._timers.discard(timer)
            act()

        timer = asyncio.get_running_loop().call_later(delay_s, fire)
        self._timers.add(timer)

    def _garbled(self, data: bytes) -> bytes:
        hit = {self._random.randrange(len(data))} | {
            i for i in range(len(data)) if self._random.random() < GARBLED_SHARE
        }
        return bytes(byte ^ (1 << self._random.randrange(8)) if i in hit else byte for i, byte in enumerate(data))

    def _readable(self) -> None:
        if self._master is None:
            return
        if self._faults.take(f"{self.name}.unplug_on_write"):
            self.unplug()
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
            "terminal": os.ttyname(self._slave) if self._slave is not None else None,
            "plugged": self.is_plugged,
            "received_bytes": self.received_bytes,
            "sent_bytes": self.sent_bytes,
            "lost_bytes": self.lost_bytes,
        }
