"""What `booth check` prints: one table for one photo, one line per photo for many.

The table has the rules by subject; below it, and in a photo's line, stand the broken rules with value and limit, the most urgent first, then what
only advises, by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from booth.check_photo import Checked, Outcome
from validation.report import Finding, Level, Limit, Report, Verdict

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.table import Table

    from booth.messages import Messages

SUBJECTS: Mapping[str, str] = {
    "face": "Face",
    "geometry": "Size and place",
    "pose": "Head pose",
    "eyes": "Eyes and glasses",
    "mouth": "Mouth",
    "expression": "Expression",
    "light": "Light and colour",
    "background": "Background",
    "image": "Picture",
}
# In the booth these say what its own devices are doing; to whoever holds a file they would mean nothing.
FILE_ADVICE = {
    "advice.no_face": "Use a photo that shows one face from the front",
    "advice.one_person": "Use a photo that shows one person only",
    "advice.hold_still": "Take the photo again without movement",
    "advice.light_problem": "Light the face evenly from the front, without flash",
    "advice.background_problem": "Use a plain, light wall without shadows, with nothing and nobody beside the head",
    "advice.camera_problem": "Use the camera's original file, or take the photo again",
    "geometry.head_inside": "Show the whole head with room around it",
    "image.aspect": "Cut the picture to the shape that the profile asks for",
    "image.size": "Use a picture with more pixels",
}
TOO_LARGE = "Cut the picture to the size that the profile asks for"
LEVEL_WORDS = {Level.REJECT: "", Level.WARN: "advice", Level.INFO: "info"}
VERDICT_STYLES = {
    Verdict.PASS: "green",
    Verdict.WARN: "yellow",
    Verdict.FAIL: "bold red",
    Verdict.NOT_ASSESSED: "magenta",
}
MOST_DIGITS = 4
COUNTS = frozenset({"faces", "levels"})
MOST_NAMED = 4  # borderline rules in a photo's line
WIDE = 125  # columns of a terminal that hold a whole table
NARROWEST = 24  # columns for the rules' names
JUDGED_WORDS = {"as_submitted": "as submitted", "crop": "as the booth would cut it", "live": "live"}
OUTCOMES = {
    Outcome.COMPLIANT: ("green", "compliant"),
    Outcome.NOT_COMPLIANT: ("bold red", "not compliant"),
    Outcome.NOT_JUDGED: ("bold magenta", "could not be judged"),
}


def shown(name: str) -> str:
    """A file name without the characters that steer a terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)


def subject(finding: Finding) -> str:
    """The heading that a rule stands under."""
    key = finding.rule.partition(".")[0]
    return SUBJECTS.get(key, key)


def by_subject(report: Report) -> list[tuple[str, list[Finding]]]:
    """The findings under their headings."""
    places = {name: at for at, name in enumerate(SUBJECTS.values())}
    ordered = sorted(report.findings, key=lambda found: places.get(subject(found), len(places)))
    return [(name, list(members)) for name, members in groupby(ordered, subject)]


def measured(found: Finding) -> str:
    """The value for people, with as many digits as show on which side of its limits it lies; judged was the unrounded one."""
    if found.value is None:
        return "-"
    digits = 0 if found.unit in COUNTS or (found.unit == "px" and abs(found.value) >= 100) else 1
    while digits < MOST_DIGITS and _sides(found, round(found.value, digits)) != _sides(found, found.value):
        digits += 1
    number = f"{round(found.value, digits) + 0.0:.{digits}f}"  # + 0.0: no minus before nothing
    if found.unit == "°":
        return f"{number}°"
    unit = "face" if (number, found.unit) == ("1", "faces") else found.unit
    return f"{number} {unit}".strip()


def _sides(found: Finding, value: float) -> tuple[bool, ...]:
    return tuple(limits.holds(value) for limits in (found.limit, found.warn_limit) if limits is not None)


def limit(found: Finding) -> str:
    """The band for people, with the warning band behind it."""
    told, better = band(found.limit), band(found.warn_limit)
    if not better or better == told:
        return told
    return f"{told}, better {better}" if told else f"better {better}"


def band(limits: Limit | None) -> str:
    """A band for people; empty when it has no end."""
    if limits is None or (limits.low is None and limits.high is None):
        return ""
    if limits.low is not None and limits.high is not None:
        return f"{limits.low:g}" if limits.low == limits.high else f"{limits.low:g} to {limits.high:g}"
    return f"≥ {limits.low:g}" if limits.low is not None else f"≤ {limits.high:g}"


def rule_name(messages: Messages, rule: str) -> str:
    """The rule in words; its id where the catalogue has none."""
    found = messages.texts.get(f"rule.{rule}.name")
    return found if isinstance(found, str) else rule


def remedy(messages: Messages, found: Finding) -> str:
    """Why a rule was not assessed, or what to do; empty when there is nothing to say."""
    if found.reason is not None:
        return found.reason
    if found.rule == "image.size" and _too_high(found):
        return TOO_LARGE
    if found.advice == "advice.none":
        return ""
    text = FILE_ADVICE.get(found.rule) or FILE_ADVICE.get(found.advice) or messages.texts.get(found.advice)
    return text if isinstance(text, str) else ""


def _too_high(found: Finding) -> bool:
    return found.value is not None and found.limit.high is not None and found.value > found.limit.high


