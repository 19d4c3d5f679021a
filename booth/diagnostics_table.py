"""Writes the tables of docs/diagnostics.md from the table of checks: `python -m booth.diagnostics_table docs/diagnostics.md`. A test compares them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from booth.diagnose_tables import limits_told
from booth.diagnostics import CHECKS, EVERYWHERE, Check
from booth.messages import Messages

MARKS = re.compile(r"(<!-- (checks|causes) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(document: str) -> str:
    """The document with its tables as they must be."""
    words = Messages.load("en")
    tables = {"checks": _checks(words), "causes": _causes(words)}
    return MARKS.sub(lambda found: f"{found[1]}{tables[found[2]]}{found[3]}", document)


def _checks(words: Messages) -> str:
    lines = ["| check | what | limit | warns | where the limit comes from |", "|---|---|---|---|---|"]
    for check in CHECKS:
        name = words.text(f"check.{check.id}") + (" (attended)" if check.attended else "")
        limits = check.limits
        warns = _with_unit(limits_told(limits.warn_low, limits.warn_high), check.unit)
        limit = _with_unit(limits_told(limits.low, limits.high), check.unit)
        lines.append(f"| `{check.id}` | {name} | {limit} | {warns} | {limits.source} |")
    return "\n".join(lines) + "\n"


def _with_unit(limit: str, unit: str) -> str:
    return f"{limit} {unit}".strip() if limit else ""


def _causes(words: Messages) -> str:
    checks: dict[str, list[Check]] = {}
    for check in CHECKS:
        for cause in check.causes:
            checks.setdefault(cause, []).append(check)
    for cause in EVERYWHERE:
        checks.setdefault(cause, [])
    lines = ["| cause | told by | what is wrong | what to do |", "|---|---|---|---|"]
    for cause, by in checks.items():
        told = "any" if cause in EVERYWHERE else ", ".join(_families(by))
        lines.append(f"| `{cause}` | {told} | {_raw(words, f'cause.{cause}')} | {_raw(words, f'remedy.{cause}')} |")
    return "\n".join(lines) + "\n"


def _raw(words: Messages, key: str) -> str:
    """The text with its braces."""
    return str(words.texts[key]).replace("|", "\\|")


def _families(checks: list[Check]) -> list[str]:
    """Ids, the lamps' as one."""
    return list(dict.fromkeys("`lamp.*`" if each.id.startswith("lamp.") else f"`{each.id}`" for each in checks))


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(filled(path.read_text("utf-8")), "utf-8")
