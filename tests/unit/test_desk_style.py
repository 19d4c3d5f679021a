"""The desk's colours: every pair of text and ground is readable in both themes (WCAG 2.2, 1.4.3 and 1.4.11)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSS = (Path(__file__).resolve().parents[2] / "server" / "static" / "desk.css").read_text("utf-8")
THEMES = [
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in re.findall(r":root {(.*?)}", CSS, re.DOTALL)
]

TEXT_ON_GROUND = [
    *((text, ground) for text in ("ink", "ink-soft", "accent") for ground in ("ground", "surface", "sunken")),
    ("on-accent", "accent"),
    ("on-accent", "accent-press"),
    ("ink", "bad-soft"),
    ("ink", "care-soft"),
    ("ink-soft", "bad-soft"),
    ("ink-soft", "care-soft"),
    ("ink-soft", "none-soft"),
    *((tone, f"{tone}-soft") for tone in ("good", "care", "bad", "none")),
    ("care", "surface"),
]
LINE_ON_GROUND = [("line-strong", "surface"), ("focus", "ground"), ("focus", "surface"), ("focus", "sunken")]


def luminance(colour: str) -> float:
    """WCAG's relative luminance."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXT_ON_GROUND)
def test_text_is_readable(theme, text, ground):
    assert contrast(theme[text], theme[ground]) >= 4.5


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark"])
@pytest.mark.parametrize(("line", "ground"), LINE_ON_GROUND)
def test_lines_of_controls_are_visible(theme, line, ground):
    assert contrast(theme[line], theme[ground]) >= 3.0


def test_nothing_is_loaded_from_elsewhere():
    assert "url(" not in CSS
    assert "@import" not in CSS
