"""PURE. A spoken prompt as the page gets it: from the WAV stream of a speech synthesiser to a small WAV file.

Rules:
- What a synthesiser writes is believed nowhere: one RIFF/WAVE, PCM, mono, 16 bit, a rate that speech has, a length within bounds. Lengths in
  its heads are overlooked where a program that writes to a pipe cannot know them (espeak-ng writes 0x7FFFF000); the samples end where the data end.
- The file is G.711 µ-law, 8 bit: half the size of the samples and no loss that speech shows. Its heads are ours, so that the same samples are the
  same bytes.
- Silence before and after the speech is cut.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LONGEST_S = 30.0
RATES_HZ = range(8_000, 48_001)
MAX_BYTES = 44 + int(LONGEST_S * 48_000) * 2
PCM, MU_LAW = 1, 7
QUIET = 96  # of 32767: the synthesiser's noise floor
KEPT_S = 0.06  # of the silence around the speech
# G.711: samples of 14 bits get this bias, and are clipped so that it fits.
BIAS, CLIP = 0x84, 32_635


class SoundRefusedError(ValueError):
    """What came is no speech that can be kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """Mono samples."""

    samples: NDArray[np.int16]
    rate_hz: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate_hz


def read_sound(data: bytes) -> Sound:
    """The samples of a WAV stream; raises SoundRefusedError."""
    if len(data) > MAX_BYTES:
        raise SoundRefusedError("longer than a prompt can be")
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise SoundRefusedError("no WAV")
    at, rate = 12, None
    while len(data) - at >= 8:
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"data":
            if rate is None:
                raise SoundRefusedError("samples before their form")
            body = data[at : at + size]
            return _spoken(np.frombuffer(body[: len(body) // 2 * 2], "<i2"), rate)
        if size > len(data) - at:
            raise SoundRefusedError("a part reaches beyond the end")
        if name == b"fmt ":
            rate = _rate(data[at : at + size])
        at += size + size % 2
    raise SoundRefusedError("no samples")


def _rate(form: bytes) -> int:
    if len(form) < 16:
        raise SoundRefusedError("no form of samples")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", form)
    if (kind, channels, bits) != (PCM, 1, 16) or rate not in RATES_HZ:
        raise SoundRefusedError("not mono PCM of 16 bit")
    return int(rate)


def _spoken(samples: NDArray[np.int16], rate: int) -> Sound:
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > QUIET)
    if len(loud) == 0:
        raise SoundRefusedError("silence")
    kept = int(KEPT_S * rate)
    cut = samples[max(int(loud[0]) - kept, 0) : int(loud[-1]) + kept]
    if len(cut) > LONGEST_S * rate:
        raise SoundRefusedError("longer than a prompt can be")
    return Sound(cut, rate)


def mu_law(samples: NDArray[np.int16]) -> NDArray[np.uint8]:
    """G.711 µ-law codes of the samples."""
    wide = samples.astype(np.int32)
    sign = np.where(wide < 0, 0x80, 0)
    biased = np.minimum(np.abs(wide), CLIP) + BIAS
    exponent = np.floor(np.log2(biased)).astype(np.int32) - 7
    mantissa = (biased >> (exponent + 3)) & 0x0F
    codes: NDArray[np.uint8] = (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)
    return codes


def write_sound(sound: Sound) -> bytes:
    """The file that the page gets."""
    body = mu_law(sound.samples).tobytes()
    if len(body) % 2:
        body += b"\xff"  # silence: a chunk has an even length
    form = struct.pack("<HHIIHHH", MU_LAW, 1, sound.rate_hz, sound.rate_hz, 1, 8, 0)
    parts = b"fmt " + struct.pack("<I", len(form)) + form
    parts += b"fact" + struct.pack("<II", 4, len(body))
    parts += b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WAVE" + parts
