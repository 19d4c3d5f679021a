"""What the desk shows of the presentation attack check: warning, score, interim values and pictures, as the booth's signed packet tells them. PURE.

For officers alone; the status page for applicants knows nothing of it. The numbers are a booth's word, and simulation only, not evaluated to
ISO/IEC 30107-3 (docs/pad.md): a warning asks a person to look, it decides nothing. A name that the desk does not know is shown as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from server.messages import Language
from server.records import PadRecord
from server.views import NOTHING, Fact

SCORE = "pad/score.json"
FRAME = re.compile(r"frame-[0-9]{2}\.jpg", re.ASCII)
JPEG_START = b"\xff\xd8\xff"
MAX_FRAMES = 24


@dataclass(frozen=True, slots=True)
class PadCard:
    """The card on the packet's page, and what stands above everything else."""

    warning: str  # empty when there is nothing to warn of
    remark: str
    tone: str
    facts: tuple[Fact, ...]
    interim: tuple[Fact, ...]
    frames: tuple[str, ...]  # names inside the folder


def pad_card(record: PadRecord | None, parts: Mapping[str, bytes], language: Language) -> PadCard | None:
    """The card of a packet; None where the packet holds no result."""
    if SCORE not in parts:
        return None
    frames = tuple(sorted(name for name in map(_frame_name, parts) if frame_of(parts, name)))[:MAX_FRAMES]
    if record is None:
        return PadCard("", language("pad.unreadable"), "care", (), (), frames)
    score, limit = (_number(value, language) for value in (record.score, record.operating_point))
    warning = language("pad.warning", score=score, limit=limit) if record.warns else ""
    if record.usable:
        remark, tone = ("", "bad") if warning else (language("pad.fine"), "good")
    else:
        key = f"pad.reason.{record.reason}"
        reason = language(key) if language.has(key) else record.reason or NOTHING
        remark, tone = language("pad.unusable", reason=reason), "none"
    facts = [Fact(language("pad.score"), score), Fact(language("pad.limit"), limit)] if record.usable else []
    facts.append(Fact(language("pad.mechanism"), record.mechanism or NOTHING, code=True))
    return PadCard(warning, remark, tone, tuple(facts), tuple(_named(record.interim, language)), frames)


def frame_of(parts: Mapping[str, bytes], name: str) -> bytes | None:
    """One picture of the check, when it is a JPEG, which is all that a browser is asked to show."""
    data = parts.get(f"pad/{name}") if FRAME.fullmatch(name) else None
    return data if data is not None and data.startswith(JPEG_START) else None


def _frame_name(part: str) -> str:
    folder, _, name = part.rpartition("/")
    return name if folder == "pad" else ""


def _named(values: Iterable[tuple[str, float | None]], language: Language) -> list[Fact]:
    return [
        Fact(language(f"pad.value.{name}") if language.has(f"pad.value.{name}") else name, _number(value, language))
        for name, value in values
    ]


def _number(value: float | None, language: Language) -> str:
    return NOTHING if value is None else language.number(value, 3)
