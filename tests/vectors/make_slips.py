"""Makes the test vectors of application slips: slips.json with the centres' certificates, good slips and bad ones.

    .venv/bin/python -m tests.vectors.make_slips

Keys and signatures are deterministic (parties.py), so the same run gives the same file. Each bad slip says which error refuses it, and why.
"""

from __future__ import annotations

import base64
import json
from datetime import date
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from crypto.application import check_character
from crypto.slip import PREFIX, SIGNED_CONTEXT, Slip, centre_of, write_slip
from crypto.trust import Purpose
from tests.vectors.parties import ROOT, Party, make_party

INDEX = Path(__file__).resolve().parent / "slips.json"
TODAY = date(2026, 11, 23)
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ECDSA = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


def make_centre(name: str, common: str) -> Party:
    return make_party(name, ROOT, common=common, purposes=[Purpose.CENTRE.oid], curve=ec.SECP256R1())


LONGEST = "c" + "-1234567" * 7 + ".abcdef"
NORTH = make_centre("centre north", "centre-north")
LONG = make_centre("centre with the longest name", LONGEST)
STRANGER = make_centre("centre unknown", "centre-north")


def number_of(body: str) -> str:
    return body + check_character(body)


NUMBER = number_of("DEMO2026000017")


def sign_by(party: Party):
    return lambda data: party.key.sign(data, ECDSA)


def slip(party: Party = NORTH, *, number: str = NUMBER, expires: date = date(2027, 2, 28), centre: str = "") -> str:
    known = centre_of(party.certificate)
    return write_slip(Slip(number, expires, centre or known.name, known.key_id), sign_by(party))


def text_of(data: bytes) -> str:
    return PREFIX + base64.b32encode(data).decode().rstrip("=")


def bytes_of(text: str) -> bytes:
    digits = text.removeprefix(PREFIX)
    return base64.b32decode(digits + "=" * (-len(digits) % 8))


def signed(body: bytes, party: Party = NORTH) -> str:
    """A body of any form with a right signature."""
    r, s = decode_dss_signature(party.key.sign(SIGNED_CONTEXT + body, ECDSA))
    return text_of(body + r.to_bytes(32, "big") + min(s, ORDER - s).to_bytes(32, "big"))


def good_slips() -> list[dict[str, Any]]:
    found = [
        ("usual", slip(), NUMBER, date(2027, 2, 28), "centre-north"),
        ("last-day", slip(expires=TODAY), NUMBER, TODAY, "centre-north"),
        ("shortest-number", slip(number=number_of("0000000")), number_of("0000000"), date(2027, 2, 28), "centre-north"),
        (
            "longest",
            slip(LONG, number=number_of("Z" * 19), expires=date(2179, 6, 6)),
            number_of("Z" * 19),
            date(2179, 6, 6),
            LONGEST,
        ),
    ]
    return [
        {"id": name, "text": text, "number": number, "expires": expires.isoformat(), "centre": centre}
        for name, text, number, expires, centre in found
    ]


