"""PURE. The paper slip of the counter as one SVG picture, 72 mm wide: it fits a receipt of 80 mm, and a sheet of A6.

From top to bottom: the centre, the code as large as the paper allows, the number in groups that people can read and type, then for each language what it is
for, until when, and what to do. Black on white, so that any printer does; fonts are those of the machine that prints.

Code 128 has room for 102 characters and a slip has more: as Code 128 the number alone is printed, which a booth takes as read and not verified.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from html import escape

import numpy as np
import zxingcpp

WIDTH_MM = 72.0
MARGIN_MM = 3.0
CODE_MM = 46.0  # of a square code, with its quiet zone
BARS_HEIGHT_MM = 18.0
NUMBER_MM = 5.4  # letters of the number at most
TEXT_MM = 3.1  # 8.8 points: read at arm's length
LINE_MM = 4.1
_LETTER = 0.62  # width of a letter in a fixed font, by its height
_LETTER_MEAN = 0.57  # in running text
_FONT = "'Noto Sans','Noto Sans Arabic','DejaVu Sans',system-ui,sans-serif"
_FIXED = "'Noto Sans Mono','DejaVu Sans Mono',ui-monospace,monospace"


class Code(StrEnum):
    """The kinds of codes that booths read."""

    QR = "qr"
    DATAMATRIX = "datamatrix"
    PDF417 = "pdf417"
    CODE128 = "code128"


@dataclass(frozen=True, slots=True)
class Words:
    """What the slip says in one language."""

    language: str
    direction: str
    title: str
    until: str
    steps: str


@dataclass(frozen=True, slots=True)
class Paper:
    """What is printed."""

    centre: str
    number: str  # in groups
    text: str  # of the code
    code: Code
    words: tuple[Words, ...]


def draw_slip(paper: Paper) -> str:
    """The slip as SVG."""
    modules, quiet = _modules(paper.text, paper.code)
    parts: list[str] = []
    y = MARGIN_MM + LINE_MM
    parts.append(_line(paper.centre, WIDTH_MM / 2, y, 4.2, anchor="middle", weight=700))
    y += 3.0
    code, height = _code(modules, quiet, paper.code, y)
    parts.append(code)
    y += height + 6.0
    size = min(NUMBER_MM, (WIDTH_MM - 2 * MARGIN_MM) / (len(paper.number) * _LETTER))
    parts.append(_line(paper.number, WIDTH_MM / 2, y, size, anchor="middle", weight=700, font=_FIXED))
    y += 3.0
    for words in paper.words:
        y += 2.2
        parts.append(f'<path d="M{MARGIN_MM} {y:.1f}h{WIDTH_MM - 2 * MARGIN_MM}" stroke="#000" stroke-width=".2"/>')
        y += LINE_MM + 0.6
        parts += _block(words, y)
        y += (1 + len(_wrapped(words.steps))) * LINE_MM - LINE_MM
    y += MARGIN_MM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH_MM:g}mm" height="{y:.1f}mm"'
        f' viewBox="0 0 {WIDTH_MM:g} {y:.1f}"><path fill="#fff" d="M0 0h{WIDTH_MM:g}v{y:.1f}H0z"/>'
        f"{''.join(parts)}</svg>\n"
    )


def slip_page(svg: str) -> str:
    """The slip as a page that a browser prints, without its own margins and in the slip's width."""
    return (
        '<!doctype html><html lang="und"><head><meta charset="utf-8"><title>Slip</title>'
        "<style>@page{size:80mm auto;margin:4mm}html,body{margin:0;background:#fff}"
        "svg{display:block;margin:0 auto;break-inside:avoid}</style></head><body>"
        f"{svg}</body></html>\n"
    )


def _block(words: Words, y: float) -> Iterator[str]:
    """One language: its title and date in the first line, what to do below."""
    rtl = words.direction == "rtl"
    near, far = (WIDTH_MM - MARGIN_MM, MARGIN_MM) if rtl else (MARGIN_MM, WIDTH_MM - MARGIN_MM)
    more = f' direction="rtl" xml:lang="{words.language}"' if rtl else f' xml:lang="{words.language}"'
    yield _line(words.title, near, y, TEXT_MM, weight=700, more=more)
    yield _line(words.until, far, y, TEXT_MM, anchor="end", more=more)
    for number, line in enumerate(_wrapped(words.steps), 1):
        yield _line(line, near, y + number * LINE_MM, TEXT_MM, more=more)


def _line(
    text: str,
    x: float,
    y: float,
    size_mm: float,
    *,
    anchor: str = "start",
    weight: int = 400,
    font: str = _FONT,
    more: str = "",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-family="{font}" font-size="{size_mm:.2f}" font-weight="{weight}"'
        f' text-anchor="{anchor}"{more}>{escape(text)}</text>'
    )


def _wrapped(text: str) -> list[str]:
    """Lines that fit; measured by the mean width of letters, because fonts differ from machine to machine."""
    room = int((WIDTH_MM - 2 * MARGIN_MM) / (TEXT_MM * _LETTER_MEAN))
    lines = _broken(text, room)
    for narrower in range(room - 1, 0, -1):  # no word alone on the last line
        even = _broken(text, narrower)
        if len(even) > len(lines):
            break
        lines = even
    return lines


def _broken(text: str, room: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if len(longer) > room and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _modules(text: str, code: Code) -> tuple[Sequence[Sequence[int]], int]:
    """The code's modules, 0 for black, and the quiet zone that its standard asks for."""
    formats = zxingcpp.BarcodeFormat
    match code:
        case Code.QR:
            made, quiet = zxingcpp.create_barcode(text, formats.QRCode, ec_level="M"), 4
        case Code.DATAMATRIX:
            made, quiet = zxingcpp.create_barcode(text, formats.DataMatrix, force_square=True), 2
        case Code.PDF417:
            made, quiet = zxingcpp.create_barcode(text, formats.PDF417, options="columns=5"), 2
        case Code.CODE128:
            made, quiet = zxingcpp.create_barcode(text, formats.Code128), 10
    return np.asarray(made.to_image(scale=1, add_quiet_zones=False)).tolist(), quiet


def _code(modules: Sequence[Sequence[int]], quiet: int, code: Code, top: float) -> tuple[str, float]:
    """The code's picture and its height in millimetres."""
    across = len(modules[0]) + 2 * quiet
    if code is Code.CODE128:
        modules = modules[:1]
    down = len(modules) + (2 * quiet if code is not Code.CODE128 else 0)
    square = code in {Code.QR, Code.DATAMATRIX}
    wide = CODE_MM if square else WIDTH_MM - 2.0
    scale = wide / across
    tall = BARS_HEIGHT_MM / down if code is Code.CODE128 else scale
    left, inset = (WIDTH_MM - wide) / 2, 0 if code is Code.CODE128 else quiet
    strokes = []
    for y, row in enumerate(modules, inset):
        x = 0
        while x < len(row):
            start = x
            while x < len(row) and row[x] == row[start]:
                x += 1
            if row[start] == 0:
                strokes.append(f"M{start + quiet} {y}h{x - start}v1h-{x - start}z")
    place = f"translate({left:.2f} {top:.2f}) scale({scale:.4f} {tall:.4f})"
    drawn = "".join(strokes)
    return f'<path transform="{place}" shape-rendering="crispEdges" d="{drawn}"/>', down * tall
