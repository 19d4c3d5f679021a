"""Sounds as a speech synthesiser writes them."""

from __future__ import annotations

import struct

import numpy as np

RATE = 22_050


def tone(seconds=0.2, rate=RATE):
    at = np.arange(int(seconds * rate)) / rate
    return (9000 * np.sin(2 * np.pi * 220 * at)).astype(np.int16)


def pcm(samples, *, rate=RATE, form=(1, 1, 16), data_size=0x7FFFF000, before=b"", fmt_size=16):
    """A stream as espeak-ng writes it: with lengths that it could not know."""
    kind, channels, bits = form
    head = struct.pack("<HHIIHH", kind, channels, rate, rate * 2, 2, bits)
    body = b"RIFF" + struct.pack("<I", 0x7FFFF024) + b"WAVE" + before
    body += b"fmt " + struct.pack("<I", fmt_size) + head
    return body + b"data" + struct.pack("<I", data_size) + samples.tobytes()
