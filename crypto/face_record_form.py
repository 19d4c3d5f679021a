"""How values become DER elements and back, by tables: the forms that the ASN.1 of ISO/IEC 39794 is made of. PURE.

Every element there has a context tag of its own, below 31, and implicit tags; a CHOICE under a tag keeps the tag of what was chosen inside
(X.680, 31.2.7). So a form writes and reads the content of an element; the form around it puts the tag.
Reading goes down only as deep as the tables do and never copies but what it keeps. Numbers are taken as they come: who reads a whole record
writes it again and compares (crypto.face_record_der), so no second spelling of a value passes.

While reading, every leaf is told to `Trail`, with its place in the file: that is what `booth record show` prints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, TypeVar

from crypto import der
from crypto.errors import FaceRecordError

Kept = TypeVar("Kept")

CONTEXT, CONSTRUCTED = 0x80, 0x20
TRUE, FALSE = b"\xff", b"\x00"  # X.690, 11.1
MAX_INTEGER_BYTES = 8
MAX_ELEMENTS = 256  # inside one element


class Choices(Enum):
    """How a code that may be extended one day is written: the eMRTD profile of ICAO has only the second alternative, the ISO base standard both."""

    ICAO = "ICAO application profile for eMRTDs"
    ISO = "ISO/IEC 39794-5 base standard"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of a record and where it stands."""

    offset: int  # of its tag, from the file's first byte
    tags: str  # from the outermost in, as hexadecimal octets
    name: str
    length: int  # of its content
    value: Any


@dataclass(slots=True)
class Trail:
    """Where the reader is, and what it met."""

    leaves: list[Leaf] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    tags: list[int] = field(default_factory=list)

    def name(self) -> str:
        """The field being read."""
        return ".".join(self.names)

    def refuse(self, why: str) -> FaceRecordError:
        """The error that names the field."""
        return FaceRecordError(f"The face record's {self.name() or 'outermost element'} {why}.")


@dataclass(frozen=True, slots=True)
class Part:
    """Content of an element, and where in the file the element and its content begin."""

    view: memoryview
    at: int
    begins: int


class Form(Protocol):
    """What a kind of value looks like inside its element."""

    @property
    def constructed(self) -> bool:
        """Whether it holds elements."""

    def write(self, value: Any, choices: Choices) -> bytes:
        """The content octets."""

    def read(self, part: Part, trail: Trail) -> Any:
        """The value; raises FaceRecordError."""


def tagged(number: int, form: Form, content: bytes) -> bytes:
    """An element under a context tag."""
    return der.element(_tag(number, form), content)


def _tag(number: int, form: Form) -> int:
    return CONTEXT | (CONSTRUCTED if form.constructed else 0) | number


def elements(part: Part, trail: Trail) -> list[tuple[int, Part]]:
    """The elements inside an element: tag and content."""
    found = []
    at = part.at
    rest = part.view
    while rest:
        tag = rest[0]
        try:
            content, after = der.read(rest, tag)
        except der.DerError as err:
            raise trail.refuse("holds an element whose length is not one of DER, or that is cut off") from err
        size = len(rest) - len(after)
        found.append((tag, Part(content, at + size - len(content), at)))
        if len(found) > MAX_ELEMENTS:
            raise trail.refuse(f"holds more than {MAX_ELEMENTS} elements")
        at += size
        rest = after
    return found


@dataclass(frozen=True, slots=True)
class Number:
    """INTEGER."""

    constructed = False

    def write(self, value: int, _choices: Choices) -> bytes:
        """Two's complement in the fewest octets (X.690, 8.3)."""
        return value.to_bytes((value if value >= 0 else ~value).bit_length() // 8 + 1, "big", signed=True)

    def read(self, part: Part, trail: Trail) -> int:
        """The number."""
        if not 0 < len(part.view) <= MAX_INTEGER_BYTES:
            raise trail.refuse("is not a number of 1 to 8 octets")
        return _leaf(trail, part, int.from_bytes(part.view, "big", signed=True))


@dataclass(frozen=True, slots=True)
class Flag:
    """BOOLEAN."""

    constructed = False

    def write(self, value: bool, _choices: Choices) -> bytes:
        """One octet."""
        return TRUE if value else FALSE

    def read(self, part: Part, trail: Trail) -> bool:
        """True or false."""
        if part.view not in (TRUE, FALSE):
            raise trail.refuse("is not TRUE or FALSE of DER")
        return _leaf(trail, part, part.view == TRUE)


@dataclass(frozen=True, slots=True)
class Octets:
    """OCTET STRING."""

    limit: int
    constructed = False

    def write(self, value: bytes, _choices: Choices) -> bytes:
        """Itself."""
        return value

    def read(self, part: Part, trail: Trail) -> bytes:
        """A copy."""
        if len(part.view) > self.limit:
            raise trail.refuse(f"has {len(part.view)} bytes; {self.limit} is the limit")
        return _leaf(trail, part, bytes(part.view))


@dataclass(frozen=True, slots=True)
class Code:
    """A CHOICE of a code and an extension block whose `fallback` is the code; `plain` codes have no fallback."""

    of: Callable[[int], Any]  # raises ValueError for a number that is no code
    plain: bool = False
    number: Callable[[Any], int] = int
    constructed = True

    def write(self, value: Any, choices: Choices) -> bytes:
        """The code itself, or the fallback of an extension block without extension."""
        code = tagged(0, NUMBER, NUMBER.write(self.number(value), choices))
        return code if self.plain or choices is Choices.ISO else der.element(CONTEXT | CONSTRUCTED | 1, code)

    def read(self, part: Part, trail: Trail) -> Any:
        """The code, in either form."""
        tag, inner = only(part, trail)
        if tag == CONTEXT | CONSTRUCTED | 1 and not self.plain:
            tag, inner = only(inner, trail)
        if tag != CONTEXT or not 0 < len(inner.view) <= 2:
            raise trail.refuse("is not a code")
        number = int.from_bytes(inner.view, "big", signed=True)
        try:
            code = self.of(number)
        except ValueError as err:
            raise trail.refuse(f"has code {number}, which the standard does not know") from err
        return _leaf(trail, part, code)


def only(part: Part, trail: Trail) -> tuple[int, Part]:
    """Tag and content of the one element inside."""
    found = elements(part, trail)
    if len(found) != 1:
        raise trail.refuse(f"holds {len(found)} elements instead of one")
    return found[0]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A value under tags that each choose the alternative written here."""

    numbers: tuple[int, ...]
    form: Form
    constructed = True

    def write(self, value: Any, choices: Choices) -> bytes:
        """From the inside out."""
        content = tagged(self.numbers[-1], self.form, self.form.write(value, choices))
        for number in reversed(self.numbers[:-1]):
            content = der.element(CONTEXT | CONSTRUCTED | number, content)
        return content

    def read(self, part: Part, trail: Trail) -> Any:
        """From the outside in."""
        depth = len(trail.tags)
        for step, number in enumerate(self.numbers, 1):
            tag, part = only(part, trail)
            last = step == len(self.numbers)
            if tag != (_tag(number, self.form) if last else CONTEXT | CONSTRUCTED | number):
                raise trail.refuse(f"chooses an alternative (tag {tag:02X}) that is not read here")
            trail.tags.append(tag)
        value = self.form.read(part, trail)
        del trail.tags[depth:]
        return value


@dataclass(frozen=True, slots=True)
class Several:
    """SEQUENCE OF."""

    form: Form
    least: int = 0
    most: int = MAX_ELEMENTS
    tag: int = der.SEQUENCE
    constructed = True

    def write(self, value: tuple[Any, ...], choices: Choices) -> bytes:
        """One after another."""
        if not self.least <= len(value) <= self.most:
            raise FaceRecordError(f"A face record's list has {len(value)} elements; {self.least} to {self.most} fit.")
        return b"".join(der.element(self.tag, self.form.write(item, choices)) for item in value)

    def read(self, part: Part, trail: Trail) -> tuple[Any, ...]:
        """All of them."""
        found = elements(part, trail)
        if not self.least <= len(found) <= self.most:
            raise trail.refuse(f"has {len(found)} elements; {self.least} to {self.most} are allowed")
        values = []
        for index, (tag, inner) in enumerate(found):
            if tag != self.tag:
                raise trail.refuse(f"holds an element with tag {tag:02X} instead of {self.tag:02X}")
            trail.names.append(str(index))
            trail.tags.append(tag)
            values.append(self.form.read(inner, trail))
            trail.names.pop()
            trail.tags.pop()
        return tuple(values)


@dataclass(frozen=True, slots=True)
class Field:
    """One element of a SEQUENCE: its tag number, its name in the standard, the attribute that keeps it, its form."""

    number: int
    name: str
    attribute: str
    form: Form
    optional: bool = True


@dataclass(frozen=True, slots=True)
class Fields:
    """SEQUENCE."""

    make: Callable[..., Any]
    fields: tuple[Field, ...]
    constructed = True

    def write(self, value: Any, choices: Choices) -> bytes:
        """The fields that have a value, in the order of their tags."""
        written = []
        for one in self.fields:
            content = getattr(value, one.attribute)
            if content is not None:
                written.append(tagged(one.number, one.form, one.form.write(content, choices)))
        return b"".join(written)

    def read(self, part: Part, trail: Trail) -> Any:
        """The value that the fields make."""
        found: dict[str, Any] = {}
        waiting = list(self.fields)
        for tag, inner in elements(part, trail):
            while waiting and _tag(waiting[0].number, waiting[0].form) != tag:
                _pass_over(waiting.pop(0), trail)
            if not waiting:
                raise trail.refuse(f"holds an element with tag {tag:02X} that is unknown, doubled or out of order")
            one = waiting.pop(0)
            trail.names.append(one.name)
            trail.tags.append(tag)
            found[one.attribute] = one.form.read(inner, trail)
            trail.names.pop()
            trail.tags.pop()
        for one in waiting:
            _pass_over(one, trail)
        return self.make(**found)


def _pass_over(one: Field, trail: Trail) -> None:
    if not one.optional:
        raise trail.refuse(f"has no {one.name}")


def _leaf(trail: Trail, part: Part, value: Kept) -> Kept:
    tags = " ".join(f"{tag:02X}" for tag in trail.tags)
    trail.leaves.append(Leaf(part.begins, tags, trail.name(), len(part.view), value))
    return value


NUMBER = Number()
FLAG = Flag()
