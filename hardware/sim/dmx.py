"""An ENTTEC DMX USB Pro and the fixtures behind it: own reading of the widget's message format.

Message: 7E, label, length (LSB, MSB), data, E7. Bytes outside a message, a length above 600 and a wrong end byte are skipped; reading goes on at
the next 7E. Answered: label 3 (parameters) and label 10 (serial number). Label 6 sets the DMX output: start code 0 and 24 to 512 channel
values; there is no answer, as on the real line. The widget is powered over USB: pulling its cable ends the DMX signal and the lamps go out,
and they stay out after the cable is back until the next label 6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hardware.sim.faults import Faults
    from hardware.sim.scenarios import DmxChannel
    from hardware.sim.scene import Gains

START, END = 0x7E, 0xE7
GET_PARAMETERS, SEND_DMX, GET_SERIAL = 3, 6, 10
LENGTH_LIMIT: Final = 600
USER_SIZE_LIMIT: Final = 508
MIN_CHANNELS, MAX_CHANNELS = 24, 512
FIRMWARE: Final = bytes((0x44, 0x01))  # 1.44, LSB first
BREAK_TIME, MARK_TIME, RATE_HZ = 9, 1, 40  # the first two in units of 10.67 us
SERIAL_BCD: Final = bytes((0x78, 0x56, 0x34, 0x02))  # 02345678, least significant pair first


class DmxWidget:
    """The widget's state and its serial interface."""

    def __init__(self, send: Callable[[bytes], None], channels: Mapping[str, DmxChannel], faults: Faults) -> None:
        self._send = send
        self._channels = channels
        self._faults = faults
        self._buffer = bytearray()
        self.values = bytes(MAX_CHANNELS)
        self.messages = 0

    def plugged(self) -> None:
        """Power is back: no signal yet."""
        self._buffer.clear()
        self.values = bytes(MAX_CHANNELS)

    def unplugged(self) -> None:
        """Power is gone, and the signal with it."""
        self.values = bytes(MAX_CHANNELS)

    def receive(self, data: bytes) -> None:
        """Takes bytes from the client."""
        self._buffer += data
        while self._take_message():
            pass

    def _take_message(self) -> bool:
        """Takes one message or one stray byte from the buffer; false when it needs more bytes."""
        start = self._buffer.find(START)
        if start < 0:
            self._buffer.clear()
            return False
        del self._buffer[:start]
        if len(self._buffer) < 4:
            return False
        size = int.from_bytes(self._buffer[2:4], "little")
        if size > LENGTH_LIMIT:
            del self._buffer[0]
            return True
        if len(self._buffer) < size + 5:
            return False
        if self._buffer[size + 4] != END:
            del self._buffer[0]
            return True
        label, data = self._buffer[1], bytes(self._buffer[4 : size + 4])
        del self._buffer[: size + 5]
        self._handle(label, data)
        return True

    def _handle(self, label: int, data: bytes) -> None:
        self.messages += 1
        wrong = self._faults.is_on("lights.wrong_echo")
        if label == SEND_DMX:
            if MIN_CHANNELS + 1 <= len(data) <= MAX_CHANNELS + 1 and data[0] == 0:
                self.values = data[1:] + self.values[len(data) - 1 :]
        elif label == GET_PARAMETERS and len(data) == 2:
            user = min(int.from_bytes(data, "little"), USER_SIZE_LIMIT)
            self._answer(
                GET_SERIAL if wrong else label, FIRMWARE + bytes((BREAK_TIME, MARK_TIME, RATE_HZ)) + bytes(user)
            )
        elif label == GET_SERIAL and not data:
            self._answer(label, SERIAL_BCD[::-1] if wrong else SERIAL_BCD)

    def _answer(self, label: int, data: bytes) -> None:
        self._send(bytes((START, label)) + len(data).to_bytes(2, "little") + data + bytes((END,)))

    def outputs(self) -> dict[str, Gains]:
        """Drive 0..1 of each lamp."""
        drives = {}
        for name, channel in self._channels.items():
            drive = self.values[channel.address - 1] / 255
            if channel.fine is not None:
                drive = (self.values[channel.address - 1] * 256 + self.values[channel.fine - 1]) / 65535
            drives[name] = (drive, drive, drive)
        return drives

    def state(self) -> dict[str, object]:
        """For the control socket."""
        return {"kind": "dmx", "messages": self.messages, "first_channels": list(self.values[:MIN_CHANNELS])}
