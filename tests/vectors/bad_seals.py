"""Packets whose header, seal or agreement between header, manifest and signature is wrong; what lies inside is genuine."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

from tests.vectors.case import Case
from tests.vectors.forged_cms import signed_data
from tests.vectors.forged_package import PACKET_ID, canonical, package
from tests.vectors.forged_seal import (
    MAGIC,
    SHARED_SUITE,
    SUITE,
    body_of,
    commitment,
    content_key,
    framed,
    header_value,
    shared,
    shared_value,
    single,
    wraps_of,
)
from tests.vectors.parties import BOOTH_1, DESK, MADE_AT, SECOND, STRANGER, THIRD, recipient_key

OTHER_ID = "fedcba98765443218123456789abcdef"
NOT_CANONICAL, SCHEMA, HEADER_JSON = "not in canonical form", "breaks its schema", "header cannot be read"
UNDECRYPTED = "does not decrypt"


def genuine(**changes: Any) -> bytes:
    """A genuine signed package."""
    return signed_data(package(**changes), BOOTH_1)


def both(*people: Any) -> list[str]:
    return sorted(one.key_id for one in people or (DESK, SECOND))


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def other_character(data: bytes, at: int) -> bytes:
    return data[:at] + (b"A" if data[at : at + 1] != b"A" else b"B") + data[at + 1 :]


def bad_headers() -> list[Case]:
    """Refused by everybody, the intake included."""
    good = single(genuine())
    value = header_value()
    text = canonical(value)

    def raw(header: bytes, length: int | None = None) -> bytes:
        return single(genuine(), before=framed(header, length))

    def changed(**changes: Any) -> bytes:
        return raw(canonical(header_value(**changes)))

    key = content_key()
    two = wraps_of(shared_value(key), sorted((DESK, SECOND), key=lambda one: one.key_id), [key, key])

    def of_shared(recipients: Any, **changes: Any) -> bytes:
        before = framed(canonical(shared_value(key, **changes) | {"recipients": recipients}))
        return before + body_of(genuine(recipients=both()), key, before)

    def wrap(edit: Any) -> bytes:
        return of_shared([two[0] | {"wrap": edit(two[0]["wrap"])}, two[1]])

    nine = [recipient_key(f"desk {n}") for n in range(9)]
    many = wraps_of(shared_value(key), sorted(nine, key=lambda one: one.key_id), [key] * 9)
    last = two[0]["wrap"][-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    respelled = alphabet[alphabet.index(last) ^ 1]
    found = [
        ("magic-wrong", flipped(good, 0), "the first byte of MAGIC is another", "first bytes"),
        ("magic-line-ends", good.replace(b"\r\n", b"\n", 1), "a transfer changed the line end within MAGIC", "first bytes"),
        ("magic-prefixed", b"#!/bin/sh\n" + good, "something stands in front of MAGIC (polyglot)", "first bytes"),
        ("empty", b"", "no bytes at all", "first bytes"),
        ("magic-alone", MAGIC + b"\x00\x00", "ends within the header's length", "ends before its header"),
        ("length-claim-huge", MAGIC + b"\xff\xff\xff\xff" + good[15:], "claims a header of 4 GiB", "too long"),
        ("length-over-limit", raw(text + b" " * 16_384), "a header longer than the limit", "too long"),
        ("length-past-end", framed(text, 10_000), "the header is said to reach past the packet's end", "ends within"),
        ("length-short", raw(text, len(text) - 1), "the length cuts the header's last byte off", HEADER_JSON),
        ("length-zero", raw(text, 0), "a header of no bytes", HEADER_JSON),
        ("header-truncated", good[:100], "the packet ends within its header", "ends within"),
        ("header-not-json", raw(b"\x00" * 40), "the header is not JSON", HEADER_JSON),
        ("header-not-utf8", raw(text.replace(b"booth-0001", b"booth-\xff001")), "the header is not UTF-8", HEADER_JSON),
        ("header-bom", raw(b"\xef\xbb\xbf" + text), "a byte order mark before the header", HEADER_JSON),
        ("header-array", raw(b"[" + text + b"]"), "the header is an array, not an object", "not a JSON object"),
        ("header-white-space", raw(text.replace(b",", b", ")), "white space between members", NOT_CANONICAL),
        ("header-line-end", raw(text + b"\n"), "a line end after the header", NOT_CANONICAL),
        ("header-keys-unsorted", raw(json.dumps(dict(sorted(value.items(), reverse=True)), separators=(",", ":")).encode()), "the keys are not sorted", NOT_CANONICAL),
        ("header-escaped", raw(text.replace(b"booth-0001", b"\\u0062ooth-0001")), "a character is escaped without need", NOT_CANONICAL),
        ("header-name-twice", raw(text[:-1] + b',"version":1}'), "a name occurs twice", "names a key twice"),
        ("header-float", raw(text.replace(b'"version":1', b'"version":1.0')), "the version is a float", "no floats"),
        ("header-big-integer", raw(text.replace(b'"version":1', b'"version":9007199254740992')), "an integer beyond 2^53 - 1", "header"),
        ("header-nested", raw(b'{"a":' * 1_500 + b"1" + b"}" * 1_500), "nested deeper than any header", "header"),
        ("header-field-unknown", changed(priority=1), "a field that nobody knows", SCHEMA),
        ("header-field-missing", changed(created_at=None), "created_at is missing", SCHEMA),
        ("header-version-unknown", changed(version=3), "a version that is not specified", SCHEMA),
        ("header-version-true", changed(version=True), "the version is a boolean", "header"),
        ("header-time-offset", changed(created_at="2026-11-22T14:00:00+02:00"), "a time with an offset", SCHEMA),
        ("header-time-impossible", changed(created_at="2026-02-30T12:00:00Z"), "a day that does not exist", SCHEMA),
        ("header-booth-name", changed(booth="../booth"), "a booth with characters that are not allowed", SCHEMA),
        ("header-packet-id", changed(packet_id=PACKET_ID.upper()), "a packet id in capitals", SCHEMA),
        ("header-two-forms", changed(recipients=two), "version 1 with the recipients of version 2", SCHEMA),
        ("shared-single-key", of_shared(two, recipient_key_id=DESK.key_id), "version 2 with the key id of version 1", SCHEMA),
        ("shared-one", of_shared(two[:1]), "version 2 with one recipient", SCHEMA),
        ("shared-nine", of_shared(many), "nine recipients", SCHEMA),
        ("shared-unsorted", of_shared(two[::-1]), "the recipients are not sorted by key id", SCHEMA),
        ("shared-twice", of_shared([two[0], two[0]]), "a recipient occurs twice", SCHEMA),
        ("shared-no-commitment", of_shared(two, commitment=None), "the commitment is missing", SCHEMA),
        ("shared-wrap-missing", of_shared([two[0], {"key_id": two[1]["key_id"]}]), "a recipient without its wrap", SCHEMA),
        ("shared-wrap-short", wrap(lambda text: text[:-4]), "a wrap that is three bytes short", SCHEMA),
        ("shared-wrap-padded", wrap(lambda text: text + "=="), "a wrap with base64 padding", SCHEMA),
        ("shared-wrap-alphabet", wrap(lambda text: "+" + text[1:]), "a wrap in the other base64 alphabet", SCHEMA),
        ("shared-wrap-respelled", wrap(lambda text: text[:-1] + respelled), "a wrap whose last character has bits that say nothing", SCHEMA),
    ]  # fmt: skip
    return [Case(one[0], one[1], one[2], "Seal: header", "header", one[3]) for one in found]


def bad_bodies() -> list[Case]:
    """A good header; the body does not belong to it."""
    cms = genuine()
    good = single(cms)
    head = len(framed(canonical(header_value())))
    shared_cms = genuine(recipients=both())
    key, other = content_key(), content_key("another content key")
    people = sorted((DESK, SECOND), key=lambda one: one.key_id)
    later = {"created_at": "2026-11-22T12:00:01Z"}

    def desk_wrap(header: dict[str, Any], change: Any) -> dict[str, Any]:
        return header | {"recipients": [change(one) for one in header["recipients"]]}

    def flip_wrap(one: dict[str, str]) -> dict[str, str]:
        if one["key_id"] != DESK.key_id:
            return one
        raw = base64.urlsafe_b64decode(one["wrap"] + "==")
        return one | {"wrap": base64.urlsafe_b64encode(flipped(raw, 1_130)).rstrip(b"=").decode()}

    def swapped(header: dict[str, Any]) -> dict[str, Any]:
        one, two = header["recipients"]
        return header | {"recipients": [one | {"wrap": two["wrap"]}, two | {"wrap": one["wrap"]}]}

    def without_second(header: dict[str, Any]) -> dict[str, Any]:
        return header | {"recipients": [one for one in header["recipients"] if one["key_id"] != SECOND.key_id]}

    good_shared = shared(shared_cms)
    equivocal = [key if one is DESK else other for one in people]
    found = [
        ("suite-unknown", single(cms, suite="hpke-mlkem1024-p384-hkdf-sha384-aes-256-gcm"), "a suite that is not allowed", "unknown suite"),
        ("suite-classical", single(cms, suite="hpke-x25519-hkdf-sha256-aes-256-gcm"), "a suite without the post-quantum half (downgrade)", "unknown suite"),
        ("suite-of-several", single(cms, suite=SHARED_SUITE), "version 1 with the suite of version 2", "unknown suite"),
        ("shared-suite-of-one", shared(shared_cms, suite=SUITE), "version 2 with the suite of version 1", "unknown suite"),
        ("recipient-unknown", single(cms, recipient=STRANGER), "sealed for a key that is not here", "which is not here"),
        ("header-named-desk", single(cms, recipient=STRANGER, recipient_key_id=DESK.key_id), "names the desk, sealed for another key", UNDECRYPTED),
        ("header-changed", good[:15] + good[15:].replace(b"booth-0001", b"booth-0002", 1), "the booth in the header was changed after sealing", UNDECRYPTED),
        ("time-changed", good[:15] + good[15:].replace(b"12:00:00Z", b"12:00:01Z", 1), "the time in the header was changed after sealing", UNDECRYPTED),
        ("lattice-part-changed", flipped(good, head + 10), "a bit of the ML-KEM ciphertext was changed", UNDECRYPTED),
        ("curve-part-changed", flipped(good, head + 1_100), "a bit of the X25519 key was changed", UNDECRYPTED),
        ("curve-part-zero", good[: head + 1_088] + bytes(32) + good[head + 1_120 :], "the X25519 key is all zero", UNDECRYPTED),
        ("ciphertext-changed", flipped(good, head + 1_120 + 50), "a bit of the ciphertext was changed", UNDECRYPTED),
        ("tag-changed", flipped(good, len(good) - 1), "a bit of the tag was changed", UNDECRYPTED),
        ("tag-cut", good[:-1], "the last byte is missing", UNDECRYPTED),
        ("trailing-byte", good + b"\x00", "a byte after the tag", UNDECRYPTED),
        ("body-none", good[:head], "nothing after the header", UNDECRYPTED),
        ("shared-wrap-changed", shared(shared_cms, edit=lambda h: desk_wrap(h, flip_wrap)), "a bit of the desk's wrap was changed by who knows the content key", "content key does not decrypt"),
        ("shared-wraps-swapped", shared(shared_cms, edit=swapped), "two wraps change places", "content key does not decrypt"),
        ("shared-recipient-removed", shared(shared_cms, (DESK, SECOND, THIRD), edit=without_second), "a recipient was taken out by who knows the content key", "content key does not decrypt"),
        ("shared-time-rewritten", shared(shared_cms, edit=lambda h: h | later), "a recipient wrote the header again and encrypted the body under it", "content key does not decrypt"),
        ("shared-commitment-other", shared(shared_cms, commitment=commitment(other)), "the header commits to another content key", "commits to"),
        ("shared-wrap-changed-outside", other_character(good_shared, good_shared.index(b'"wrap"') + 400), "a character of a wrap was changed by somebody without the content key", UNDECRYPTED),
        ("shared-body-changed", flipped(good_shared, len(good_shared) - 100), "a bit of the body was changed", UNDECRYPTED),
        ("shared-trailing-byte", good_shared + b"\x00", "a byte after the tag", UNDECRYPTED),
        ("shared-body-none", good_shared[: -len(shared_cms) - 16], "nothing after the header", UNDECRYPTED),
    ]  # fmt: skip
    cases = [Case(one[0], one[1], one[2], "Seal: body", "seal", one[3]) for one in found]
    split = shared(shared_cms, keys=equivocal)
    cases.append(
        Case(
            "shared-two-content-keys",
            split,
            "two recipients get two content keys",
            "Seal: body",
            "seal",
            "commits to",
            "second",
        )
    )
    return cases


def bad_bindings() -> list[Case]:
    """Everything is genuine by itself; together it says two things."""
    late = signed_data(package(), BOOTH_1, at=MADE_AT + timedelta(minutes=6))
    early = signed_data(package(), BOOTH_1, at=MADE_AT - timedelta(minutes=6))
    other_booth = signed_data(package(booth="booth-0002"), BOOTH_1)
    found = [
        ("forwarded", single(genuine(recipients=[SECOND.key_id])), "a packet for the second desk, sealed again for the first (surreptitious forwarding)", "recipients in the header"),
        ("forwarded-to-more", shared(genuine()), "a packet for one, sealed again for two", "recipients in the header"),
        ("forwarded-to-fewer", single(genuine(recipients=both())), "a packet for two, sealed again for one", "recipients in the header"),
        ("packet-id-differs", single(genuine(packet_id=OTHER_ID)), "header and manifest name different packets", "packet id"),
        ("booth-differs", single(genuine(), booth="booth-0002"), "header and manifest name different booths", "booth in the header"),
        ("booth-of-certificate", single(other_booth, booth="booth-0002"), "header and manifest agree on a booth that is not the certificate's", "booth in the certificate"),
        ("time-differs", single(genuine(), created_at="2026-11-22T12:00:01Z"), "header and manifest tell different times", "time"),
        ("signed-late", single(late), "signed six minutes after it says that it was made", "signed at"),
        ("signed-early", single(early), "signed six minutes before it says that it was made", "signed at"),
        ("substituted", shared(genuine(recipients=both(), packet_id=OTHER_ID)), "a recipient put another genuine package under the same header", "packet id"),
    ]  # fmt: skip
    return [Case(one[0], one[1], one[2], "Who verifies what, in which order", "binding", one[3]) for one in found]