def print_report(console: Console, one: Checked, messages: Messages) -> None:
    """The whole table of one photo."""
    from rich.markup import escape
    from rich.padding import Padding

    report = one.report
    if report is None:
        print_line(console, one, messages)
        return
    console.print(_table(one, report, messages, console.width))
    for note in report.notes:
        console.print(f"  note: {escape(note)}", highlight=False)
    if report.crop is not None:
        facts = report.crop
        console.print(
            f"  cut from {facts.source_width} x {facts.source_height}, turned by {facts.angle_deg:.1f}°, "
            f"scale {facts.scale:.2f}",
            highlight=False,
        )
    if one.portrait is not None:
        console.print(f"  portrait written: {escape(shown(str(one.portrait)))}", highlight=False, soft_wrap=True)
    style, text = OUTCOMES[one.outcome]
    console.print(
        f"  [{style}]{text}[/{style}] under profile {escape(report.profile)}: {counts(report)}", highlight=False
    )
    # Last, so that it is read without scrolling up the table.
    lines = [
        f"[bold]{escape(name)}[/bold]: {escape(told)}" + (f" - {escape(help_)}" if help_ else "")
        for name, told, help_ in in_the_way(report, messages)
    ]
    named = borderline(report, messages)
    if named:
        lines.append(f"borderline: {escape(', '.join(named))}")
    for line in lines:
        console.print(Padding(line, (0, 0, 0, 4), expand=False), highlight=False)
    console.print()


def counts(report: Report) -> str:
    """How many rules got which verdict, in words."""
    of = {verdict: sum(f.verdict is verdict for f in report.findings) for verdict in Verdict}
    words = {
        Verdict.FAIL: "failed",
        Verdict.WARN: "borderline",
        Verdict.NOT_ASSESSED: "not assessed",
        Verdict.PASS: "met",
    }
    return ", ".join(f"{of[verdict]} {word}" for verdict, word in words.items() if of[verdict])


def print_line(console: Console, one: Checked, messages: Messages) -> None:
    """One photo in one line (a terminal may wrap it)."""
    from rich.text import Text

    style, word = OUTCOMES[one.outcome]
    line = Text.assemble((f"{word:<19}", style), " ", (shown(one.photo), "bold"))
    told = reasons(one, messages)
    if told:
        line.append(f": {told}")
    console.print(line, soft_wrap=True, highlight=False)


def reasons(one: Checked, messages: Messages) -> str:
    """What stands in the way, most urgent first, and what else is borderline."""
    if one.report is None:
        return one.error or ""
    parts = [f"{name} ({told})" for name, told, _ in in_the_way(one.report, messages)]
    named = borderline(one.report, messages)
    if named:
        more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        parts.append(f"borderline: {', '.join(named[:MOST_NAMED])}{more}")
    return "; ".join(parts)


def borderline(report: Report, messages: Messages) -> list[str]:
    """The names of the rules that warn, in the order of guidance."""
    return [rule_name(messages, found.rule) for found in report.findings if found.verdict is Verdict.WARN]


def in_the_way(report: Report, messages: Messages) -> list[tuple[str, str, str]]:
    """The blocking rules in the order of guidance, broken ones first: name, value with limit or reason, and what to do.

    Rules that could not be checked for one and the same reason are told together: often a broken one is behind it.
    """
    told: list[tuple[str, str, str]] = []
    unclear = Counter(found.reason for found in report.blocking if found.reason is not None)
    for found in sorted(report.blocking, key=lambda found: found.reason is not None):
        name = rule_name(messages, found.rule)
        if found.reason is None:
            told.append((name, f"{measured(found)}, limit {band(found.limit)}", remedy(messages, found)))
        elif unclear[found.reason] == 1:
            told.append((name, found.reason, ""))
        elif all(found.reason != reason for _, reason, _ in told):
            told.append((f"{unclear[found.reason]} rules not checked", found.reason, ""))
    return told


def print_sum(console: Console, checked: Sequence[Checked]) -> None:
    """How many photos had which outcome."""
    parts = []
    for outcome, (style, word) in OUTCOMES.items():
        number = sum(one.outcome is outcome for one in checked)
        if number:
            parts.append(f"[{style}]{number} {word}[/{style}]")
    console.print(f"{len(checked)} photos: {', '.join(parts)}", highlight=False)


def _table(one: Checked, report: Report, messages: Messages, width: int) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=f"{escape(shown(one.photo))} - judged {JUDGED_WORDS[report.judged]}, {report.width} x {report.height}",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    # In a narrow window what to do stands below the rule, and long cells take more lines.
    narrow = width < WIDE
    columns = (
        {"measured": 12, "limit": 16, "verdict": 13} if narrow else dict.fromkeys(("measured", "limit", "verdict"))
    )
    taken = sum(column or 0 for column in columns.values()) + len(columns) + 3
    table.add_column("rule", width=max(width - taken, NARROWEST) if narrow else None)
    for name, column in columns.items():
        justify: JustifyMethod = "left" if name == "verdict" else "right"
        table.add_column(name, justify=justify, no_wrap=not narrow, width=column)
    if not narrow:
        table.add_column("what to do")
    for heading, findings in by_subject(report):
        table.add_row(f"[bold]{escape(heading)}[/bold]")
        for found in findings:
            style = VERDICT_STYLES[found.verdict]
            level = LEVEL_WORDS[found.level]
            title, help_ = f"  {escape(rule_name(messages, found.rule))}", escape(remedy(messages, found))
            cells = [
                f"{title}\n    [dim]{help_}[/dim]" if narrow and help_ else title,
                escape(measured(found)),
                escape(limit(found).replace(", ", ",\n") if narrow else limit(found)),
                f"[{style}]{escape(messages.text(f'verdict.{found.verdict.value}'))}[/{style}]"
                + (f" [dim]({level})[/dim]" if level else ""),
            ]
            table.add_row(*cells, *([] if narrow else [help_]))
    return table
