"""The booth's texts: one gettext catalogue per language, read at start.

Rules:
  - `booth/locale/<language>.po` is the only place of text that a person reads; msgid is a stable key ("advice.closer"), never a sentence.
  - Read by Babel as it stands: no compile step, so what is in the repository is what is shown.
  - A placeholder is `{name}`. A plural entry is chosen by its `count`, by the rule in the catalogue's own header.
  - Plural forms leave for the page by CLDR category ("one", "few", …), which the browser's Intl.PluralRules speaks.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from babel import Locale
from babel.messages.pofile import PoFileError, read_po

from booth.errors import BoothError
from booth.kiosk import Language

LOCALE_FOLDER = Path(__file__).resolve().parent / "locale"
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
# Every plural category of the supported languages shows itself among these counts (CLDR: ar "other" at 100, ru "many" at 5).
_PLURAL_SAMPLES = range(201)

Direction = Literal["ltr", "rtl"]
Text = str | Mapping[str, str]


class CatalogueError(BoothError):
    """A catalogue is unreadable, or a text is asked for that it does not have."""

    code = "messages.catalogue"
    blame = "us"


def known_languages() -> tuple[Language, ...]:
    """The languages that the booth speaks, in the order of the language screen."""
    return get_args(Language)


@dataclass(frozen=True, slots=True)
class Messages:
    """All texts of one language. A text is a string, or a mapping of plural categories to strings."""

    language: Language
    name: str  # in the language itself
    direction: Direction
    texts: Mapping[str, Text] = field(repr=False)

    @staticmethod
    def load(language: str) -> Messages:
        """The catalogue of a language, read once; raises `CatalogueError` when there is none or it is broken."""
        if language not in known_languages():
            raise CatalogueError(
                f"There is no catalogue for this language; the booth speaks {', '.join(known_languages())}."
            )
        return _load(language)

    def text(self, key: str, **values: object) -> str:
        """The text of a key with its placeholders filled; raises `CatalogueError` for an unknown key or a missing value."""
        found = self.texts.get(key)
        if found is None:
            raise CatalogueError(f"The text {key!r} is not in the catalogue {self.language!r}.")
        if not isinstance(found, str):
            count = values.get("count")
            if not isinstance(count, int):
                raise CatalogueError(f"The text {key!r} is a plural: it needs a whole number as count.")
            category = Locale.parse(self.language).plural_form(count)
            found = found.get(category, found["other"])
        try:
            return PLACEHOLDER.sub(lambda match: str(values[match.group(1)]), found)
        except KeyError as error:
            raise CatalogueError(f"The text {key!r} needs a value for {error.args[0]!r}.") from error

    def all_for_page(self) -> dict[str, str | dict[str, str]]:
        """Every text, as JSON for the page; plurals by CLDR category."""
        return {key: text if isinstance(text, str) else dict(text) for key, text in self.texts.items()}


@cache
def _load(language: Language) -> Messages:
    path = LOCALE_FOLDER / f"{language}.po"
    try:
        with path.open("rb") as file:
            catalogue = read_po(file, locale=language, abort_invalid=True)
    except (OSError, PoFileError, ValueError) as error:
        raise CatalogueError(f"The catalogue {path.name} cannot be read: {error}.") from error
    locale = Locale.parse(language)
    texts: dict[str, Text] = {}
    for message in catalogue:
        key = message.id if isinstance(message.id, str) else message.id[0]
        if not key:
            continue  # the header
        if message.fuzzy:
            raise CatalogueError(f"The text {key!r} in {path.name} is marked fuzzy: somebody has to look at it.")
        if isinstance(message.string, str):
            texts[key] = message.string
        else:
            texts[key] = _by_category(tuple(message.string or ()), catalogue.plural_expr, locale)
    return Messages(
        language=language,
        name=(locale.get_display_name(language) or language).capitalize(),
        direction="rtl" if locale.text_direction == "rtl" else "ltr",
        texts=texts,
    )


def _by_category(forms: tuple[str, ...], plural_expression: str, locale: Locale) -> dict[str, str]:
    """Numbered gettext forms as CLDR categories; "other" is always there."""
    choose = gettext.c2py(plural_expression)
    named = {locale.plural_form(count): forms[choose(count)] for count in _PLURAL_SAMPLES}
    named.setdefault("other", forms[-1])
    return named
