"""The tables of docs/rules.md, made from the rule table and the profiles, so that no document says another limit than the judgement uses.

`python -m validation.rule_table` prints them; `python -m validation.rule_table docs/rules.md` puts each between its marks
(`<!-- rules -->` … `<!-- end -->`, `<!-- profiles -->` … `<!-- end -->`). A test compares. What is measured is the first line of the measure's docstring.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from validation.profile import Profile, RuleLimits, load_profile, profile_names
from validation.report import Level, Limit
from validation.rules import RULES, Rule

BASE = "icao"
# Heading of each group and the first words of its rules' ids.
GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Size and place", ("geometry",)),
    ("Pose", ("pose",)),
    ("Eyes and eyewear", ("eyes",)),
    ("Mouth and expression", ("mouth", "expression")),
    ("One face, uncovered", ("face",)),
    ("Light and colour", ("light",)),
    ("Background", ("background",)),
    ("Picture and file", ("image",)),
)
MARKED = re.compile(r"(<!-- (rules|profiles) -->\n).*?(?=<!-- end -->)", re.DOTALL)


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def breach(limit: Limit | None) -> str:
    """Which values lie outside a band, in words."""
    if limit is None or limit.low is limit.high is None:
        return ""
    if limit.low is None:
        return f"> {_number(limit.high or 0.0)}"
    if limit.high is None:
        return f"< {_number(limit.low)}"
    if limit.low == limit.high:
        return f"not {_number(limit.low)}"
    if limit.low == -limit.high:
        return f"beyond ±{_number(limit.high)}"
    return f"outside {_number(limit.low)}\N{EN DASH}{_number(limit.high)}"


def refuses(limits: RuleLimits) -> str:
    """What a rule refuses."""
    return breach(limits.limit) if limits.level is Level.REJECT else ""


def warns(limits: RuleLimits) -> str:
    """What a rule warns of, or only tells."""
    outer, narrow = breach(limits.limit), breach(limits.warn_limit)
    if limits.level is Level.REJECT:
        return "" if narrow == outer else narrow
    return f"told: {narrow or outer}" if limits.level is Level.INFO else narrow or outer


def measured(rule: Rule) -> str:
    """What a rule measures, with its unit."""
    told = (inspect.getdoc(rule.measure) or "").partition("\n")[0].removesuffix(".")
    unit = f", {rule.unit}" if rule.unit else ""
    return f"{told}{unit}" + ("" if rule.live else " (not of preview frames)")


def _row(rule: Rule, limits: RuleLimits) -> str:
    return f"| `{rule.id}` | {measured(rule)} | {refuses(limits)} | {warns(limits)} | {limits.source} |"


def rule_tables() -> str:
    """Every rule with the limits of the base profile, one table for each group, in the order of guidance."""
    base = load_profile(BASE)
    parts = []
    for heading, families in GROUPS:
        rows = [
            _row(rule, base.rules[rule.id])
            for rule in RULES
            if rule.id.partition(".")[0] in families and rule.id in base.rules
        ]
        parts.append(
            "\n".join(
                (f"### {heading}", "", "| rule | measured | refuses | warns | source |", "|---|---|---|---|---|", *rows)
            )
        )
    return "\n" + "\n\n".join(parts) + "\n\n"


def _own(profile: Profile, base: Profile) -> list[str]:
    return [
        f"| `{rule.id}` | {limits.level} | {refuses(limits)} | {warns(limits)} | {limits.source} |"
        for rule in RULES
        if (limits := profile.rules.get(rule.id)) is not None and limits != base.rules.get(rule.id)
    ]


def profile_tables() -> str:
    """The profiles: size, cut and chip image of each, and what each changes of the base."""
    base = load_profile(BASE)
    profiles = sorted((load_profile(name) for name in profile_names()), key=lambda p: (p.name != BASE, p.name))
    sizes = [
        f"| `{p.name}` | {p.version} | {p.title} | {p.width_px} x {p.height_px} | {p.crop.head_height * 100:g} / {p.crop.eye_line * 100:g} | {p.size_source} |"
        for p in profiles
    ]
    head = "| profile | version | for | delivers, px | head / eye line of the cut, % | source of the size |"
    chips = [
        f"| `{p.name}` | {p.chip.width_px} x {p.chip.height_px} | {p.chip.bytes} | ISO/IEC {p.chip.record} | {p.chip.source} |"
        for p in profiles
    ]
    chip_head = "| profile | chip image within, px | bytes, \N{MINUS SIGN}5 to 0 % | record | source |"
    parts = [
        "\n".join((head, "|---|---|---|---|---|---|", *sizes)),
        "\n".join((chip_head, "|---|---|---|---|---|", *chips)),
    ]
    for profile in profiles[1:]:
        own = _own(profile, base)
        parts.append(
            "\n".join(
                (
                    f"`{profile.name}` changes of `{BASE}`:",
                    "",
                    "| rule | level | refuses | warns | source |",
                    "|---|---|---|---|---|",
                    *own,
                )
            )
        )
    return "\n" + "\n\n".join(parts) + "\n\n"


TABLES = {"rules": rule_tables, "profiles": profile_tables}


def filled(document: str) -> str:
    """A document with both tables put between their marks."""
    return MARKED.sub(lambda found: found.group(1) + TABLES[found.group(2)](), document)


def main(arguments: list[str]) -> None:
    """Print both tables, or put them into the documents named."""
    for name in arguments:
        path = Path(name)
        path.write_text(filled(path.read_text("utf-8")), "utf-8")
    if not arguments:
        print(rule_tables(), profile_tables(), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
