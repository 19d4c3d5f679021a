"""`booth record show|convert|dg2`: look into a face record, turn it into another form, put it into a passport's data group 2.

A file is recognised by how it begins: data group 2, ISO/IEC 39794-5, ISO/IEC 19794-5:2005, a bare JPEG or JPEG 2000 picture. Records are read by
the strict readers of crypto, so what is shown is all that is in the file.
Files are written under another name first, readable by the owner alone, and never over an existing one.
Exit codes: 0 good, 1 the file is not a record of these forms, or the other form cannot say it, 2 it could not be read or written.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from booth.terminal import output, printable

if TYPE_CHECKING:
    from crypto.face_record import FaceRecord
    from crypto.face_record_2005 import FaceRecord2005
    from crypto.face_record_form import Leaf

REFUSED, UNREADABLE = 1, 2
MAX_FILE_BYTES = 16 * 1024 * 1024
OFFSET_WIDTH, BYTES_WIDTH, TAGS_WIDTH, VALUE_LEAST = 6, 6, 29, 20
TAGS_FROM = 110  # columns of a terminal; below them there is no room for the tags

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Look into face records (ISO/IEC 39794-5, 19794-5:2005, passport DG2) and convert them.

    [bold]Examples[/bold]

    booth record show parts/face.bin                                every field, with its place in the file

    booth record show face.bin --image face.jp2                     take the picture out

    booth record convert face.bin --to 19794-5:2005 --out old.bin   the older form

    booth record dg2 face.bin --out EF_DG2.bin                      the passport chip's data group 2
    """,
)


class Form(StrEnum):
    """The forms of a record."""

    ISO_39794_5 = "39794-5"
    ISO_39794_5_BASE = "39794-5-base"
    ISO_19794_5_2005 = "19794-5:2005"


