"""The catalogues: complete in every language, and in step with what pages and code ask for."""
# ruff: noqa: RUF001 - Russian is written in Cyrillic

from __future__ import annotations

import gettext
import re
from pathlib import Path
from typing import get_args

import pytest
from babel import Locale
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

from booth.faults import TABLE
from booth.kiosk import StateName
from booth.messages import LOCALE_FOLDER, PLACEHOLDER, CatalogueError, Messages, known_languages
from validation.rules import RULES

BOOTH = Path(__file__).resolve().parents[2] / "booth"
HOUSE = BOOTH.parent
SCRIPTS = sorted((BOOTH / "static").glob("*.js"))
PAGES = sorted((BOOTH / "pages").glob("*.html"))
ENGLISH = Messages.load("en")
# Families whose keys are put together at run time: every member of these may be asked for.
COMPOSED = (
    r"advice\.\w+",
    r"fault\.\w+",
    r"identify\.\w+",
    r"rule\.[\w.]+\.(name|explain)",
    r"state\.\w+\.(title|text)",
    r"step\.\w+",
    r"verdict\.\w+",
    r"staff\.(wrong|wait|no_list|not_now)",
    r"reason\.\w+",
    r"staff\.action\.\w+(\.text)?",
    r"(check|cause|remedy)\.[\w.]+",
    r"switch\.\w+",
    r"technician\.(state|device|level|level_from|intake|findings|visit|info|lamp|tab|family|live|refused|order|outcome|order_code)\.\w+",
    r"technician\.light\.(problem|place)\.\w+",
    r"technician\.(step|ask|value)\.\w+",
    r"technician\.drift\.\w+\.\w+",
    r"training\.(cause|explain|scene)\.\w+",
)
KEY = re.compile(
    r"[\"'`]((?:page|action|step|state|attract|identify|keypad|consent|framing|review|verdict|thanks|clearing|assistance"
    r"|out_of_service|access|leaf|timeout|connection|advice|rule|fault|technician|training|staff|reason|voice)\.[a-z_.]*[a-z_])[\"'`]"
)


def parts(text):
    return [text] if isinstance(text, str) else list(text.values())


def literal_keys(paths):
    return {key for path in paths for key in KEY.findall(path.read_text("utf-8"))}


@pytest.mark.parametrize("language", known_languages())
def test_every_key_is_there_in_every_language(language):
    assert Messages.load(language).texts.keys() == ENGLISH.texts.keys()


@pytest.mark.parametrize("language", known_languages())
def test_no_text_is_empty_and_placeholders_agree_with_the_english_ones(language):
    for key, text in Messages.load(language).texts.items():
        wanted = set(PLACEHOLDER.findall(" ".join(parts(ENGLISH.texts[key]))))
        for form in parts(text):
            assert form.strip() == form != "", key
            found = set(PLACEHOLDER.findall(form))
            # Arabic says one and two of a thing without a number.
            assert found <= wanted if isinstance(text, dict) else found == wanted, key
        assert isinstance(text, str) == isinstance(ENGLISH.texts[key], str), key


@pytest.mark.parametrize("language", known_languages())
def test_plurals_have_every_category_of_the_language(language):
    wanted = {Locale.parse(language).plural_form(count) for count in range(201)} | {"other"}
    plurals = [text for text in Messages.load(language).texts.values() if not isinstance(text, str)]
    assert plurals
    assert all(set(text) == wanted for text in plurals)


@pytest.mark.parametrize("language", known_languages())
def test_the_plural_rule_of_the_header_is_the_one_of_cldr(language):
    with (LOCALE_FOLDER / f"{language}.po").open("rb") as file:
        catalogue = read_po(file, locale=language)
    choose, locale = gettext.c2py(catalogue.plural_expr), Locale.parse(language)
    named = {}
    for count in range(1001):
        named.setdefault(choose(count), set()).add(locale.plural_form(count))
    assert sorted(named) == list(range(catalogue.num_plurals))
    assert all(len(categories) == 1 for categories in named.values()), named


def test_every_key_that_pages_and_scripts_ask_for_exists():
    used = literal_keys([*SCRIPTS, *PAGES]) - {"advice.none"}  # nothing to do
    assert len(used) > 100
    assert used - ENGLISH.texts.keys() == set()


