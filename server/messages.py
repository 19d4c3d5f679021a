"""Texts of the desk: one .po file per language in server/locale, read by Babel at start, keyed by stable ids ("list.title").

A key that a language lacks is shown in English, a key that nobody has as itself; a test keeps the files complete. The language of a page is the
officer's choice (`?lang=`, kept in a cookie), else the browser's Accept-Language, else English. Numbers, dates and ages follow the language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from babel import Locale
from babel.core import UnknownLocaleError
from babel.dates import format_date, format_datetime, format_timedelta
from babel.messages.pofile import PoFileError, read_po
from babel.numbers import format_decimal

from server.errors import SettingsError

LOCALE_FOLDER = Path(__file__).parent / "locale"
DEFAULT: Final = "en"
# In the order in which the pages offer them, each by its own name.
LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "de": "Deutsch", "ru": "Русский", "ar": "العربية"}
# The forms of numbers and dates where the plain language code would mean another country's.
FORMS: Final[Mapping[str, str]] = {"en": "en_GB"}
# Beyond these a number is no measured value of a face; Babel refuses the far ones.
LARGEST_PLAIN, SMALLEST_PLAIN = 1e9, 5e-4
# Days to come are told as days, not as weeks or months, up to more than a hundred years.
FEWEST_WEEKS = 10_000


@dataclass(frozen=True)
class Language:
    """One language's texts and forms."""

    code: str
    texts: Mapping[str, str]
    fallback: Mapping[str, str]

    @property
    def name(self) -> str:
        """The language's own name."""
        return LANGUAGES[self.code]

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        return Locale.parse(self.code).text_direction

    def __call__(self, key: str, **values: object) -> str:
        """The text of a key with its {named} values filled in."""
        return self._find(key, key).format(**values) if values else self._find(key, key)

    def has(self, key: str) -> bool:
        """Whether any text exists for a key."""
        return bool(self.texts.get(key) or self.fallback.get(key))

    def _find(self, key: str, otherwise: str) -> str:
        return self.texts.get(key) or self.fallback.get(key) or otherwise

    @property
    def form(self) -> str:
        """The locale of numbers, dates and ages."""
        return FORMS.get(self.code, self.code)

    def size(self, size_bytes: int) -> str:
        """A file's size."""
        if size_bytes < 1000:
            return f"{self.number(size_bytes, 0)}\N{NO-BREAK SPACE}B"
        return f"{self.number(size_bytes / 1000, 1)}\N{NO-BREAK SPACE}kB"

    def number(self, value: float, digits: int | None = None) -> str:
        """A number with `digits` decimals at most, or as a measured value with four significant ones, without superfluous zeros.

        What is too large or too small to be read as digits is written as a power of ten.
        """
        size = abs(value)
        if size >= LARGEST_PLAIN or 0 < size < SMALLEST_PLAIN:
            return f"{value:.3e}"
        if digits is None:
            digits = 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0
        rounded = round(value, digits) + 0.0
        return format_decimal(rounded, format=f"#,##0.{'#' * digits}", locale=self.form).replace("-", "\N{MINUS SIGN}")

    def time(self, at: datetime) -> str:
        """A time of day in UTC, with the zone said."""
        return f"{format_datetime(at, 'medium', tzinfo=UTC, locale=self.form)} UTC"

    def date(self, at: datetime) -> str:
        """A day in UTC."""
        return format_date(at.astimezone(UTC).date(), "long", locale=self.form)

    def ahead(self, span: timedelta) -> str:
        """In how many days something will be ("in 12 days"); one that has begun counts."""
        days = timedelta(days=max(1, -(-span // timedelta(days=1))))
        return format_timedelta(days, granularity="day", threshold=FEWEST_WEEKS, add_direction=True, locale=self.form)

    def age(self, span: timedelta) -> str:
        """How long ago something was, in its largest unit ("2 minutes ago")."""
        ago = -max(span, timedelta(seconds=1))
        return format_timedelta(ago, threshold=1.2, add_direction=True, locale=self.form)


class Messages:
    """The texts in all languages."""

    def __init__(self, languages: Mapping[str, Language]) -> None:
        self.languages = languages

    def language(self, asked: str | None, cookie: str | None, accept: str | None) -> Language:
        """The language of a page."""
        for code in (asked, cookie, *accepted(accept or ""), DEFAULT):
            if code and code in self.languages:
                return self.languages[code]
        return self.languages[DEFAULT]


def accepted(header: str) -> list[str]:
    """Primary language subtags of an Accept-Language header (RFC 9110 12.5.4) by descending weight; nonsense is skipped."""
    weighted: list[tuple[float, str]] = []
    for item in header.split(",")[:20]:
        tag, _, parameter = item.strip().partition(";")
        name, _, weight = parameter.strip().partition("=")
        try:
            quality = float(weight) if name.strip() == "q" else 1.0
        except ValueError:
            continue
        if quality > 0:
            weighted.append((-quality, tag.partition("-")[0].strip().lower()))
    return [code for _, code in sorted(weighted, key=lambda pair: pair[0])]


def load_messages(folder: Path = LOCALE_FOLDER) -> Messages:
    """Read every language's file. Raises `SettingsError` when one is missing or not a catalogue."""
    texts: dict[str, dict[str, str]] = {}
    for code in LANGUAGES:
        path = folder / f"{code}.po"
        try:
            with path.open("rb") as file:
                catalogue = read_po(file, locale=code, abort_invalid=True)
        except (OSError, PoFileError, UnknownLocaleError, UnicodeDecodeError) as error:
            raise SettingsError(f"The texts {path} cannot be read: install the program again.") from error
        texts[code] = {str(entry.id): str(entry.string) for entry in catalogue if entry.id and entry.string}
    return Messages({code: Language(code, texts[code], texts[DEFAULT]) for code in LANGUAGES})
