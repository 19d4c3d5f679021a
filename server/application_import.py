"""PURE. Applications out of a file that a registry system wrote: strict, whole or not at all, each fault with its row and column.

CSV: UTF-8 (a byte order mark is forgiven), comma or semicolon as the header line has it, exactly the columns `number`, `centre`, `expires` in any order.
JSON: an array of objects with exactly these three texts. `expires` is the last day, YYYY-MM-DD.

Rules: nothing is guessed and nothing is left out; a number stands once in a file; a last day that is over is a fault. Rows are counted as people see them:
in CSV by line, the header being line 1; in JSON by element, the first being 1. No fault repeats what stands in the file: it may be a number.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from crypto.application import parse_number
from crypto.errors import ApplicationNumberError
from server.applications import NewApplication

COLUMNS = ("number", "centre", "expires")
MAX_BYTES = 256 * 1024 * 1024
MAX_FIELD = 128
MAX_FAULTS = 50
_CENTRE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and where; `row` 0 is the whole file, no column the whole row."""

    row: int
    column: str | None
    problem: str

    def __str__(self) -> str:
        where = ([f"row {self.row}"] if self.row else []) + ([f"column {self.column}"] if self.column else [])
        return f"{', '.join(where) or 'the file'}: {self.problem}"


@dataclass(frozen=True, slots=True)
class ReadFile:
    """What stands in a file: applications, or faults; `more` faults beyond those that are told."""

    applications: tuple[NewApplication, ...] = ()
    faults: tuple[Fault, ...] = ()
    more: int = 0


@dataclass(slots=True)
class _Faults:
    """The first `MAX_FAULTS` faults, and how many there are: a file of empty lines has hundreds of millions."""

    told: list[Fault] = field(default_factory=list)
    count: int = 0

    def add(self, row: int, column: str | None, problem: str) -> None:
        """One more."""
        self.count += 1
        if self.count <= MAX_FAULTS:
            self.told.append(Fault(row, column, problem))


@dataclass(frozen=True, slots=True)
class _Broken:
    """A row that has no fields."""

    problem: str


Step = Callable[[int], None]


def read_csv(data: bytes, today: date, step: Step = lambda _rows: None) -> ReadFile:
    """The applications of a CSV file."""
    text, fault = _text(data)
    if text is None:
        return ReadFile(faults=(fault,))
    first = text.partition("\n")[0]
    rows = csv.reader(
        io.StringIO(text, newline=""), delimiter=";" if ";" in first and "," not in first else ",", strict=True
    )
    header: list[str] = []

    def numbered() -> Iterator[tuple[int, object]]:
        for values in rows:
            if not header:
                header.extend(value.strip() for value in values)
                if sorted(header) != sorted(COLUMNS):
                    raise _UnreadableError(rows.line_num, f"the columns must be {', '.join(COLUMNS)}, each once")
            elif not values:
                yield rows.line_num, _Broken("the line is empty")
            elif len(values) != len(header):
                yield rows.line_num, _Broken(f"{len(values)} fields instead of {len(header)}")
            else:
                yield rows.line_num, dict(zip(header, values, strict=True))
        if not header:
            raise _UnreadableError(1, f"there is no header line: {', '.join(COLUMNS)}")

    try:
        return _read(numbered(), today, step)
    except csv.Error:
        return ReadFile(
            faults=(Fault(rows.line_num, None, "a quotation mark is out of place, or a field is far too long"),)
        )


def read_json(data: bytes, today: date, step: Step = lambda _rows: None) -> ReadFile:
    """The applications of a JSON file."""
    text, fault = _text(data)
    if text is None:
        return ReadFile(faults=(fault,))
    try:
        rows = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        return ReadFile(faults=(Fault(0, None, f"not JSON (line {error.lineno}, character {error.colno})"),))
    except (_RepeatedError, RecursionError):
        return ReadFile(faults=(Fault(0, None, "an object names a field twice, or nests too deep"),))
    except ValueError:  # Python reads no number of more than 4300 digits
        return ReadFile(faults=(Fault(0, None, "a number in it is far too long"),))
    if not isinstance(rows, list):
        return ReadFile(faults=(Fault(0, None, "not an array of objects"),))
    return _read(enumerate(rows, start=1), today, step)


