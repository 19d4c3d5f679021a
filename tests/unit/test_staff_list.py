"""Staff codes and their signed list: what is read is what one who may name staff signed, and no code is left in a list, an error or a repr."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.x509 import ReasonFlags
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.canonical import canonical_json, read_canonical_json
from crypto.cms import sign_content
from crypto.errors import SealingError, StaffCodeError, StaffListError
from crypto.issuance import Revoked
from crypto.keys import Purpose, TrustStore
from crypto.staff_code import NOBODY, STAFF_ID, STORED, StaffCode, make_code, make_staff_id, matches, read_code
from crypto.staff_list import StaffList, verify_staff_list
from crypto.trust import CONTENT_STAFF_LIST, CONTENT_TREE_HEAD
from tests.packets import NOW, make_authority, make_signer
from tests.revocation_lists import list_of, trusting
from tests.staff_lists import ANNA, BEN, MONTH, entry, signed_list, stored


@pytest.fixture(scope="module")
def root():
    return make_authority()


@pytest.fixture(scope="module")
def trust(root):
    return TrustStore((root.certificate,))


@pytest.fixture(scope="module")
def signer(root):
    return make_signer(root, "staff-office", purposes=[Purpose.STAFF.oid])


@pytest.fixture(scope="module")
def good(signer):
    return signed_list(signer, entry(ANNA, "centre-07"), entry(BEN, expires_at=NOW + MONTH))


def fields(**changes):
    entries = [entry(ANNA, "centre-07").model_dump(), entry(BEN).model_dump()]
    document = {"version": 1, "number": 7, "issuer": "staff-office", "staff": entries}
    return document | {"issued_at": "2026-11-22T12:00:00Z", "expires_at": "2026-12-22T12:00:00Z"} | changes


def signed(signer, document, kind=CONTENT_STAFF_LIST):
    return sign_content(
        document if isinstance(document, bytes) else canonical_json(document), kind, signer, Purpose.STAFF, NOW
    )


# --- codes -------------------------------------------------------------------------------------------------------------


def test_a_code_is_read_as_it_is_told_and_only_its_owner_has_it():
    staff = make_staff_id()
    code = make_code(staff)
    assert STAFF_ID.fullmatch(staff)
    for spelling in (code.text, code.text.replace(" ", ""), code.text.replace(" ", "-"), f"  {code.text}"):
        assert read_code(spelling) == code
    assert code.secret not in repr(code)
    assert make_code(staff) != make_code(staff)


def test_a_hash_is_in_the_one_form_and_matches_its_code_alone():
    assert STORED.fullmatch(stored(ANNA))
    assert STORED.fullmatch(NOBODY)
    assert matches(stored(ANNA), ANNA)
    assert not matches(stored(ANNA), StaffCode(ANNA.staff, BEN.secret))
    assert not matches(NOBODY, ANNA)
    assert ANNA.secret not in stored(ANNA)


@given(st.text(max_size=60))
@settings(max_examples=300)
def test_whatever_is_typed_is_a_code_or_is_told_without_repeating_it(text):
    told = "A staff code has 18 digits."
    try:
        digits = read_code(text).text.replace(" ", "")
    except StaffCodeError as error:
        digits, told = "0", str(error)
    assert digits.isdigit()
    assert told == "A staff code has 18 digits."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "482103",
        "4821039375562118409",
        "082103937556211840",
        "48210393755621184x",
        "٤٨٢١٠٣٩٣٧٥٥٦٢١١٨٤٠",
        "4" * 10_000,
    ],
)
def test_what_is_no_code_is_refused(text):
    with pytest.raises(StaffCodeError):
        read_code(text)


# --- the list ----------------------------------------------------------------------------------------------------------


def test_a_list_says_who_is_staff_where_and_until_when(good, trust):
    read = verify_staff_list(good, trust)
    assert (read.number, read.issuer, read.issued_at, read.expires_at) == (7, "staff-office", NOW, NOW + MONTH)
    anna, ben = read.find(ANNA.staff), read.find(BEN.staff)
    assert anna.counts("centre-07", NOW)
    assert not anna.counts("centre-08", NOW)
    assert ben.counts("centre-08", NOW)
    assert not ben.counts("centre-08", NOW + MONTH)
    assert read.find("111111") is None
    assert ANNA.secret.encode() not in good
    assert "argon2" not in repr(read)


def test_an_empty_list_is_a_list(signer, trust):
    assert verify_staff_list(signed_list(signer), trust).staff == ()


@pytest.mark.parametrize("purpose", [Purpose.BOOTH, Purpose.INTAKE])
def test_no_other_key_of_the_authority_names_staff(root, trust, purpose):
    other = make_signer(root, "staff-office", purposes=[purpose.oid])
    with pytest.raises(SealingError):
        signed_list(other)
    forged = sign_content(canonical_json(fields()), CONTENT_STAFF_LIST, other, purpose, NOW)
    with pytest.raises(StaffListError):
        verify_staff_list(forged, trust)


def test_a_list_of_another_authority_or_by_a_revoked_key_is_refused(root, signer, trust):
    stranger = make_authority()
    with pytest.raises(StaffListError):
        verify_staff_list(signed_list(make_signer(stranger, "staff-office", purposes=[Purpose.STAFF.oid])), trust)
    taken_back = Revoked(signer.certificate.serial_number, NOW + MONTH, ReasonFlags.key_compromise)
    with pytest.raises(StaffListError):
        verify_staff_list(signed_list(signer), trusting(root, list_of(root, taken_back)))


WRONG = {
    "another version": {"version": 2},
    "number 0": {"number": 0},
    "a number as text": {"number": "7"},
    "an issuer that did not sign": {"issuer": "somebody"},
    "another time of issue": {"issued_at": "2026-11-22T12:00:01Z"},
    "an end before its beginning": {"expires_at": "2026-11-22T12:00:00Z"},
    "an end after years": {"expires_at": "2030-11-22T12:00:00Z"},
    "one more field": {"admin": True},
    "one person twice": {"staff": [entry(ANNA).model_dump(), entry(ANNA).model_dump()]},
    "people out of order": {"staff": [entry(BEN).model_dump(), entry(ANNA).model_dump()]},
    "a cheap hash": {"staff": [entry(ANNA).model_dump() | {"hash": stored(ANNA).replace("m=65536", "m=8")}]},
    "a hash that costs everything": {"staff": [entry(ANNA).model_dump() | {"hash": stored(ANNA).replace("t=3", "t=9999999")}]},
    "another kind of hash": {"staff": [entry(ANNA).model_dump() | {"hash": stored(ANNA).replace("argon2id", "argon2i")}]},
    "an id that is a name": {"staff": [entry(ANNA).model_dump() | {"staff": "anna.m"}]},
    "no staff at all": {"staff": None},
}  # fmt: skip


@pytest.mark.parametrize("fault", WRONG)
def test_a_signed_list_that_is_not_in_its_form_is_refused(signer, trust, fault):
    with pytest.raises(StaffListError):
        verify_staff_list(signed(signer, fields(**WRONG[fault])), trust)


def test_the_form_in_the_test_is_the_right_one(signer, trust):
    assert verify_staff_list(signed(signer, fields()), trust).number == 7


def test_another_content_type_another_spelling_and_a_torn_list_are_refused(signer, trust, good):
    loose = canonical_json(fields()).replace(b'"number":7', b'"number": 7')
    for data in (
        signed(signer, fields(), CONTENT_TREE_HEAD),
        signed(signer, loose),
        signed(signer, b"[]"),
        signed(signer, b"\xff"),
        b"",
        *(good[:cut] for cut in (1, 40, len(good) // 2, len(good) - 1)),
        good + b"\0",
    ):
        with pytest.raises(StaffListError):
            verify_staff_list(data, trust)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_changed_byte_goes_unseen(good, trust, data):
    at = data.draw(st.integers(0, len(good) - 1))
    torn = bytearray(good)
    torn[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StaffListError):
        verify_staff_list(bytes(torn), trust)


def test_nobody_can_make_a_list_that_no_reader_takes(signer):
    for change in ({"life": timedelta(days=91)}, {"life": timedelta(0)}, {"number": 0}):
        with pytest.raises(StaffListError):
            signed_list(signer, entry(ANNA), **change)


def test_ten_thousand_people_fit(signer, trust):
    many = tuple(
        entry(ANNA, "c" * 64, NOW + MONTH).model_copy(update={"staff": str(100_000 + n)}) for n in range(10_000)
    )
    data = signed_list(signer, *many)
    assert len(data) < 4_000_000
    assert len(verify_staff_list(data, trust).staff) == 10_000


def test_the_list_is_canonical_json():
    listed = StaffList.model_validate(fields())
    assert read_canonical_json(listed.to_bytes(), 10_000, "staff list") == fields()
