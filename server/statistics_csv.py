"""PURE. Counts as CSV (RFC 4180) for spreadsheets and for programs.

Rules:
  - UTF-8 with a byte order mark: without it Excel reads another encoding, and places have names in every alphabet; programs skip it (`utf-8-sig`).
  - A text that a spreadsheet would take for a formula begins with an apostrophe (OWASP, CSV Injection): whoever names a place could otherwise make other people's
    spreadsheets compute. Numbers are plain, with a point, and never negative.
    The same within a text, behind what separates cells elsewhere: a spreadsheet of many languages reads `;` as the end of a cell, whatever stands around it.
  - Headings are English words that programs can rely on, in every language.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
# What begins a formula in Excel, LibreOffice or Google Sheets, and the wide forms that some of them read alike; control characters may hide one.
_FORMULA = tuple(
    "=+-@\t\r\n|%\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
)

_BEHIND_SEPARATOR = re.compile(rf"""([;,|][\s"';,|]*)(?=[{re.escape("".join(_FORMULA))}])""")

Cell = str | int | float | None


def csv_lines(rows: Iterable[Sequence[Cell]]) -> str:
    """Rows as they stand in a file."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([_safe(cell) for cell in row] for row in rows)
    return out.getvalue()


def _safe(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.6f}"
    if isinstance(cell, int):
        return str(cell)
    plain = "".join(character if character.isprintable() else " " for character in cell)
    plain = _BEHIND_SEPARATOR.sub(r"\1'", plain)
    return f"'{plain}" if plain.lstrip().startswith(_FORMULA) or cell.startswith(_FORMULA) else plain
