"""The files of `booth check`: which photos are meant, and outputs that are either whole or not there.

A folder stands for every picture in it and below, by file name ending, in the order of their names; hidden ones and links to folders are left out.
An output is written beside its place and then renamed, so an interrupted run leaves the old file as it was. What would overwrite a photo
that is being judged, or is no ordinary file, is refused before anything is judged.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".jp2", ".j2k"})
PORTRAIT_SUFFIX = ".portrait.jpg"
# What a cell begins with that a spreadsheet takes for a formula and runs (OWASP, "CSV injection").
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


class OutputRefusedError(Exception):
    """An output cannot or must not be written there."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One photo to judge, or why an argument names none."""

    path: Path
    below: Path  # its place below the folder that was named; its name when it was named itself
    problem: str | None = None


def _by_number(name: str) -> list[tuple[int, int | str]]:
    """2.jpg before 10.jpg."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"([0-9]+)", name)]


def pictures(folder: Path) -> list[Path]:
    """Every picture in a folder and below. Raises OSError when the folder cannot be listed."""
    found: list[Path] = []

    def refuse(error: OSError) -> None:
        raise error

    for here, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted((f for f in folders if not f.startswith(".")), key=_by_number)
        names = (f for f in files if not f.startswith(".") and Path(f).suffix.lower() in PICTURE_SUFFIXES)
        found += [Path(here, name) for name in sorted(names, key=_by_number)]
    return found


def wanted(arguments: Iterable[Path]) -> list[Wanted]:
    """The photos that files and folders on the command line stand for, in that order; each once."""
    told: list[Wanted] = []
    for argument in arguments:
        if not argument.is_dir():
            told.append(Wanted(argument, Path(argument.name)))
            continue
        try:
            found = pictures(argument)
        except OSError as error:
            told.append(Wanted(argument, Path(argument.name), f"The folder cannot be read ({error.strerror})."))
            continue
        told += [Wanted(path, path.relative_to(argument)) for path in found]
        if not found:
            endings = ", ".join(sorted(PICTURE_SUFFIXES))
            told.append(
                Wanted(argument, Path(argument.name), f"There is no picture in this folder or below it ({endings}).")
            )
    return list({one.path: one for one in told}.values())


def refuse_output(target: Path, photos: Sequence[Wanted]) -> None:
    """Raises OutputRefusedError when the target must not or cannot be written."""
    if target.is_dir():
        raise OutputRefusedError(f"{target} is a folder; name a file.")
    if target.exists() and not target.is_file():
        raise OutputRefusedError(f"{target} is not an ordinary file; name another.")
    if not target.parent.is_dir():
        raise OutputRefusedError(f"There is no folder {target.parent}; make it first.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputRefusedError(f"The folder {target.parent} cannot be written to.")
    if any(_same(target, one.path) for one in photos):
        raise OutputRefusedError(f"{target} is one of the photos; it would be overwritten. Name another file.")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.exists() and one.samefile(other)
    except OSError:  # the photo is not there: its own check tells it
        return False


def portrait_targets(place: Path, photos: Sequence[Wanted], *, folder: bool) -> list[Path]:
    """Where each photo's portrait goes: the place itself, or below it as the photos lie below the folder that was named.

    When files of one name were named, their portraits lie as the photos do below the folder that all have in common.

    Raises OutputRefusedError for a place that does not fit, a portrait over a photo, and two portraits of one name.
    """
    if not folder:
        if place.suffix.lower() not in {".jpg", ".jpeg"}:
            raise OutputRefusedError(f"The portrait is written as JPEG: {place} should end in .jpg, or be a folder.")
        refuse_output(place, photos)
        return [place]
    if place.exists() and not place.is_dir():
        raise OutputRefusedError(f"{place} is a file; several photos need a folder.")
    belows = [one.below for one in photos]
    if len(set(belows)) < len(belows):
        paths = [Path(os.path.normpath(one.path.absolute())) for one in photos]  # no ".." may lead out of the place
        common = os.path.commonpath([path.parent for path in paths])
        belows = [path.relative_to(common) for path in paths]
    targets = [place / below.with_name(below.name + PORTRAIT_SUFFIX) for below in belows]
    twice = {target for target in targets if targets.count(target) > 1}
    if twice:
        raise OutputRefusedError(f"Two photos would be written to {min(twice)}; check them one after the other.")
    for target in targets:
        if any(_same(target, one.path) for one in photos):
            raise OutputRefusedError(f"{target} is one of the photos; it would be overwritten. Name another folder.")
    return targets


def file_cell(name: str) -> str:
    """A file name for a table: the same file, and never a formula."""
    return f"./{name}" if name.startswith(FORMULA_STARTS) else name


def text_cell(text: str) -> str:
    """A text for a table, never a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


@contextmanager
def whole_file(target: Path) -> Iterator[BinaryIO]:
    """A file that takes the target's place when the body ends well, and vanishes when it does not. Raises OSError."""
    target = target.resolve()
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files for the owner alone; an output has the rights that any new file gets.
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(target)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise
