"""Tables of measured figures in a page of the documentation: each stands between its own mark and the next end mark, and is written anew there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path


def fill_tables(page: Path, tables: Mapping[str, str]) -> None:
    """Replaces what stands between `<!-- name -->` and `<!-- end -->`; raises ValueError for a name that the page does not have."""
    text = page.read_text("utf-8")
    for name, lines in tables.items():
        text, found = re.subn(
            rf"(<!-- {re.escape(name)} -->\n).*?(?=<!-- end -->)",
            lambda match, lines=lines: f"{match.group(1)}\n{lines}\n\n",
            text,
            flags=re.DOTALL,
        )
        if found != 1:
            raise ValueError(f"{page.name} has {found} places for the table {name!r}.")
    page.write_text(text, "utf-8")
