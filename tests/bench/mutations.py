"""Changes to bytes that know what the bytes are: plain octets, DER, JSON. Every change comes from a seeded generator. PURE.

DER is taken apart into a tree as far as it is one, one to three places are changed (tag, length, content, order, copies, losses) and it is
written again, mostly with right lengths, so that the change is met deep inside and not at the first length. JSON is changed as a value and
written in canonical form, mostly, so that the schema is met and not the spelling.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Chance = random.Random
_EDGES = (
    0,
    1,
    0x02,
    0x04,
    0x06,
    0x0C,
    0x13,
    0x17,
    0x18,
    0x1F,
    0x24,
    0x30,
    0x31,
    0x7F,
    0x80,
    0x81,
    0x82,
    0x84,
    0xA0,
    0xA1,
    0xFF,
)
_NUMBERS = (
    0,
    1,
    2,
    -1,
    255,
    256,
    65_535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**53 - 1,
    2**53,
    2**63,
    2**64,
    -(2**53),
    10**30,
)
_TEXTS = ("", "0", "a" * 33, "../x", "\x00", "\n", "\u202e", "\ud7ff", "é", "e\u0301", "x" * 300, "2026-02-30T12:00:00Z", "2026-11-22T12:00:00Z", "0" * 32, "f" * 64)  # fmt: skip
_MAX_DEPTH = 24
_MAX_GROWTH_BYTES = 60_000


def octets(data: bytes, chance: Chance, others: Sequence[bytes] = (b"",)) -> bytes:
    """Bits, edge values, cuts, copies, losses, insertions, and stretches of another sample."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(changed) + 1)
        stretch = chance.choice((1, 1, 2, 4, 16, 100))
        match chance.randrange(9):
            case 0 | 1 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case 2 if at < len(changed):
                changed[at] = chance.choice(_EDGES)
            case 3:
                del changed[at:]
            case 4:
                del changed[at : at + stretch]
            case 5:
                changed[at:at] = chance.randbytes(stretch)
            case 6:
                changed[at:at] = changed[at : at + stretch]
            case 7:
                other = chance.choice(others)
                start = chance.randrange(len(other) + 1)
                changed[at : at + stretch] = other[start : start + chance.choice((stretch, 400))]
            case _:
                changed[at : at + 4] = chance.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, len(data))).to_bytes(4, "big")
    return bytes(changed)


@dataclass
class Node:
    """One element: what is inside, or its content when nothing is."""

    tag: bytes
    content: bytes = b""
    inside: list[Node] | None = None
    prefix: bytes = b""  # of a BIT STRING around DER: its octet of unused bits
    length: bytes | None = field(default=None)  # instead of the right one

    def write(self) -> bytes:
        body = self.content if self.inside is None else self.prefix + b"".join(one.write() for one in self.inside)
        return self.tag + (der_length(len(body)) if self.length is None else self.length) + body

    def below(self) -> list[Node]:
        """This element and all inside it."""
        found = [self]
        for one in self.inside or ():
            found += one.below()
        return found


def der_length(length: int) -> bytes:
    if length < 0x80:
        return bytes([length])
    size = (length.bit_length() + 7) // 8
    return bytes([0x80 | size]) + length.to_bytes(size, "big")


def read_nodes(data: bytes, depth: int = 0) -> list[Node] | None:
    """The elements that these bytes are, or None."""
    nodes, at = [], 0
    while at < len(data):
        start = at
        at += 1
        if data[start] & 0x1F == 0x1F:
            while at < len(data) and data[at] & 0x80:
                at += 1
            at += 1
        tag = data[start:at]
        if at >= len(data):
            return None
        length, at = data[at], at + 1
        if length & 0x80:
            size = length & 0x7F
            if not 1 <= size <= 4:
                return None
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        if at + length > len(data):
            return None
        nodes.append(_node(tag, data[at : at + length], depth))
        at += length
    return nodes


def _node(tag: bytes, content: bytes, depth: int) -> Node:
    if depth < _MAX_DEPTH and content:
        if tag[0] & 0x20 or tag == b"\x04":
            inside = read_nodes(content, depth + 1)
            if inside:
                return Node(tag, inside=inside)
        if tag == b"\x03" and content[0] == 0:
            inside = read_nodes(content[1:], depth + 1)
            if inside:
                return Node(tag, inside=inside, prefix=b"\x00")
    return Node(tag, content)


def der(data: bytes, chance: Chance, others: Sequence[bytes] = (b"",)) -> bytes:
    """DER with a few elements changed; plain octets when the bytes are none."""
    roots = read_nodes(data)
    if not roots:
        return octets(data, chance, others)
    whole = Node(b"", inside=roots)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        every = [(parent, one) for parent in whole.below() for one in parent.inside or ()]
        if not every:
            break
        parent, one = chance.choice(every)
        _change(parent, one, every, chance, others)
    changed = b"".join(one.write() for one in whole.inside or ())
    return changed[: len(data) + _MAX_GROWTH_BYTES]


