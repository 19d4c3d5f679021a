"""What this booth knows of the orders it got (crypto/booth_order.py): the file `orders.json` in data_dir, so that none is done twice.

Rules
  - An order is written down, with its number as the last one, before anything is begun: a kill leaves an order that was begun and has no outcome, which is
    answered as "interrupted" and never begun again. Its outcome is written down before it is told, and is told until the intake took it.
  - Nothing with a number that is not above the last is taken. An order that was made before this book was begun is refused: a booth whose disk was emptied does
    not do again what it did. A book that does not read back is set aside as `orders.json.damaged`, told, and begun anew, with the same effect.
  - The newest KEPT orders stay readable for the technician. A sealed bundle waits in a file of its own. All files 0600, written whole. Blocks.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from crypto.booth_order import MAX_SEALED_BUNDLE_BYTES, BoothOrder, OrderKind, Outcome
from crypto.key_folder import PRIVATE, read_file, write_whole
from crypto.package import write_instant

log = logging.getLogger(__name__)

NAME = "orders.json"
ASIDE = f"{NAME}.damaged"
KEPT = 30
# A signed order has up to 45 kB, a third more in base64; it goes when its answer was told.
MAX_BYTES = 4 * 1024 * 1024
INTERRUPTED = "interrupted"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OrderLine(_Value):
    """One order as the technician sees it."""

    id: str
    number: int
    kind: OrderKind
    arguments: dict[str, str]
    by: str
    office: str
    made_at: str  # UTC, ISO 8601
    taken_at: str
    outcome: Outcome | None = None  # None: under way
    code: str | None = None
    counts: dict[str, int] = {}
    told: bool = False  # the intake took the answer


class _Entry(_Value):
    line: OrderLine
    document: str | None  # the order as it was signed, base64; until its answer was told


class _Book(_Value):
    begun_at: str
    last: int = 0
    entries: tuple[_Entry, ...] = ()  # oldest first


class OrderBook:
    """One booth's book. One thread at a time."""

    def __init__(self, data_dir: Path, now: Callable[[], datetime], tell: Callable[[str], None]) -> None:
        """Reads the book, or begins one. A disk that gives or takes none is told: no order is taken then, and the booth works all the same."""
        self._path, self._now = data_dir / NAME, now
        self._book = _Book(begun_at=write_instant(now()))
        self._unusable: OSError | None = None
        try:
            self._open(tell)
        except OSError as error:
            self._unusable = error
            tell(f"the book of remote orders cannot be used ({error.strerror}): no order is taken until the next start")

    def _open(self, tell: Callable[[str], None]) -> None:
        try:
            self._book = _Book.model_validate_json(read_file(self._path, MAX_BYTES))
        except FileNotFoundError:
            self._write(self._book)
        except ValidationError:
            tell(f"the book of remote orders did not read back; it was set aside as {ASIDE} and begins anew")
            self._path.replace(self._path.with_name(ASIDE))
            self._write(self._book)

    @property
    def lines(self) -> tuple[OrderLine, ...]:
        """The orders, newest first."""
        return tuple(entry.line for entry in reversed(self._book.entries))

    def is_known(self, order: BoothOrder) -> bool:
        """Whether this very order was taken before."""
        return any(entry.line.id == order.id for entry in self._book.entries)

    def is_old(self, order: BoothOrder) -> bool:
        """Whether another one of this number or a later one was taken."""
        return order.number <= self._book.last

    def predates(self, order: BoothOrder) -> bool:
        """Whether the order was made before this book; a book from a time to come is one of a wrong clock, and is begun anew."""
        begun = datetime.fromisoformat(self._book.begun_at)
        if begun > self._now():
            begun = self._now()
            self._write(self._book.model_copy(update={"begun_at": write_instant(begun)}))
        return order.made_at < begun

    def take(self, order: BoothOrder, document: bytes) -> OrderLine:
        """Written down as begun. Raises OSError; then it must not be begun."""
        line = OrderLine(
            id=order.id,
            number=order.number,
            kind=order.kind,
            arguments=dict(order.arguments),
            by=order.by,
            office=order.office,
            made_at=write_instant(order.made_at),
            taken_at=write_instant(self._now()),
        )
        entries = (*self._book.entries, _Entry(line=line, document=base64.b64encode(document).decode()))
        self._write(self._book.model_copy(update={"last": order.number, "entries": entries[-KEPT:]}))
        for gone in entries[:-KEPT]:  # one that no intake took in all that time
            self.bundle_file(gone.line.id).unlink(missing_ok=True)
        return line

    def finish(self, line: OrderLine) -> None:
        """The outcome. Raises OSError."""
        if line.outcome is not Outcome.DONE:  # the bundle of an order that a kill interrupted: no answer could name it
            self.bundle_file(line.id).unlink(missing_ok=True)
        self._change(line.id, line=line)

    def told(self, order: str) -> None:
        """The intake took the answer, or has one already. Raises OSError."""
        entry = self._entry(order)
        self.bundle_file(order).unlink(missing_ok=True)
        self._change(order, line=entry.line.model_copy(update={"told": True}), document=None)

    def tell_again(self, order: BoothOrder, document: bytes) -> None:
        """Its answer was told, and the intake asks for it once more. Raises OSError."""
        line = self._entry(order.id).line
        if line.told:
            kept = base64.b64encode(document).decode()
            self._change(order.id, line=line.model_copy(update={"told": False}), document=kept)

    def interrupted(self) -> tuple[OrderLine, ...]:
        """What was begun and has no outcome."""
        return tuple(entry.line for entry in self._book.entries if entry.line.outcome is None)

    def untold(self) -> tuple[OrderLine, ...]:
        """What has an outcome that the intake does not know yet."""
        lines = [entry.line for entry in self._book.entries]
        return tuple(line for line in lines if line.outcome is not None and not line.told)

    def document(self, order: str) -> bytes:
        """An order as it was signed, until its answer was told."""
        return base64.b64decode(self._entry(order).document or "")

    def bundle_file(self, order: str) -> Path:
        """Where a sealed bundle waits."""
        return self._path.with_name(f"order-{order}.bundle")

    def keep_bundle(self, order: str, sealed: bytes) -> None:
        """Until it was told. Raises OSError."""
        write_whole(self.bundle_file(order), sealed, PRIVATE)

    def bundle(self, order: str) -> bytes | None:
        """The sealed bundle of an order. Raises OSError."""
        try:
            return read_file(self.bundle_file(order), MAX_SEALED_BUNDLE_BYTES)
        except FileNotFoundError:
            return None

    def _entry(self, order: str) -> _Entry:
        return next(entry for entry in self._book.entries if entry.line.id == order)

    def _change(self, order: str, **changes: object) -> None:
        entries = tuple(
            entry.model_copy(update=changes) if entry.line.id == order else entry for entry in self._book.entries
        )
        self._write(self._book.model_copy(update={"entries": entries}))

    def _write(self, book: _Book) -> None:
        if self._unusable is not None:
            raise self._unusable
        write_whole(self._path, book.model_dump_json().encode(), PRIVATE)
        self._book = book