def _read(rows: Iterable[tuple[int, object]], today: date, step: Step) -> ReadFile:
    """`rows` gives each row's fields, or what is wrong with it."""
    read: list[NewApplication] = []
    faults = _Faults()
    seen: dict[str, int] = {}
    row = 0
    try:
        for row, fields in rows:
            found = _application(row, fields, today, faults)
            if found is not None and found.number in seen:
                faults.add(row, "number", f"stands in row {seen[found.number]} already")
            elif found is not None:
                seen[found.number] = row
                read.append(found)
            if row % 1000 == 0:
                step(row)
    except _UnreadableError as error:
        faults.add(error.row, None, error.problem)
    step(row)
    if faults.count:
        return ReadFile(faults=tuple(faults.told), more=faults.count - len(faults.told))
    if not read:
        return ReadFile(faults=(Fault(0, None, "there is no application in it"),))
    return ReadFile(tuple(read))


def _application(row: int, fields: object, today: date, faults: _Faults) -> NewApplication | None:
    if isinstance(fields, _Broken):
        faults.add(row, None, fields.problem)
        return None
    if not isinstance(fields, dict):
        faults.add(row, None, "not an object")
        return None
    before = faults.count
    missing = [name for name in COLUMNS if name not in fields]
    for name in missing:
        faults.add(row, name, "is missing")
    if len(fields) > len(COLUMNS) - len(missing):
        faults.add(row, None, f"has other fields than {', '.join(COLUMNS)}")
    values = {name: fields[name] for name in COLUMNS if name in fields}
    number, centre, expires = (_value(row, name, values, faults) for name in COLUMNS)
    told = [_number(row, number, faults), _centre(row, centre, faults), _day(row, expires, today, faults)]
    return None if faults.count > before else NewApplication(*told)


def _value(row: int, name: str, values: dict[str, Any], faults: _Faults) -> str | None:
    """A field's text; None when it is missing or none."""
    if name not in values:
        return None
    text = values[name]
    if not isinstance(text, str):
        faults.add(row, name, "is not a text")
    elif len(text) > MAX_FIELD:
        faults.add(row, name, f"has more than {MAX_FIELD} characters")
    elif not text.strip():
        faults.add(row, name, "is empty")
    else:
        return text.strip()
    return None


def _number(row: int, text: str | None, faults: _Faults) -> Any:
    try:
        return None if text is None else parse_number(text)
    except ApplicationNumberError as error:
        faults.add(row, "number", _inside(error))
        return None


def _centre(row: int, text: str | None, faults: _Faults) -> Any:
    if text is not None and not _CENTRE.fullmatch(text):
        faults.add(row, "centre", "takes 1 to 64 letters, digits, dots, hyphens and underscores")
    return text


def _day(row: int, text: str | None, today: date, faults: _Faults) -> Any:
    if text is None:
        return None
    try:
        if not _DAY.fullmatch(text):
            raise ValueError
        day = date.fromisoformat(text)
    except ValueError:
        faults.add(row, "expires", "is no day in the form YYYY-MM-DD")
        return None
    if day < today:
        faults.add(row, "expires", "is over")
    return day


def _text(data: bytes) -> tuple[str | None, Fault]:
    if len(data) > MAX_BYTES:
        return None, Fault(0, None, f"larger than {MAX_BYTES // 2**20} MiB: import it in parts")
    try:
        return data.decode("utf-8-sig"), Fault(0, None, "")
    except UnicodeDecodeError as error:
        return None, Fault(data[: error.start].count(b"\n") + 1, None, "is not UTF-8")


def _inside(error: ApplicationNumberError) -> str:
    """An error's sentence as the end of another one."""
    sentence = str(error).removesuffix(".")
    return sentence[0].lower() + sentence[1:]


class _UnreadableError(Exception):
    """Reading ends here."""

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(problem)
        self.row, self.problem = row, problem


class _RepeatedError(ValueError):
    """A JSON object names a field twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise _RepeatedError
    return dict(pairs)