RecordFile = Annotated[Path, typer.Argument(metavar="FILE", help="A face record, DG2 or picture.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
OutOption = Annotated[Path, typer.Option("--out", help="File to make; it must not exist.", show_default=False)]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    offset: int
    length: int
    tags: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A file, taken apart."""

    form: str
    rows: tuple[Row, ...]
    picture: bytes
    record: bytes | None  # as it lies in the file; None for a bare picture
    says: FaceRecord | FaceRecord2005 | None


@app.command("show")
def show(
    file: RecordFile,
    *,
    image: Annotated[
        Path | None, typer.Option("--image", help="Write the picture to this file.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Explain a record field by field: place, tags, name in the standard, value.

    [bold]Example[/bold]: booth record show face.bin --json
    """
    with _failures(as_json=as_json):
        data = _read(file)
        shown = _shown(data)
        facts: dict[str, Any] = {"file": str(file), "form": shown.form, "bytes": len(data)}
        facts["picture"] = _picture_facts(shown.picture)
        if image is not None:
            _write(image, shown.picture)
            facts["image"] = str(image)
    if as_json:
        _print_json(
            facts
            | {
                "fields": [
                    {"offset": r.offset, "length": r.length, "tags": r.tags, "name": r.name, "value": r.value}
                    for r in shown.rows
                ]
            }
        )
    else:
        _print(facts, shown)


@app.command("convert")
def convert(
    file: RecordFile,
    *,
    to: Annotated[
        Form, typer.Option("--to", help="39794-5 as ICAO profiles it, its base standard, or the older form.")
    ],
    out: OutOption,
    as_json: JsonOption = False,
) -> None:
    """Write a record in another form; what the older form has no place for is left out (docs/face-record.md).

    [bold]Example[/bold]: booth record convert face.bin --to 19794-5:2005 --out old.bin
    """
    from crypto.face_record_2005 import write_face_record_2005
    from crypto.face_record_der import write_face_record
    from crypto.face_record_form import Choices

    with _failures(as_json=as_json):
        record = _says(_shown(_read(file)))
        if to is Form.ISO_19794_5_2005:
            data = write_face_record_2005(record)
        else:
            data = write_face_record(record, Choices.ICAO if to is Form.ISO_39794_5 else Choices.ISO)
        _write(out, data)
    _written(out, data, as_json=as_json)


@app.command("dg2")
def dg2(
    file: RecordFile,
    *,
    out: OutOption,
    created: Annotated[
        bool, typer.Option("--created/--no-created", help="Say in the header when the group was made: now.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Put a record into the data group 2 of a passport chip (ICAO Doc 9303-10).

    [bold]Example[/bold]: booth record dg2 face.bin --out EF_DG2.bin
    """
    from crypto.dg2 import write_dg2

    with _failures(as_json=as_json):
        shown = _shown(_read(file))
        if shown.record is None:
            raise _NotARecordError(f"The file is a {shown.form}: make a record of it first.")
        data = write_dg2(shown.record, datetime.now(UTC) if created else None)
        _write(out, data)
    _written(out, data, as_json=as_json)


class _UnreadableError(Exception):
    """One sentence for exit code 2."""


class _NotARecordError(Exception):
    """One sentence for exit code 1."""


def _read(file: Path) -> bytes:
    try:
        if not file.is_file():
            raise _UnreadableError(f"{file} is not a file.")
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as err:
        raise _UnreadableError(f"{file} cannot be read: {err.strerror}.") from err
    if len(data) > MAX_FILE_BYTES:
        raise _UnreadableError(f"{file} is larger than any face record ({MAX_FILE_BYTES} bytes).")
    return data


def _write(out: Path, data: bytes) -> None:
    """A new file, whole or not at all."""
    try:
        descriptor, partial = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)  # 0600
    except OSError as err:
        raise _UnreadableError(f"{out} cannot be made: {err.strerror}.") from err
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        os.link(partial, out)  # fails where there is a file of that name
    except OSError as err:
        raise _UnreadableError(f"{out} cannot be written: {err.strerror}.") from err
    finally:
        Path(partial).unlink()


def _shown(data: bytes, offset: int = 0) -> Shown:
    """The file by how it begins; `offset` is added to every place."""
    from crypto.dg2 import GROUP, explain_dg2
    from crypto.face_record_2005 import MAGIC, explain_face_record_2005
    from crypto.face_record_der import FACE_IMAGE, explain_face_record

    if data[:1] == bytes((GROUP,)):
        group, leaves, at = explain_dg2(data)
        inner = _shown(group.record, at)
        rows = (*_rows(leaves, offset), *inner.rows)
        return Shown(f"ICAO LDS DG2 with {inner.form}", rows, inner.picture, inner.record, inner.says)
    if data[:1] == bytes((FACE_IMAGE,)):
        record, leaves = explain_face_record(data)
        form = f"ISO/IEC 39794-5 ({_choices(data, record)})"
        return Shown(form, _rows(leaves, offset), record.picture.data, data, record)
    if data.startswith(MAGIC):
        old, leaves = explain_face_record_2005(data)
        rows = _rows(leaves, offset)
        return Shown("ISO/IEC 19794-5:2005", rows, old.picture, data, old)
    return _bare(data)


def _bare(data: bytes) -> Shown:
    from crypto.face_record import format_begins
    from crypto.face_record_codes import ImageFormat

    for name, kind in (("JPEG", ImageFormat.JPEG), ("JPEG 2000", ImageFormat.JPEG2000_LOSSY)):
        if format_begins(kind, data):
            return Shown(f"{name} picture, no record", (), data, None, None)
    raise _NotARecordError("The file is neither a face record (ISO/IEC 39794-5, 19794-5:2005, DG2) nor a JPEG picture.")


def _choices(data: bytes, record: FaceRecord) -> str:
    from crypto.face_record_der import write_face_record
    from crypto.face_record_form import Choices

    return next(choices for choices in Choices if write_face_record(record, choices) == data).value


def _says(shown: Shown) -> FaceRecord:
    from crypto.face_record_2005 import FaceRecord2005

    if shown.says is None:
        raise _NotARecordError(f"The file is a {shown.form}: there is nothing to convert.")
    return shown.says.record() if isinstance(shown.says, FaceRecord2005) else shown.says


def _rows(leaves: tuple[Leaf, ...], offset: int) -> tuple[Row, ...]:
    from booth.record_words import words

    rows = []
    before: Any = None
    for leaf in leaves:
        name = leaf.name.removeprefix("representationBlocks.0.")
        rows.append(Row(offset + leaf.offset, leaf.length, leaf.tags, name, words(leaf.name, leaf.value, before)))
        before = leaf.value
    return tuple(rows)


def _picture_facts(picture: bytes) -> dict[str, Any]:
    """What the picture's own bytes say, whatever the record says."""
    from validation.errors import ValidationError
    from validation.image_header import read_header

    try:
        header = read_header(picture)
    except ValidationError as err:
        return {"bytes": len(picture), "unreadable": str(err)}
    return {"bytes": len(picture), "format": header.format, "width": header.width, "height": header.height}


def _print(facts: dict[str, Any], shown: Shown) -> None:
    console = output()
    title = printable(f"{Path(facts['file']).name}: {facts['form']}, {facts['bytes']:,} bytes")
    console.print(title, markup=False, soft_wrap=True, style="italic")
    if shown.rows:
        _print_fields(console, shown.rows)
    picture = facts["picture"]
    told = picture.get("unreadable") or f"{picture['format']}, {picture['width']} x {picture['height']} pixels"
    console.print(f"The picture itself: {told}, {picture['bytes']:,} bytes", markup=False, soft_wrap=True)
    if "image" in facts:
        console.print(f"Written to {printable(facts['image'])}", markup=False, soft_wrap=True)


def _print_fields(console: Console, rows: Sequence[Row]) -> None:
    """One table; a block's name has a line of its own, because names of blocks are longer than columns of a terminal."""
    with_tags = console.width >= TAGS_FROM
    name_width = 2 + max(len(row.name.rpartition(".")[2]) for row in rows)
    taken = OFFSET_WIDTH + BYTES_WIDTH + name_width + 4 + (TAGS_WIDTH + 1 if with_tags else 0)

    def columns(*, heads: bool) -> Table:
        table = Table(box=None, show_header=heads, padding=(0, 1, 0, 0))
        table.add_column("offset", justify="right", width=OFFSET_WIDTH)
        table.add_column("bytes", justify="right", width=BYTES_WIDTH)
        table.add_column("field", width=name_width, overflow="fold")
        table.add_column("value", width=max(VALUE_LEAST, console.width - taken), overflow="fold")
        if with_tags:
            table.add_column("tags", width=TAGS_WIDTH, overflow="fold", style="dim")
        return table

    console.print(columns(heads=True))
    for block, group in groupby(rows, key=lambda row: row.name.rpartition(".")[0]):
        table = columns(heads=False)
        for row in group:
            name = f"{'  ' if block else ''}{escape(row.name.rpartition('.')[2])}"
            cells = (str(row.offset), f"{row.length:,}", name, escape(row.value), row.tags)
            table.add_row(*cells[: len(table.columns)])
        if block:
            console.print(block.replace(".", " / "), markup=False, highlight=False, soft_wrap=True, style="bold")
        console.print(table)
    if not with_tags:
        console.print(f"Tags: from {TAGS_FROM} columns on, or --json.", markup=False, soft_wrap=True, style="dim")


def _written(out: Path, data: bytes, *, as_json: bool) -> None:
    if as_json:
        _print_json({"out": str(out), "bytes": len(data)})
    else:
        Console().print(f"Written to {printable(str(out))}: {len(data):,} bytes", markup=False, soft_wrap=True)


def _print_json(facts: dict[str, Any]) -> None:
    print(json.dumps(facts, indent=2, ensure_ascii=False))


@contextmanager
def _failures(*, as_json: bool) -> Iterator[None]:
    from crypto.errors import FaceRecordError

    try:
        yield
    except FaceRecordError as err:
        _fail(str(err), REFUSED, err.code, as_json=as_json)
    except _NotARecordError as err:
        _fail(str(err), REFUSED, FaceRecordError.code, as_json=as_json)
    except _UnreadableError as err:
        _fail(str(err), UNREADABLE, "record.unreadable", as_json=as_json)


def _fail(reason: str, status: int, code: str, *, as_json: bool) -> NoReturn:
    if as_json:
        _print_json({"verdict": "refused" if status == REFUSED else "unreadable", "code": code, "reason": reason})
    else:
        Console(stderr=True).print(printable(reason), markup=False, soft_wrap=True, style="red")
    raise typer.Exit(status)