def bad_slips() -> list[dict[str, str]]:
    """Text, the error, and what is wrong."""
    text = slip()
    data = bytes_of(text)
    body, signature = data[:-64], data[-64:]
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")

    def with_signature(r: int, s: int) -> str:
        return text_of(body + r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    at_number = 4 + body[3]
    key_id = body[-8:]

    def of(version: int = 1, days: bytes = body[1:3], centre: bytes = b"centre-north", number: bytes = b"", tail: bytes = b"") -> str:  # fmt: skip
        number = number or NUMBER.encode()
        parts = bytes((version,)) + days + bytes((len(centre),)) + centre + bytes((len(number),)) + number
        return signed(parts + key_id + tail)

    spelling = "Q" if text[-1] != "Q" else "R"
    found = [
        ("empty", "", "Malformed", "nothing at all"),
        ("number-alone", NUMBER, "Malformed", "an application number, not a slip"),
        ("prefix-alone", PREFIX, "Malformed", "nothing after the prefix"),
        ("small-letters", text.lower(), "Malformed", "base32 in small letters"),
        ("other-prefix", "PB2" + text[3:], "Malformed", "another form's prefix"),
        ("padded", text + "=", "Malformed", "padding"),
        ("space", text + " ", "Malformed", "something after the end"),
        ("line-end", text + "\n", "Malformed", "a line end after the end"),
        ("digit-outside-base32", text[:-1] + "1", "Malformed", "a digit that base32 does not have"),
        ("not-ascii", text[:-1] + "\u0410", "Malformed", "a letter that only looks like base32"),
        ("left-over-bits", text[:-1] + spelling, None, "bits beyond the last octet, or another signature"),
        ("cut-by-one", text[:-1], "Malformed", "a length that base32 does not have, or a byte less"),
        ("cut-to-signature", text_of(signature), "Malformed", "a signature alone"),
        ("cut-in-half", text_of(data[: len(data) // 2]), "Malformed", "half a slip"),
        ("too-long", text + "A" * 400, "Malformed", "longer than any slip"),
        ("version-0", of(version=0), "Malformed", "version 0, signed"),
        ("version-2", of(version=2), "Malformed", "a version that is not known, signed"),
        ("empty-centre", of(centre=b""), "Malformed", "no centre, signed"),
        ("centre-no-name", of(centre=b"../north"), "Malformed", "a centre that is no name, signed"),
        ("centre-not-ascii", of(centre=b"centre-\xff"), "Malformed", "a centre that is not ASCII, signed"),
        ("number-small", of(number=NUMBER.lower().encode()), "Malformed", "a number in small letters, signed"),
        ("number-grouped", of(number=b"DEMO-2026-0000-17"), "Malformed", "a number with hyphens, signed"),
        ("number-check", of(number=NUMBER[:-1].encode() + (b"A" if NUMBER[-1] != "A" else b"B")), "Malformed", "a wrong check character, signed"),
        ("number-short", of(number=number_of("000000").encode()), "Malformed", "a number of seven characters, signed"),
        ("number-long", of(number=number_of("0" * 20).encode()), "Malformed", "a number of 21 characters, signed"),
        ("tail", of(tail=b"\0"), "Malformed", "an octet after the key id, signed"),
        ("length-beyond-end", signed(body[:3] + b"\xff" + body[4:]), "Malformed", "a centre longer than the slip, signed"),
        ("s-in-the-upper-half", with_signature(r, ORDER - s), "Malformed", "the other signature of the same value"),
        ("r-zero", with_signature(0, s), "Malformed", "r is 0"),
        ("s-zero", with_signature(r, 0), "Malformed", "s is 0"),
        ("r-of-the-order", with_signature(ORDER, s), "Malformed", "r is the order"),
        ("stranger", slip(STRANGER), "UnknownCentre", "another key with the same name"),
        ("stranger-expired", slip(STRANGER, expires=date(2020, 1, 1)), "UnknownCentre", "expired too: a stranger's day says nothing"),
        ("other-name", slip(centre="centre-south"), "Forged", "signed by the north for the south"),
        ("stranger-with-our-key-id", signed(body, STRANGER), "Forged", "names the key of the north, signed by another"),
        ("other-number", text_of(body[:at_number] + bytes((len(NUMBER),)) + number_of("DEMO2026000018").encode() + key_id + signature), "Forged", "another number under the same signature"),
        ("later-day", text_of(body[:1] + b"\xff\xff" + body[3:] + signature), "Forged", "a later day under the same signature"),
        ("r-changed", with_signature(r ^ 1, s), "Forged", "one bit of r"),
        ("no-context", text_of(body + _raw(NORTH.key.sign(body, ECDSA))), "Forged", "signed without the context"),
        ("yesterday", slip(expires=date(2026, 11, 22)), "Expired", "yesterday was the last day"),
        ("first-day-of-all", slip(expires=date(2000, 1, 1)), "Expired", "the first day that can be written"),
    ]  # fmt: skip
    return [
        {"id": name, "text": text, "error": error or _bits_error(text), "reason": reason}
        for name, text, error, reason in found
    ]


def _raw(der: bytes) -> bytes:
    r, s = decode_dss_signature(der)
    return r.to_bytes(32, "big") + min(s, ORDER - s).to_bytes(32, "big")


def _bits_error(text: str) -> str:
    return "Malformed" if text_of(bytes_of(text)) != text else "Forged"


def document() -> str:
    centres = [party.pem.decode() for party in (NORTH, LONG)]
    head = {"root": ROOT.pem.decode(), "centres": centres, "today": TODAY.isoformat()}
    return json.dumps({**head, "good": good_slips(), "bad": bad_slips()}, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    INDEX.write_text(document(), encoding="utf-8")
