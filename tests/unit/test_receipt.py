"""Receipts: only a trusted intake can give one, it holds for one packet only, and nothing in it counts that the log does not hold."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.canonical import canonical_json
from crypto.cms import sign_content
from crypto.errors import LogProofError, ReceiptError, SealingError
from crypto.keys import Purpose, TrustStore
from crypto.merkle import consistency_proof, leaf_hash, verify_consistency
from crypto.receipt import (
    MAX_RECEIPT_BYTES,
    Receipt,
    extend_log,
    facts_digest,
    is_receipt_over,
    make_entry,
    read_entry,
    read_receipt,
    verify_receipt,
)
from crypto.tree_head import MAX_TREE_HEAD_BYTES, TreeHead, sign_tree_head, verify_tree_head
from crypto.trust import CONTENT_PACKAGE, CONTENT_TREE_HEAD
from tests.packets import NOW, World, make_authority, make_signer, make_world
from tests.receipts import ReceiptPad

PACKET = b"a sealed packet"
DIGEST = hashlib.sha256(PACKET).hexdigest()
OTHERS = [hashlib.sha256(bytes([i])).hexdigest() for i in range(20)]
PACKET_ID = uuid.uuid4().hex


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def issue(signer, **changes) -> bytes:
    """The receipt of the packet after ten others, in a batch of three."""
    pad = ReceiptPad(signer)
    pad.give(*OTHERS[:10], at=changes.get("at", NOW))
    return pad.give(*OTHERS[10:12], DIGEST, **({"at": NOW, "packet_id": PACKET_ID} | changes))


@pytest.fixture(scope="module")
def receipt(world) -> bytes:
    return issue(world.intake)


def changed(receipt: bytes, **values) -> bytes:
    """The receipt with other values, in canonical form."""
    document = json.loads(receipt)
    for name, value in values.items():
        (document if name in document else document["entry"])[name] = value
    return canonical_json(document)


def test_a_receipt_says_what_was_received_where_and_when(world, receipt):
    read = verify_receipt(receipt, world.trust, DIGEST)
    assert (read.packet_sha256, read.packet_id, read.booth, read.intake) == (
        DIGEST,
        PACKET_ID,
        "booth-0001",
        "intake-1",
    )
    assert (read.received_at, read.position, read.tree_size) == (NOW, 12, 13)
    assert verify_tree_head(read.signed_head, world.trust).root_hash == read.root_hash


def test_one_signature_serves_a_whole_batch(world):
    pad = ReceiptPad(world.intake)
    pad.give(*OTHERS, at=NOW)
    assert pad.extension is not None
    heads = {json.loads(one)["tree_head"] for one in pad.extension.receipts}
    assert len(heads) == 1
    for digest, one in zip(OTHERS, pad.extension.receipts, strict=True):
        assert verify_receipt(one, world.trust, digest).position == OTHERS.index(digest)


def test_a_receipt_for_another_packet_does_not_count(world, receipt):
    with pytest.raises(ReceiptError, match="another packet"):
        verify_receipt(receipt, world.trust, hashlib.sha256(b"other").hexdigest())


def test_a_receipt_is_as_large_as_documented(receipt):
    assert 1_500 < len(receipt) < 4_000
    assert MAX_RECEIPT_BYTES < 65_536  # what the booth reads of an answer


def test_a_booth_cannot_write_its_own_receipt(world):
    with pytest.raises(SealingError, match="purpose"):
        issue(world.booth)
    pad = ReceiptPad(world.intake)
    honest = json.loads(pad.give(DIGEST, at=NOW, intake="intake-1"))
    head = TreeHead(log=pad.log, size=1, root_hash=pad.extension.root.hex(), at=NOW, intake="booth-0001")
    forged = sign_content(head.to_bytes(), CONTENT_TREE_HEAD, world.booth, Purpose.BOOTH, NOW)
    honest["tree_head"] = base64.b64encode(forged).decode()
    with pytest.raises(ReceiptError, match="purpose"):
        verify_receipt(canonical_json(honest), world.trust, DIGEST)


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
        issue(short, at=NOW + timedelta(days=2))


def test_nothing_in_the_entry_can_be_changed_after_the_signature(world, receipt):
    for name, value in {
        "packet_id": uuid.uuid4().hex,
        "booth": "booth-0002",
        "intake": "intake-2",
        "received_at": "2026-11-22T11:59:59Z",
        "position": 11,
    }.items():
        with pytest.raises(LogProofError):
            verify_receipt(changed(receipt, **{name: value}), world.trust, DIGEST)
    with pytest.raises(LogProofError):
        verify_receipt(changed(receipt, packet_sha256=OTHERS[0]), world.trust, OTHERS[0])
    for other in (12, 13, 2**53 - 2):
        with pytest.raises(ReceiptError):
            verify_receipt(changed(receipt, position=other + 1), world.trust, DIGEST)


def test_an_entry_received_after_the_signature_is_refused(world, receipt):
    with pytest.raises(LogProofError, match="younger"):
        verify_receipt(changed(receipt, received_at="2026-11-22T12:00:01Z"), world.trust, DIGEST)


def test_a_head_is_never_dated_before_what_it_holds(world):
    pad = ReceiptPad(world.intake)
    receipt = pad.give(DIGEST, at=NOW, received_at=NOW + timedelta(seconds=30))
    assert verify_receipt(receipt, world.trust, DIGEST).received_at == NOW + timedelta(seconds=30)


def test_a_proof_of_another_tree_is_refused(world, receipt):
    proof = json.loads(receipt)["inclusion"]
    for bad in (proof[1:], proof[:-1], [*proof, proof[0]], proof[::-1], [], ["00" * 32, *proof[1:]]):
        with pytest.raises(LogProofError):
            verify_receipt(changed(receipt, inclusion=bad), world.trust, DIGEST)
    elsewhere = json.loads(issue(world.intake))["tree_head"]  # same size, another packet id in the batch's entries
    other = ReceiptPad(world.intake)
    other.give(*OTHERS[:13], at=NOW)
    elsewhere = base64.b64encode(other.extension.signed_head).decode()
    with pytest.raises(LogProofError, match="root"):
        verify_receipt(changed(receipt, tree_head=elsewhere), world.trust, DIGEST)


def test_what_is_no_proper_receipt_is_refused_by_its_form(world, receipt):
    good = json.loads(receipt)
    bad = [
        changed(receipt, version=1),
        changed(receipt, position=-1),
        changed(receipt, position="12"),
        changed(receipt, packet_id="x"),
        changed(receipt, booth="a b"),
        changed(receipt, packet_sha256=DIGEST.upper()),
        changed(receipt, inclusion=["zz" * 32]),
        changed(receipt, inclusion=["00" * 32] * 60),
        changed(receipt, inclusion="00"),
        changed(receipt, tree_head="not base64!"),
        changed(receipt, tree_head="\u00e4\u00f6"),
        changed(receipt, tree_head=good["tree_head"] + "\n"),
        changed(receipt, tree_head=good["tree_head"].rstrip("=") + "===="),
        changed(receipt, tree_head=""),
        canonical_json(good | {"more": 1}),
        canonical_json(good | {"entry": good["entry"] | {"more": 1}}),
        canonical_json({key: good[key] for key in good if key != "inclusion"}),
        json.dumps(good).encode(),
        receipt + b"\n",
        b"[]",
        b"",
    ]
    for one in bad:
        with pytest.raises(ReceiptError):
            verify_receipt(one, world.trust, DIGEST)


def test_base64_has_one_spelling(world):
    """Bits behind the last byte must be zero: 'QQ==' and 'QR==' decode alike."""
    for size in range(1, 12):
        pad = ReceiptPad(world.intake)
        receipt = pad.give(*OTHERS[:size], DIGEST, at=NOW)
        text = json.loads(receipt)["tree_head"]
        if not text.endswith("="):
            continue
        at = len(text.rstrip("=")) - 1
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        other = text[:at] + alphabet[alphabet.index(text[at]) + 1] + text[at + 1 :]
        assert base64.b64decode(other, validate=True) == base64.b64decode(text)
        with pytest.raises(ReceiptError, match="written again"):
            verify_receipt(changed(receipt, tree_head=other), world.trust, DIGEST)


def head_of(world: World, content: bytes, kind: str = CONTENT_TREE_HEAD) -> bytes:
    return sign_content(content, kind, world.intake, Purpose.INTAKE, NOW)


def test_what_an_intake_signs_must_still_be_a_proper_tree_head(world):
    good = {"version": 1, "log": "ab" * 16, "size": 3, "root_hash": "00" * 32, "at": "2026-11-22T12:00:00Z"}
    good["intake"] = "intake-1"
    assert verify_tree_head(head_of(world, canonical_json(good)), world.trust).size == 3
    bad = [
        canonical_json(good | {"intake": "intake-2"}),
        canonical_json(good | {"at": "2026-11-22T12:00:01Z"}),
        canonical_json(good | {"size": -1}),
        canonical_json(good | {"size": "3"}),
        canonical_json(good | {"version": 2}),
        canonical_json(good | {"log": "x"}),
        canonical_json(good | {"root_hash": "00" * 31}),
        canonical_json(good | {"more": 1}),
        json.dumps(good).encode(),
        b"[]",
        b"",
    ]
    for content in bad:
        with pytest.raises(ReceiptError):
            verify_tree_head(head_of(world, content), world.trust)
    with pytest.raises(ReceiptError, match="trusted intake"):
        verify_tree_head(head_of(world, canonical_json(good), CONTENT_PACKAGE), world.trust)
    with pytest.raises(ReceiptError, match="limit"):
        verify_tree_head(bytes(MAX_TREE_HEAD_BYTES + 1), world.trust)


@pytest.mark.parametrize(
    "changes",
    [{"packet_sha256": "x"}, {"packet_id": "x"}, {"position": -1}, {"position": 2**60}, {"booth": ""}, {"intake": "ä"}],
)
def test_an_intake_does_not_write_nonsense_into_its_log(changes):
    fields = {"packet_sha256": DIGEST, "packet_id": PACKET_ID, "booth": "b", "intake": "i", "received_at": NOW}
    with pytest.raises(ReceiptError, match="No receipt can say this"):
        make_entry(**(fields | {"position": 0} | changes))


def test_an_intake_does_not_sign_a_head_that_nobody_could_read(world):
    with pytest.raises(ReceiptError, match="root_hash"):
        sign_tree_head(log="ab" * 16, size=1, root=b"short", at=NOW, signer=world.intake)


def test_entries_are_appended_where_the_log_ends_only(world):
    entry = make_entry(
        packet_sha256=DIGEST, packet_id=PACKET_ID, booth="b", intake="intake-1", received_at=NOW, position=1
    )
    with pytest.raises(ReceiptError, match="where the log ends"):
        extend_log("ab" * 16, 0, lambda level, index: b"", [entry], at=NOW, signer=world.intake)


def test_heads_of_one_log_are_consistent(world):
    pad, heads = ReceiptPad(world.intake), []
    for size in (1, 2, 4, 7):
        pad.give(*OTHERS[:size], at=NOW)
        heads.append(verify_tree_head(pad.extension.signed_head, world.trust))
    assert [one.size for one in heads] == [1, 3, 7, 14]
    for old, new in pairwise(heads):
        proof = consistency_proof(old.size, new.size, pad.node)
        verify_consistency(old.size, new.size, old.root, new.root, proof)


def test_every_changed_byte_makes_a_receipt_worthless(world, receipt):
    for at in range(len(receipt)):
        bad = bytearray(receipt)
        bad[at] ^= 1
        with pytest.raises(ReceiptError):
            verify_receipt(bytes(bad), world.trust, DIGEST)


def test_the_quick_look_at_a_receipt_says_what_the_thorough_one_says(world, receipt):
    read = read_receipt(receipt)
    head, text = verify_tree_head(read.signed_head, world.trust), base64.b64encode(read.signed_head)
    entry, leaf = read.entry, read.entry.to_bytes()
    assert is_receipt_over(receipt, entry, leaf, head, text)
    for at in range(len(receipt)):
        assert not is_receipt_over(receipt[:at] + bytes([receipt[at] ^ 1]) + receipt[at + 1 :], entry, leaf, head, text)
    for bad in (b"", receipt[:-1], receipt + b" ", receipt.replace(b'","', b'",\n"'), issue(world.intake)):
        assert not is_receipt_over(bad, entry, leaf, head, text)
    old = head.model_copy(update={"at": entry.received_at - timedelta(seconds=1)})
    for other in (old, head.model_copy(update={"intake": "intake-2"}), head.model_copy(update={"size": 14})):
        assert not is_receipt_over(receipt, entry, leaf, other, text)
    alone = ReceiptPad(world.intake).give(DIGEST, at=NOW)
    only = read_receipt(alone)
    assert only.inclusion == []
    head = verify_tree_head(only.signed_head, world.trust)
    assert is_receipt_over(alone, only.entry, only.entry.to_bytes(), head, only.tree_head.encode())


FACTS = {"serial": 13, "recipient": "ab" * 16, "size": 7, "sealed_at": None, "received_at": "x", "state": "received"}


def test_an_entry_of_version_2_holds_the_digest_of_what_else_is_known_and_one_without_a_version_stays_good(world):
    facts = facts_digest(FACTS)
    assert facts == hashlib.sha256(canonical_json(FACTS)).hexdigest()
    assert facts != facts_digest(FACTS | {"size": 8})
    old, new = issue(world.intake), issue(world.intake, facts=facts)
    assert "version" not in json.loads(old)["entry"]
    assert (json.loads(new)["entry"]["version"], json.loads(new)["entry"]["facts"]) == (2, facts)
    for receipt in (old, new):
        assert verify_receipt(receipt, world.trust, DIGEST).position == 12
        entry = canonical_json(json.loads(receipt)["entry"])
        assert read_entry(entry).to_bytes() == entry
        assert leaf_hash(entry) == leaf_hash(read_receipt(receipt).entry.to_bytes())
    document = json.loads(new)
    for change in ({"version": 1}, {"version": 3}, {"facts": "x"}, {"facts": None}, {"version": None}):
        bad = document | {"entry": document["entry"] | change}
        with pytest.raises(ReceiptError):
            read_receipt(canonical_json(bad))
    for gone in ("version", "facts"):
        entry = {name: value for name, value in document["entry"].items() if name != gone}
        with pytest.raises(ReceiptError):
            read_entry(canonical_json(entry))
    with pytest.raises(LogProofError):
        verify_receipt(changed(new, facts=facts_digest(FACTS | {"size": 8})), world.trust, DIGEST)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_hostile_receipts_give_our_own_error(data):
    trust = TrustStore(())
    for candidate in (data, b'{"version":2,' + data, b"0\x82" + data):
        with pytest.raises(ReceiptError):
            verify_receipt(candidate, trust, DIGEST)


def test_a_huge_receipt_is_refused_by_its_size(world):
    with pytest.raises(ReceiptError, match="limit"):
        verify_receipt(bytes(MAX_RECEIPT_BYTES + 1), world.trust, DIGEST)


def test_the_longest_possible_receipt_fits_its_bound(receipt):
    entry = read_receipt(receipt).entry.model_copy(
        update={"booth": "b" * 64, "intake": "i" * 64, "version": 2, "facts": "f" * 64}
    )
    longest = Receipt.model_construct(
        version=2,
        entry=entry.model_copy(update={"position": 2**53 - 2}),
        inclusion=["0" * 64] * 54,
        tree_head=base64.b64encode(bytes(MAX_TREE_HEAD_BYTES)).decode(),
    )
    assert len(longest.to_bytes()) <= MAX_RECEIPT_BYTES
