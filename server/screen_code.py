"""PURE. The QR code of an authenticator's secret: as SVG inside a page, and as letters on a terminal.

Rules: four modules of quiet zone (ISO/IEC 18004), black on white also in a dark theme, for phones read nothing else reliably.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import zxingcpp

QUIET = 4
_BLOCKS = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}


def qr_modules(text: str) -> list[list[bool]]:
    """The code with its quiet zone, True for black."""
    made = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode, ec_level="M")
    inner = np.asarray(made.to_image(scale=1, add_quiet_zones=False)) == 0
    return [[bool(one) for one in row] for row in np.pad(inner, QUIET)]


def qr_svg(text: str) -> str:
    """The code as an SVG element without any text in it."""
    modules = qr_modules(text)
    size = len(modules)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" shape-rendering="crispEdges">'
        f'<path fill="#fff" d="M0 0h{size}v{size}H0z"/><path fill="#000" d="{"".join(_strokes(modules))}"/></svg>'
    )


def qr_lines(text: str) -> list[str]:
    """The code for a terminal of any colours: two rows of modules in a line, white drawn and black left out."""
    modules = qr_modules(text)
    if len(modules) % 2:
        modules.append([False] * len(modules[0]))
    pairs = zip(modules[::2], modules[1::2], strict=True)
    return ["".join(_BLOCKS[not above, not below] for above, below in zip(*pair, strict=True)) for pair in pairs]


def _strokes(modules: list[list[bool]]) -> Iterator[str]:
    for y, row in enumerate(modules):
        x = 0
        while x < len(row):
            start = x
            while x < len(row) and row[x] == row[start]:
                x += 1
            if row[start]:
                yield f"M{start} {y}h{x - start}v1h-{x - start}z"
