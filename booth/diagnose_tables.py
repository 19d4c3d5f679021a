"""PURE but for printing: what `booth diagnose` shows: findings with cause and remedy in words, the list of checks, trends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from booth.diagnostics import CHECKS, Check
from booth.messages import Messages
from booth.self_test import GRAVITY, Verdict
from booth.terminal import output, printable

if TYPE_CHECKING:
    from booth.maintenance import TestRun
    from booth.self_test import CheckFinding
    from booth.trends import Trend

SIGNS = {
    "pass": "[green]ok[/]",
    "warn": "[yellow]watch[/]",
    "fail": "[bold red]FAILED[/]",
    "not_assessed": "[dim]not assessed[/]",
}


def show_run(run: TestRun) -> None:
    """Every finding; below, what is not in order with its cause and remedy, the gravest first."""
    words, console = Messages.load("en"), output()
    table = Table("Check", "", "Value", "Limit", "", box=SIMPLE_HEAD)
    table.columns[1].no_wrap = True
    table.columns[2].justify = table.columns[3].justify = "right"
    for finding in run.findings:
        table.add_row(
            escape(words.text(f"check.{finding.id}")),
            f"[dim]{finding.id}[/]",
            value_told(finding.value, finding.unit),
            limits_told(finding.low, finding.high),
            SIGNS[finding.verdict],
        )
    console.print(table)
    alike: dict[tuple[Verdict, tuple[str, ...]], list[str]] = {}  # what has one cause and one remedy is told once
    for finding in sorted(run.findings, key=lambda one: -GRAVITY[one.verdict]):
        if said := said_of(finding, words):
            alike.setdefault((finding.verdict, tuple(said)), []).append(words.text(f"check.{finding.id}"))
    for (verdict, lines), names in alike.items():
        console.print(f"[bold]{escape(', '.join(names))}[/]  {SIGNS[verdict]}")
        console.print(Padding("\n".join(escape(line) for line in lines), (0, 0, 1, 2)))
    count = {verdict: sum(each.verdict == verdict for each in run.findings) for verdict in SIGNS}
    print(
        f"{count['pass']} in order, {count['warn']} to watch, {count['fail']} failed, {count['not_assessed']} not assessed"
        + (f"; ended early, {run.total - run.done} left out." if run.cancelled else ".")
    )


def said_of(finding: CheckFinding, words: Messages) -> list[str]:
    """Cause and remedy in words; nothing when all is well."""
    if finding.verdict == "pass" or finding.cause is None:
        return []
    lamps = {key: _named(value, words) for key, value in finding.about.items()}
    told = [words.text(finding.cause, **lamps)]
    if finding.remedy is not None:
        told.append("→ " + words.text(finding.remedy, **lamps))
    return [printable(line) for line in told]


def _named(value: str, words: Messages) -> str:
    """The name of a lamp in words; anything else as it is."""
    key = f"technician.lamp.{value}"
    return words.text(key) if key in words.texts else value


def value_told(value: float | None, unit: str) -> str:
    """A value with its unit, to the digits that it is worth."""
    return (
        "" if value is None else f"{value:,.3g} {unit}".strip() if abs(value) < 100 else f"{value:,.0f} {unit}".strip()
    )


def limits_told(low: float | None, high: float | None) -> str:
    """Where a value belongs."""
    if low is None or high is None:
        return "" if low is None and high is None else f"≤ {_figure(high)}" if low is None else f"≥ {_figure(low)}"
    return f"{_figure(low)} … {_figure(high)}"


def _figure(value: float | None) -> str:
    """Three digits, whole thousands whole."""
    return "" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def show_checks(*, as_json: bool) -> None:
    """Every check."""
    if as_json:
        print(json.dumps([_told(check) for check in CHECKS]))
        return
    words = Messages.load("en")
    table = Table("Check", "", "Limit", "Where the limit comes from", box=SIMPLE_HEAD)
    table.columns[0].no_wrap = True
    for check in CHECKS:
        limit = f"{limits_told(check.limits.low, check.limits.high)} {check.unit}".strip()
        name = words.text(f"check.{check.id}") + (" (with the test card)" if check.attended else "")
        table.add_row(check.id, escape(name), limit, escape(check.limits.source))
    output().print(table)


def _told(check: Check) -> dict[str, object]:
    limits = check.limits
    return {
        "id": check.id,
        "unit": check.unit,
        "low": limits.low,
        "high": limits.high,
        "warn_low": limits.warn_low,
        "warn_high": limits.warn_high,
        "source": limits.source,
        "attended": check.attended,
        "causes": list(check.causes),
    }


def show_trends(trends: Sequence[Trend], *, as_json: bool) -> None:
    """The last weeks."""
    if as_json:
        print(json.dumps([trend.model_dump() for trend in trends]))
        return
    words = Messages.load("en")
    table = Table("Check", "Now", "7 days", "30 days before", "Per day", "Limit", "Reached in", box=SIMPLE_HEAD)
    shown = [trend for trend in trends if trend.newest is not None]
    for trend in shown:
        table.add_row(
            escape(words.text(f"check.{trend.check}")),
            value_told(trend.newest, trend.unit),
            value_told(trend.recent, trend.unit),
            value_told(trend.before, trend.unit),
            "" if trend.per_day is None else f"{trend.per_day:+.2g}",
            limits_told(trend.low, trend.high),
            "" if trend.crosses_in_days is None else f"{trend.crosses_in_days:.0f} days",
        )
    output().print(table if shown else "No self-tests were kept yet.")
