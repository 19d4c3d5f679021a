"""DET plots as SVG, and the page that links them. No script, no font, no file from elsewhere; every text is escaped.

Both axes are normal deviates of the error rates, as in Martin et al., "The DET curve in assessment of detection task performance", Eurospeech
1997: false rejects across, false accepts up. Rates beyond the axes are drawn on their ends. The curve is drawn in steps, because between two
photos there is no other threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from statistics import NormalDist

from booth.evaluation import Curve

SIDE, LEFT, TOP = 400, 64, 40
WIDTH, HEIGHT = LEFT + SIDE + 24, TOP + SIDE + 60
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 90)  # per cent
LOWEST, HIGHEST = 0.001, 0.9
COLOURS = ("#0b5394", "#b45f06")
DASHES = ("", "5 3")

STYLE = (
    "body{font:16px/1.4 system-ui,sans-serif;margin:2rem;color:#1a1a1a;background:#fff}"
    "table{border-collapse:collapse}td,th{padding:.2rem .7rem;border-bottom:1px solid #ccc;text-align:right;white-space:nowrap}"
    "td:first-child,th:first-child{text-align:left}h1{font-size:1.4rem}"
)


def _deviate(rate: float) -> float:
    normal = NormalDist()
    low, high = normal.inv_cdf(LOWEST), normal.inv_cdf(HIGHEST)
    return (normal.inv_cdf(min(max(rate, LOWEST), HIGHEST)) - low) / (high - low)


def _x(rate: float) -> float:
    return LEFT + SIDE * _deviate(rate)


def _y(rate: float) -> float:
    return TOP + SIDE * (1 - _deviate(rate))


def _path(curve: Curve) -> str:
    """Steps: first the false accepts rise, then the false rejects fall."""
    corners: list[tuple[float, float]] = []
    for frr, far in zip(curve.frr, curve.far, strict=True):
        x, y = round(_x(float(frr)), 1), round(_y(float(far)), 1)
        if corners and corners[-1][0] != x and corners[-1][1] != y:
            corners.append((corners[-1][0], y))
        if not corners or corners[-1] != (x, y):
            corners.append((x, y))
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in corners)


def det_svg(title: str, curves: Sequence[tuple[str, Curve]]) -> str:
    """One plot. `curves`: up to two, each with its legend."""
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="system-ui,sans-serif" font-size="11" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for tick in TICKS:
        x, y = round(_x(tick / 100), 1), round(_y(tick / 100), 1)
        parts += [
            f'<path d="M{x:g} {TOP}V{TOP + SIDE}M{LEFT} {y:g}H{LEFT + SIDE}" stroke="#ddd" fill="none"/>',
            f'<text x="{x:g}" y="{TOP + SIDE + 14}" text-anchor="middle">{tick:g}</text>',
            f'<text x="{LEFT - 6}" y="{y + 4:g}" text-anchor="end">{tick:g}</text>',
        ]
    parts += [
        f'<path d="M{LEFT} {TOP + SIDE}L{LEFT + SIDE} {TOP}" stroke="#aaa" stroke-dasharray="2 4" fill="none"/>',
        f'<rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#444"/>',
        f'<text x="{LEFT + SIDE / 2:g}" y="{TOP + SIDE + 32}" text-anchor="middle">false rejects, %</text>',
        f'<text transform="translate(16 {TOP + SIDE / 2:g})rotate(-90)" text-anchor="middle">false accepts, %</text>',
    ]
    for number, (legend, curve) in enumerate(curves):
        colour, dash = COLOURS[number % 2], DASHES[number % 2]
        y = TOP + SIDE + 50
        x = LEFT + number * SIDE / 2
        parts += [
            f'<path d="{_path(curve)}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>',
            f'<circle cx="{_x(curve.eer):.1f}" cy="{_y(curve.eer):.1f}" r="3.5" fill="{colour}"/>',
            f'<path d="M{x:g} {y - 4}h18" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>',
            f'<text x="{x + 23:g}" y="{y}">{escape(legend)}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def page(
    title: str, notes: Sequence[str], columns: Sequence[str], rows: Sequence[tuple[str | None, Sequence[str]]]
) -> str:
    """A table as a page of its own. Each row: the address its first cell links to, and the cells."""
    head = "".join(f"<th>{escape(c)}</th>" for c in columns)
    lines = []
    for address, cells in rows:
        first = escape(cells[0])
        if address is not None:
            first = f'<a href="{escape(address)}">{first}</a>'
        lines.append(f"<tr><td>{first}</td>" + "".join(f"<td>{escape(c)}</td>" for c in cells[1:]) + "</tr>")
    told = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src 'self'\">"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><h1>{escape(title)}</h1>{told}\n"
        f"<table><thead><tr>{head}</tr></thead><tbody>\n" + "\n".join(lines) + "\n</tbody></table></body></html>\n"
    )
