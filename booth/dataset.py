"""A folder of labelled photos, as `booth evaluate` reads it.

labels.csv (UTF-8; commas or semicolons), first line: the columns, in any order:
  file      path of a photo below the folder, with forward slashes
  subject   whom it shows, any name (optional); photos of one subject are not counted as independent
  group     any name (optional); error rates are told per group too
  RULE      one column per rule id (`pose.yaw`, …): 0 complies, 1 does not, empty: not known
Everything that is wrong with the file is told at once, with line numbers, before any photo is judged: a label that was not understood must not
end in a figure.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar, Literal

LABELS_NAME = "labels.csv"
MOST_PROBLEMS = 20
LONGEST_SHOWN = 300
MAX_LABELS_BYTES = 200_000_000
PLAIN_COLUMNS = ("file", "subject", "group")


class DatasetError(Exception):
    """The folder or its labels cannot be used; one sentence per problem."""

    code: ClassVar[str] = "evaluate.dataset"
    blame: ClassVar[Literal["us", "device", "peer", "operator"]] = "operator"
    retry: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Labelled:
    """One photo and what is known of it."""

    file: str  # as it stands in the labels
    path: Path
    subject: str | None
    group: str | None
    labels: Mapping[str, bool]  # rule id -> does not comply; unknown ones are left out


def read_dataset(folder: Path, rules: Sequence[str], labels: Path | None = None) -> list[Labelled]:
    """The labelled photos of a folder in the order of the file. `rules`: the ids there are. Raises DatasetError."""
    if not folder.is_dir():
        raise DatasetError(f"{shown(folder)} is not a folder.")
    source = labels or folder / LABELS_NAME
    rows = _rows(source)
    if not rows:
        raise DatasetError(f"{shown(source)} is empty; its first line names the columns.")
    _, header = rows[0]
    columns = [name.strip() for name in header]
    problems = _column_problems(columns, rules)
    if "file" not in columns or len(set(columns)) < len(columns):  # without them no row can be read
        raise _refusal(source, problems)
    judged = frozenset(columns) & frozenset(rules)
    found: list[Labelled] = []
    seen: dict[Path, int] = {}
    for line, cells in rows[1:]:
        if not any(cell.strip() for cell in cells):
            continue
        one = _labelled(folder, columns, cells, judged)
        if isinstance(one, str):
            problems.append(f"line {line}: {one}")
        elif one.path in seen:
            problems.append(f"line {line}: '{shown(one.file)}' stands in line {seen[one.path]} already")
        else:
            seen[one.path] = line
            found.append(one)
    if problems:
        raise _refusal(source, problems)
    if not found:
        raise DatasetError(f"{shown(source)} names no photo.")
    return found


def shown(name: str | Path) -> str:
    """A name without the characters that steer a terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(name))


def _refusal(source: Path, problems: list[str]) -> DatasetError:
    told = [f"{shown(source)}: {problem}." for problem in problems[:MOST_PROBLEMS]]
    if len(problems) > MOST_PROBLEMS:
        told.append(f"{shown(source)}: and {len(problems) - MOST_PROBLEMS} more problems.")
    return DatasetError("\n".join(told))


def _rows(source: Path) -> list[tuple[int, list[str]]]:
    try:
        if not source.is_file() and source.exists():  # a pipe or a device has no end
            raise DatasetError(f"{shown(source)} is not an ordinary file.")
        if source.stat().st_size > MAX_LABELS_BYTES:
            raise DatasetError(f"{shown(source)} has more than {MAX_LABELS_BYTES // 1_000_000} MB.")
        text = source.read_text("utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{shown(source)} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{shown(source)} is not UTF-8 text (byte {error.start}); save it as CSV UTF-8.") from error
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for cells in reader:
            rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DatasetError(f"{shown(source)}: line {line}: {error}.") from error
    return rows


def _column_problems(columns: Sequence[str], rules: Sequence[str]) -> list[str]:
    problems = [f"the column '{shown(c)}' is there twice" for n, c in enumerate(columns) if c in columns[:n]]
    for column in dict.fromkeys(columns):
        if column in PLAIN_COLUMNS or column in rules:
            continue
        near = get_close_matches(column, [*PLAIN_COLUMNS, *rules], n=1, cutoff=0.4)
        hint = f"; the nearest is '{near[0]}'" if near else ""
        problems.append(f"the column '{shown(column)}' is no rule{hint}")
    if len(columns) == 1:
        problems.append("there is one column only; columns are parted by commas or semicolons")
    if "file" not in columns:
        problems.append("the column 'file' is missing")
    if not set(columns) & set(rules):
        problems.append("no column is a rule")
    return problems


def _labelled(folder: Path, columns: Sequence[str], cells: Sequence[str], judged: Collection[str]) -> Labelled | str:
    if len(cells) != len(columns):
        return f"{len(cells)} cells for {len(columns)} columns"
    row = {column: cell.strip() for column, cell in zip(columns, cells, strict=True)}
    name = row["file"]
    if not name:
        return "no file is named"
    wrong = [
        f"{c} is '{shown(v)}', not 0, 1 or empty" for c, v in row.items() if c in judged and v not in {"", "0", "1"}
    ]
    if wrong:
        return ", ".join(wrong)
    path = _inside(folder, name)
    if path is None:
        return f"'{shown(name)}' leads out of the folder"
    if not _is_file(path):
        return f"there is no file '{_short(name)}'"
    labels = {c: v == "1" for c, v in row.items() if c in judged and v}
    return Labelled(name, path, row.get("subject") or None, row.get("group") or None, labels)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than any file has
        return False


def _short(name: str) -> str:
    return shown(name if len(name) <= LONGEST_SHOWN else name[:LONGEST_SHOWN] + "…")


def _inside(folder: Path, name: str) -> Path | None:
    if "\0" in name:
        return None
    root = folder.resolve()
    path = (root / name).resolve()
    return path if path.is_relative_to(root) and path != root else None
