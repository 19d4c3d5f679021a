"""Receipts: only a trusted intake can give one, and it holds for one packet only."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.canonical import canonical_json
from crypto.cms import sign_content
from crypto.errors import ReceiptError, SealingError
from crypto.keys import Purpose, TrustStore
from crypto.receipt import MAX_RECEIPT_BYTES, issue_receipt, verify_receipt
from crypto.trust import CONTENT_PACKAGE, CONTENT_RECEIPT
from tests.packets import NOW, World, make_authority, make_signer, make_world

PACKET = b"a sealed packet"
DIGEST = hashlib.sha256(PACKET).hexdigest()
PACKET_ID = uuid.uuid4().hex


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def issue(signer, **changes) -> bytes:
    fields = {"packet_sha256": DIGEST, "packet_id": PACKET_ID, "received_at": NOW, "serial": 7}
    return issue_receipt(**(fields | changes), signer=signer)


@pytest.fixture(scope="module")
def receipt(world) -> bytes:
    return issue(world.intake)


def test_a_receipt_says_what_was_received_where_and_when(world, receipt):
    read = verify_receipt(receipt, world.trust, DIGEST)
    assert (read.packet_sha256, read.packet_id, read.intake) == (DIGEST, PACKET_ID, "intake-1")
    assert (read.received_at, read.serial) == (NOW, 7)


def test_a_receipt_for_another_packet_does_not_count(world, receipt):
    with pytest.raises(ReceiptError, match="another packet"):
        verify_receipt(receipt, world.trust, hashlib.sha256(b"other").hexdigest())


def test_a_booth_cannot_write_its_own_receipt(world):
    with pytest.raises(SealingError, match="purpose"):
        issue(world.booth)
    content = json.loads(canonical_json({"version": 1, "packet_sha256": DIGEST, "packet_id": PACKET_ID}))
    content |= {"intake": "booth-0001", "received_at": "2026-11-22T12:00:00Z", "serial": 1}
    forged = sign_content(canonical_json(content), CONTENT_RECEIPT, world.booth, Purpose.BOOTH, NOW)
    with pytest.raises(ReceiptError, match="purpose"):
        verify_receipt(forged, world.trust, DIGEST)


def test_a_stranger_cannot_give_receipts(world, receipt):
    stranger = make_signer(make_authority("root"), "intake-1", purposes=[Purpose.INTAKE.oid])
    with pytest.raises(ReceiptError, match="trusted intake"):
        verify_receipt(issue(stranger), world.trust, DIGEST)
    with pytest.raises(ReceiptError):
        verify_receipt(receipt, TrustStore(()), DIGEST)


def test_a_receipt_stays_valid_after_the_certificate_expired_but_not_when_it_was_expired_at_its_time(world):
    short = make_signer(world.authority, "intake-1", purposes=[Purpose.INTAKE.oid], end=NOW + timedelta(days=1))
    assert verify_receipt(issue(short), world.trust, DIGEST)
    with pytest.raises(SealingError, match="cannot sign now"):
        issue(short, received_at=NOW + timedelta(days=2))


def signed(world: World, content: bytes, kind: str = CONTENT_RECEIPT, **changes) -> bytes:
    return sign_content(content, kind, replace(world, **changes).intake, Purpose.INTAKE, NOW)


def test_what_an_intake_signs_must_still_be_a_proper_receipt(world):
    good = {"version": 1, "packet_sha256": DIGEST, "packet_id": PACKET_ID, "intake": "intake-1", "serial": 1}
    good["received_at"] = "2026-11-22T12:00:00Z"
    assert verify_receipt(signed(world, canonical_json(good)), world.trust, DIGEST)
    bad = [
        canonical_json(good | {"intake": "intake-2"}),
        canonical_json(good | {"received_at": "2026-11-22T12:00:01Z"}),
        canonical_json(good | {"serial": 0}),
        canonical_json(good | {"serial": "1"}),
        canonical_json(good | {"version": 2}),
        canonical_json(good | {"more": 1}),
        canonical_json({key: good[key] for key in good if key != "packet_id"}),
        json.dumps(good).encode(),
        b"[]",
        b"",
    ]
    for content in bad:
        with pytest.raises(ReceiptError):
            verify_receipt(signed(world, content), world.trust, DIGEST)
    with pytest.raises(ReceiptError, match="trusted intake"):
        verify_receipt(signed(world, canonical_json(good), CONTENT_PACKAGE), world.trust, DIGEST)


@pytest.mark.parametrize(
    "changes",
    [{"packet_sha256": "x"}, {"packet_id": "x"}, {"serial": 0}, {"serial": 2**60}, {"packet_sha256": DIGEST.upper()}],
)
def test_an_intake_does_not_sign_nonsense(world, changes):
    with pytest.raises(ReceiptError):
        issue(world.intake, **changes)


def test_every_changed_byte_makes_a_receipt_worthless(world, receipt):
    for at in range(len(receipt)):
        changed = bytearray(receipt)
        changed[at] ^= 1
        with pytest.raises(ReceiptError):
            verify_receipt(bytes(changed), world.trust, DIGEST)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_hostile_receipts_give_our_own_error(data):
    trust = TrustStore(())
    for candidate in (data, b"0\x82" + data):
        with pytest.raises(ReceiptError):
            verify_receipt(candidate, trust, DIGEST)


def test_a_huge_receipt_is_refused_by_its_size(world):
    with pytest.raises(ReceiptError, match="limit"):
        verify_receipt(bytes(MAX_RECEIPT_BYTES + 100_000), world.trust, DIGEST)
