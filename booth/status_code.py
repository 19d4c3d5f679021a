"""PURE. The code of the thanks screen: the address of the status page with the visit's token, as a QR code in SVG.

The token stands behind the number sign: a browser never sends that part, so it is in no request line and no log of any server or proxy. Level M:
a quarter of an hour later the code is photographed from a folded paper, or off a screen with glare. The quiet zone of four modules is part of it.
"""

from __future__ import annotations

import numpy as np
import zxingcpp

QUIET_MODULES = 4  # ISO/IEC 18004, 9.1


def status_address(page: str, token: str) -> str:
    """Where the applicant asks for the state of his visit."""
    return f"{page}#{token}"


def draw_code(text: str) -> str:
    """A QR code that scales to any size: one path, one unit per module, black on white in every theme."""
    barcode = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode, ec_level="M")
    modules = np.asarray(barcode.to_image(scale=1, add_quiet_zones=False)).tolist()
    strokes = []
    for y, row in enumerate(modules, QUIET_MODULES):
        x = 0
        while x < len(row):
            start = x
            while x < len(row) and row[x] == row[start]:
                x += 1
            if row[start] == 0:
                strokes.append(f"M{start + QUIET_MODULES} {y}h{x - start}v1h-{x - start}z")
    side = len(modules) + 2 * QUIET_MODULES
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" shape-rendering="crispEdges">'
        f'<path fill="#fff" d="M0 0h{side}v{side}H0z"/><path d="{"".join(strokes)}"/></svg>'
    )
