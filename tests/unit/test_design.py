"""The pages' design: every pair of text and ground is readable in light and dark (WCAG 2.2, 1.4.6 and 1.4.11)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parents[2] / "booth" / "static"
TOKENS = (STATIC / "tokens.css").read_text("utf-8")
TEXT_RATIO = 7.0  # AAA for text
LINE_RATIO = 3.0  # borders of controls, focus, drawings
TEXT = [
    ("ink", "ground"),
    ("ink", "surface"),
    ("ink", "accent-soft"),
    ("ink", "good-soft"),
    ("ink-soft", "ground"),
    ("ink-soft", "surface"),
    ("ink-soft", "sunken"),
    ("on-accent", "accent"),
    ("on-accent", "accent-press"),
    ("ground", "ink"),
]
# Large or heavy text and drawings in the colour of a verdict: AA for text.
SIGNS = [
    ("accent", "surface"),
    ("accent", "ground"),
    ("accent", "accent-soft"),
    ("good", "good-soft"),
    ("good", "surface"),
    ("care", "care-soft"),
    ("care", "surface"),
    ("bad", "bad-soft"),
    ("bad", "surface"),
    ("bad", "ground"),
    ("good-soft", "good"),
    ("care-soft", "care"),
]
LINES = [("line", "surface"), ("line", "ground"), ("focus", "focus-halo"), ("focus", "ground"), ("accent", "sunken")]


def colours(block):
    pairs = re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", block)
    return [{name: light for name, light, _ in pairs}, {name: dark for name, _, dark in pairs}]


LIGHT, DARK = colours(TOKENS.split("data-contrast")[0])
# What somebody chose for high contrast, over either.
HIGH, HIGH_DARK = (
    {**plain, **high} for plain, high in zip((LIGHT, DARK), colours(TOKENS.split("data-contrast")[1]), strict=True)
)
SCHEMES = {"light": LIGHT, "dark": DARK, "high": HIGH, "high and dark": HIGH_DARK}


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize(("pairs", "least"), [(TEXT, TEXT_RATIO), (SIGNS, 4.5), (LINES, LINE_RATIO)])
def test_every_pair_of_colours_is_readable(scheme, pairs, least):
    poor = {pair: round(contrast(*(scheme[name] for name in pair)), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in poor.items() if ratio < least} == {}


def test_every_colour_of_a_page_is_a_token():
    sheets = [path for path in STATIC.glob("*.css") if path.name != "tokens.css"]
    # White and black over the live picture stand apart: they belong to the picture, not to the scheme.
    own = {"capture.css": {"#ffffff", "#7df0b0"}}
    for path in sheets:
        assert set(re.findall(r"#[0-9a-f]{3,8}\b", path.read_text("utf-8"))) - own.get(path.name, set()) == set(), (
            path.name
        )


def test_nothing_moves_for_who_asks_for_calm():
    for asked in ("prefers-reduced-motion: reduce", '[data-motion="calm"]'):
        calm = TOKENS.partition(asked)[2]
        assert "animation: none !important" in calm
        assert "transition: none !important" in calm


def test_high_contrast_is_high():
    for scheme in (HIGH, HIGH_DARK):
        assert contrast(scheme["ink"], scheme["ground"]) == pytest.approx(21)
        assert contrast(scheme["accent"], scheme["ground"]) > 12