def test_every_key_that_the_booth_sends_exists():
    sources = [path for room in ("booth", "validation", "capture") for path in (HOUSE / room).rglob("*.py")]
    sent = literal_keys(sources) - {"advice.none"}  # nothing to do
    sent = {key for key in sent if key.startswith(("advice.", "fault.", "identify.", "state."))}
    sent |= {message for _, message, _ in TABLE.values()}
    sent |= {advice for rule in RULES for advice in (rule.below, rule.above)} - {"advice.none"}
    assert sent - ENGLISH.texts.keys() == set()


def test_every_state_and_every_rule_has_its_words():
    titles = {f"state.{name}.title" for name in get_args(StateName)} - {
        "state.review.title"
    }  # says good or poor instead
    rules = {f"rule.{rule.id}.{part}" for rule in RULES for part in ("name", "explain")}
    visits = {f"technician.visit.{name}" for name in get_args(StateName)}
    assert (titles | rules | visits) - ENGLISH.texts.keys() == set()


def test_no_text_is_left_over():
    used = literal_keys([*SCRIPTS, *PAGES, BOOTH / "web.py"])
    composed = re.compile("|".join(f"(?:{family})" for family in COMPOSED))
    assert [key for key in ENGLISH.texts if key not in used and not composed.fullmatch(key)] == []


def test_every_instruction_has_a_drawing_of_its_own_or_an_arrow():
    drawn = set(re.findall(r'"(advice\.\w+)":', (BOOTH / "static" / "parts.js").read_text("utf-8")))
    assert {key for key in ENGLISH.texts if key.startswith("advice.")} == drawn


def test_every_drawing_that_is_asked_for_is_in_the_sprite():
    sprite = set(re.findall(r'id="icon-([\w-]+)"', (BOOTH / "static" / "icons.svg").read_text("utf-8")))
    scripts = "".join(path.read_text("utf-8") for path in SCRIPTS)
    asked = set(re.findall(r'\bicon\("([\w-]+)"', scripts)) | set(re.findall(r'\bhero\("([\w-]+)"', scripts))
    asked |= set(re.findall(r'"advice\.\w+": "([\w-]+)"', scripts))
    assert asked - sprite == set()


def test_languages_are_called_by_their_own_names():
    assert [Messages.load(language).name for language in known_languages()] == [
        "English",
        "Deutsch",
        "Русский",
        "العربية",
    ]
    assert Messages.load("ar").direction == "rtl"
    assert {Messages.load(language).direction for language in ("en", "de", "ru")} == {"ltr"}


@pytest.mark.parametrize(
    ("language", "count", "text"),
    [
        ("en", 1, "You can try 1 more time."),
        ("en", 3, "You can try 3 more times."),
        ("ru", 1, "У вас ещё 1 попытка."),
        ("ru", 2, "У вас ещё 2 попытки."),
        ("ru", 5, "У вас ещё 5 попыток."),
        ("ar", 2, "يمكنك المحاولة مرتين أخريين."),
    ],
)
def test_plurals_follow_the_language(language, count, text):
    assert Messages.load(language).text("review.tries_left", count=count) == text


@given(language=st.sampled_from(known_languages()), count=st.integers(0, 10**6))
def test_a_filled_text_has_no_placeholder_left(language, count):
    messages = Messages.load(language)
    for key, text in messages.texts.items():
        names = set(PLACEHOLDER.findall(" ".join(parts(text)))) - {"count"}
        assert not PLACEHOLDER.search(messages.text(key, count=count, **dict.fromkeys(names, "x")))


def test_a_language_or_text_that_is_not_there_is_one_sentence():
    with pytest.raises(CatalogueError, match="speaks en, de, ru, ar"):
        Messages.load("../../etc/passwd")
    with pytest.raises(CatalogueError, match=r"'advice\.fly' is not in the catalogue"):
        ENGLISH.text("advice.fly")
    with pytest.raises(CatalogueError, match="needs a value for 'time'"):
        ENGLISH.text("technician.updated")
    with pytest.raises(CatalogueError, match="whole number"):
        ENGLISH.text("review.tries_left")


def test_the_page_gets_every_text():
    assert ENGLISH.all_for_page() == {**ENGLISH.texts}
