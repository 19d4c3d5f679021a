"""No text that a person reads stands in the booth's scripts or pages: all of it is in the catalogues."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

BOOTH = Path(__file__).resolve().parents[2] / "booth"
SCRIPTS = sorted((BOOTH / "static").glob("*.js"))
# The report of `booth check` is a page for the technician in English, and made by code of its own.
PAGES = sorted(path for path in (BOOTH / "pages").glob("*.html") if path.name != "check_report.html")
SAID = {
    "alt",
    "aria-description",
    "aria-label",
    "aria-roledescription",
    "aria-valuetext",
    "label",
    "placeholder",
    "title",
}
KEYS = {"ABC", "123"}  # what stands on the keys themselves

_COMMENT = re.compile(r"/\*.*?\*/|(?<![:\"'`\\])//[^\n]*", re.DOTALL)
_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`')
_SHOWN = re.compile(
    rf'(?:\b(?:text|textContent|innerText|title|placeholder|alt)|"(?:{"|".join(SAID)})")\s*[:=]\s*["`]([^"`]+)["`]'
)
_SENTENCE = re.compile(
    r"[A-Z][a-z]+[ ,]+[a-z]+|[^\W\d_a-zA-Z]"
)  # two words that begin a sentence, or a letter that no key has


def told_by(script: str) -> list[str]:
    """Literals of a script that look like words for a person."""
    code = _COMMENT.sub("", script)
    strings = [one or other for one, other in _STRING.findall(code)]
    shown = [
        text for text in _SHOWN.findall(code) if re.search(r"[^\W\d_]", text.replace("${", "")) and "${" not in text
    ]
    errors = set(re.findall(r"(?:Error|console\.error)\(\s*[\"`]([^\"`]+)", code))  # for the log
    return [
        text
        for text in [*shown, *(string for string in strings if _SENTENCE.search(string))]
        if text not in KEYS | errors
    ]


class _Texts(HTMLParser):
    """Text nodes and spoken attributes of a template, without what comes from a catalogue."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self._tag = ""

    def handle_data(self, data: str) -> None:
        self._look(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag  # a command to type is the same in every language
        for name, value in attrs:
            if name in SAID:
                self._look(value or "")

    def _look(self, text: str) -> None:
        if self._tag not in {"code", "script", "style"} and re.search(r"[^\W\d_]", text):
            self.told.append(text.strip())


def told_in(page: str) -> list[str]:
    """Literal text of a template."""
    reader = _Texts()
    reader.feed(re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", page, flags=re.DOTALL))
    return reader.told


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_text_stands_in_a_script(path):
    assert told_by(path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_text_stands_in_a_page(path):
    assert told_in(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "code",
    [
        'el("p", { text: "Stop" })',
        'button.textContent = "Go on";',
        'el("img", { "aria-label": "portrait" })',
        'post("Please wait a moment");',
        "show(`Noch ein Versuch`);",
        'el("b", { class: "Стоп" })',
    ],
)
def test_text_in_a_script_is_found(code):
    assert told_by(code) != []


def test_text_in_a_page_is_found():
    assert told_in('<p>Hello {{ name }}</p><img alt="A face"><b title="{{ t }}">5</b>') == ["Hello", "A face"]
