"""Application slips: the vectors, what is written is read, and whatever is changed is refused."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

import crypto.errors
from crypto.application import ALPHABET, check_character, grouped_number
from crypto.errors import CertificateRefusedError, SealingError, SlipError, SlipMalformedError
from crypto.slip import MAX_TEXT, Slip, centre_of, is_slip, read_slip, write_slip
from crypto.trust import Purpose, TrustStore
from tests.vectors.make_slips import INDEX, NORTH, TODAY, bytes_of, document, sign_by, slip, text_of
from tests.vectors.parties import BOOTH_1, ROOT

SET = json.loads(INDEX.read_text(encoding="utf-8"))
CENTRES = {
    one.key_id: one for one in (centre_of(x509.load_pem_x509_certificate(pem.encode())) for pem in SET["centres"])
}
CENTRE = centre_of(NORTH.certificate)
NUMBERS = st.text(ALPHABET, min_size=7, max_size=19).map(lambda body: body + check_character(body))
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
DAYS = st.dates(date(2000, 1, 1), date(2179, 6, 6))


def by_id(case) -> str:
    return case["id"]


def test_the_vectors_are_what_the_program_makes():
    assert INDEX.read_text(encoding="utf-8") == document()


@pytest.mark.parametrize("case", SET["good"], ids=by_id)
def test_a_good_slip_is_read(case):
    read = read_slip(case["text"], CENTRES, date.fromisoformat(SET["today"]))
    assert (read.number, read.expires.isoformat(), read.centre) == (case["number"], case["expires"], case["centre"])
    assert len(case["text"]) <= MAX_TEXT


@pytest.mark.parametrize("case", SET["bad"], ids=by_id)
def test_a_bad_slip_is_refused(case):
    wanted = getattr(crypto.errors, f"Slip{case['error']}Error")
    with pytest.raises(SlipError) as refused:
        read_slip(case["text"], CENTRES, date.fromisoformat(SET["today"]))
    assert type(refused.value) is wanted
    assert "DEMO" not in str(refused.value)


def test_the_longest_slip_has_the_greatest_length():
    assert max(len(case["text"]) for case in SET["good"]) == MAX_TEXT


def test_a_number_that_begins_like_a_slip_is_a_number():
    number = "PB12026001" + check_character("PB12026001")
    assert not is_slip(number)
    assert not is_slip(grouped_number(number))
    assert is_slip(slip()[:40]), "a slip that is cut off is told as one"


@given(NUMBERS, DAYS, NAMES)
def test_what_is_written_is_read(number, expires, name):
    text = write_slip(Slip(number, expires, name, CENTRE.key_id), sign_by(NORTH))
    assert is_slip(text)
    named = type(CENTRE)(name, CENTRE.key_id, CENTRE.public_key)
    assert read_slip(text, {CENTRE.key_id: named}, expires) == Slip(number, expires, name, CENTRE.key_id)


@given(st.data())
def test_a_slip_with_any_bit_changed_is_refused(data):
    whole = bytearray(bytes_of(slip()))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SlipError):
        read_slip(text_of(bytes(whole)), CENTRES, TODAY)


@given(st.text(max_size=40) | st.binary(max_size=200).map(text_of) | st.from_regex(r"PB1[A-Z2-7]*", fullmatch=True))
def test_whatever_comes_from_a_camera_is_read_or_refused(text):
    with pytest.raises(SlipMalformedError):
        read_slip(text, {}, TODAY)


@pytest.mark.parametrize(
    "changed",
    [
        {"number": "demo2026000017"},
        {"number": "DEMO2026000017"},
        {"expires": date(1999, 12, 31)},
        {"expires": date(2179, 6, 7)},
        {"centre": ""},
        {"centre": "x" * 65},
        {"centre": "north\n"},
        {"key_id": b"short"},
    ],
    ids=str,
)
def test_what_no_reader_would_take_is_not_written(changed):
    fields = {"number": SET["good"][0]["number"], "expires": TODAY, "centre": "centre-north", "key_id": CENTRE.key_id}
    with pytest.raises(SealingError):
        write_slip(Slip(**(fields | changed)), sign_by(NORTH))


def test_a_signer_on_another_curve_writes_no_slip():
    one = Slip(SET["good"][0]["number"], TODAY, "centre-north", CENTRE.key_id)
    with pytest.raises(SealingError):
        write_slip(one, BOOTH_1.sign)
    with pytest.raises(SealingError):
        write_slip(one, lambda data: b"no signature")


def test_a_centre_has_a_key_on_its_own_curve_and_a_purpose_of_its_own():
    trust, at = TrustStore((ROOT.certificate,)), datetime(2026, 11, 23, tzinfo=UTC)
    assert trust.path(NORTH.certificate, (), Purpose.CENTRE, at)
    for party, purpose in ((NORTH, Purpose.BOOTH), (NORTH, Purpose.INTAKE), (BOOTH_1, Purpose.CENTRE)):
        with pytest.raises(CertificateRefusedError, match="not for the purpose"):
            trust.path(party.certificate, (), purpose, at)
    with pytest.raises(CertificateRefusedError, match="P-256"):
        centre_of(BOOTH_1.certificate)