def _change(parent: Node, one: Node, every: list[tuple[Node, Node]], chance: Chance, others: Sequence[bytes]) -> None:
    siblings = parent.inside or []
    at = next(index for index, sibling in enumerate(siblings) if sibling is one)
    body = one.content if one.inside is None else b"".join(inner.write() for inner in one.inside)
    match chance.randrange(13):
        case 0:
            one.tag = bytes([chance.choice(_EDGES) if chance.random() < 0.5 else one.tag[0] ^ 1 << chance.randrange(8)])
        case 1:
            one.length = chance.choice(
                (
                    b"\x80",
                    b"\x00",
                    b"\x84\xff\xff\xff\xff",
                    b"\x88" + bytes(7) + b"\x01",
                    b"\xff",
                    bytes([len(body) & 0x7F]),
                )
            )
        case 2:  # not minimal
            one.length = b"\x84" + len(body).to_bytes(4, "big")
        case 3:
            del siblings[at]
        case 4:
            siblings.insert(at, _node(one.tag, body, 0))
        case 5:
            chance.shuffle(siblings)
        case 6:
            siblings[at] = _node(*_split(chance.choice(every)[1]), 0)
        case 7:
            one.inside, one.content = None, octets(body, chance, others)
        case 8:
            one.inside, one.content = None, chance.randbytes(chance.choice((0, 1, 2, 20, 300)))
        case 9:
            one.inside, one.content = None, body + chance.choice((b"\x00", b"\x05\x00", b"\x00\x00"))
        case 10 if one.inside is None and one.tag == b"\x02":
            one.content = chance.choice(
                (b"", b"\x00", b"\x00\x00", b"\xff", b"\x80", b"\x01", b"\x7f" * 30, b"\x00" + body)
            )
        case 11 if one.inside is None:
            one.content = bytes(reversed(body)) if chance.random() < 0.3 else octets(body, chance)
        case _:  # deeper and deeper
            tag, inner = bytes([one.tag[0] | 0x20]), body
            for _ in range(chance.choice((1, 2, 50, 300))):
                inner = tag + der_length(len(inner)) + inner
            one.inside, one.content = None, inner


def _split(one: Node) -> tuple[bytes, bytes]:
    return one.tag, one.content if one.inside is None else b"".join(inner.write() for inner in one.inside)


def value(document: Any, chance: Chance) -> Any:
    """A JSON value with a few members changed."""
    document = json.loads(json.dumps(document))
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        places = _places(document)
        if not places:
            return _replacement(document, chance)
        holder, name = chance.choice(places)
        match chance.randrange(6):
            case 0:
                del holder[name]
            case 1 if isinstance(holder, dict):
                holder[chance.choice((*_TEXTS, "version", "parts", "booth"))] = _replacement(holder[name], chance)
            case 1 | 2 if isinstance(holder, list):
                holder.insert(name, json.loads(json.dumps(holder[name])))
            case 3:
                chosen, other = chance.choice(places)
                if other in chosen if isinstance(chosen, dict) else other < len(chosen):
                    holder[name] = json.loads(json.dumps(chosen[other]))
            case _:
                holder[name] = _replacement(holder[name], chance)
    return document


def _places(document: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    pending = [document]
    while pending:
        holder = pending.pop()
        names = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for name in names:
            found.append((holder, name))
            pending.append(holder[name])
    return found


def _replacement(old: Any, chance: Chance) -> Any:
    if isinstance(old, str) and old and chance.random() < 0.5:
        at = chance.randrange(len(old))
        return old[:at] + chance.choice(("", "0", "A", "z", "-", "\x00", "Ä", old[at:] * 2)) + old[at + 1 :]
    if isinstance(old, int) and chance.random() < 0.3:
        return old + chance.choice((-1, 1, 256))
    kinds = (*_NUMBERS, *_TEXTS, None, True, False, 0.5, 1e300, [], {}, [[]], [old], {"a": old}, [old] * 70)
    return chance.choice(kinds)


def canonical(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def document(data: bytes, chance: Chance, others: Sequence[bytes] = (b"",)) -> bytes:
    """A JSON document with members changed, in canonical form mostly; now and then another spelling, or changed octets."""
    if chance.random() < 0.2:
        return octets(data, chance, others)
    changed = value(json.loads(data), chance)
    match chance.randrange(12):
        case 0:
            return json.dumps(changed, indent=chance.choice((None, 1))).encode()
        case 1:
            return canonical(changed).replace(b":", chance.choice((b": ", b":\t", b":-", b":0", b"::")), 1)
        case 2:
            depth = chance.choice((10, 900, 1_100, 5_000))
            opening, closing = chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
            return opening * depth + b"1" + closing * depth
        case 3:
            return canonical(changed)[:-1] + b',"booth":"x"}'
        case _:
            return canonical(changed)
