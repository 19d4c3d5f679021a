"""What the desk says of the chip image: its size, its bytes and how much of the portrait it kept, as the booth's report tells them. PURE.

The report is a booth's word: what can be compared is compared (the file's size with the signed manifest, the facts with their targets), and what
does not fit becomes a remark. No browser shows JPEG 2000; the file itself is offered with the others.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.messages import Language
from server.records import ChipRecord
from server.views import ISOLATE, POP_ISOLATE, Fact

# BSI TR-03121-3 v6.0: at most 5 % below the target.
FILLED = 0.95
TIMES, SPACE = " \N{MULTIPLICATION SIGN} ", "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class ChipCard:
    """The card on the packet's page."""

    facts: tuple[Fact, ...]
    remarks: tuple[str, ...]


def chip_card(chip: ChipRecord | None, part_bytes: int | None, language: Language) -> ChipCard | None:
    """The card of a packet whose chip.jp2 has so many bytes (None: it holds none); None where there is nothing to say."""
    if chip is None and part_bytes is None:
        return None
    if chip is None:
        return ChipCard((), (language("chip.untold"),))
    facts = [
        Fact(language("chip.size"), f"{_pixels(chip.width, chip.height, language)}{SPACE}px"),
        Fact(language("chip.bytes"), _bytes(chip, language)),
        Fact(language("chip.psnr"), _psnr(chip, language)),
        Fact(language("chip.ssim"), language("chip.unknown") if chip.ssim is None else language.number(chip.ssim, 4)),
    ]
    return ChipCard(tuple(facts), tuple(language(key) for key in _remarks(chip, part_bytes)))


def _remarks(chip: ChipRecord, part_bytes: int | None) -> list[str]:
    """Message keys of what an officer has to know."""
    keys = []
    if part_bytes is None:
        keys.append("chip.missing")
    elif chip.bytes != part_bytes:
        keys.append("chip.other_bytes")
    if chip.bytes is not None and chip.target_bytes is not None:
        if chip.bytes > chip.target_bytes:
            keys.append("chip.too_large")
        elif chip.bytes < FILLED * chip.target_bytes:
            keys.append("chip.unfilled")
    if chip.scale is None or chip.scale > 1:
        keys.append("chip.scale")
    elif chip.scale == 1 and _smaller(chip.width, chip.target_width) and _smaller(chip.height, chip.target_height):
        keys.append("chip.small")
    return keys


def _smaller(size: float | None, target: float | None) -> bool:
    return size is not None and target is not None and size < target


def _pixels(width: float | None, height: float | None, language: Language) -> str:
    return TIMES.join(
        language("chip.unknown") if side is None else language.number(side, 0) for side in (width, height)
    )


def _bytes(chip: ChipRecord, language: Language) -> str:
    """Each number with its unit in an isolate of its own: inside a right-to-left sentence they would change places."""
    size, target = (
        language("chip.unknown") if one is None else f"{ISOLATE}{language.number(one, 0)}{SPACE}B{POP_ISOLATE}"
        for one in (chip.bytes, chip.target_bytes)
    )
    return language("chip.bytes_of", bytes=size, target=target)


def _psnr(chip: ChipRecord, language: Language) -> str:
    if chip.psnr_db is not None:
        return f"{language.number(chip.psnr_db, 1)}{SPACE}dB"
    return language("chip.equal" if chip.ssim == 1 else "chip.unknown")
