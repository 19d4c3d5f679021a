"""Hand-over messages, orders and answers: what is opened is what booth and desk signed for this producer, whatever somebody in between makes of it."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest

from crypto.canonical import canonical_json
from crypto.cms import sign_content
from crypto.decision import Decision, DecisionLink, Proposal, sign_decision
from crypto.errors import HandOverError
from crypto.handover import (
    CONTENT,
    DECISION_PART,
    MAX_ANSWER_BYTES,
    PACKET_PART,
    SIGNATURE,
    UNREADABLE,
    Answer,
    OrderNote,
    make_message,
    open_message,
    sign_answer,
    sign_order,
    verify_answer,
    verify_order,
)
from crypto.keys import Purpose, TrustStore, generate_recipient_key
from crypto.package import ManifestFields, build_package
from crypto.seal import MAX_PACKET_BYTES, HeaderFields, seal, sign
from crypto.trust import (
    ARC,
    CONTENT_ANSWER,
    CONTENT_DECISION,
    CONTENT_DECISION_LINK,
    CONTENT_HANDOVER,
    CONTENT_ORDER,
    CONTENT_PROPOSAL,
)
from server.desk_orders import CODES
from tests.packets import NOW, make_authority, make_signer

PACKET_ID = "12345678123445678123456781234567"
SHA256 = "ab" * 32
ORDER = "0f" * 16
PARTS = {"portrait.jpg": b"pixels", "visit.json": b"{}"}


class World:
    """A booth, a desk and a producer who believe in one authority."""

    def __init__(self) -> None:
        root = make_authority()
        self.root = root
        self.trust = TrustStore((root.certificate,))
        self.booth = make_signer(root)
        self.desk = make_signer(root, "office-north", purposes=[Purpose.DESK.oid])
        self.producer = make_signer(root, "producer-a", purposes=[Purpose.PRODUCER.oid])
        self.key, self.other = generate_recipient_key(), generate_recipient_key()
        self.package = self.packaged()
        self.cms = sign(self.package.data, self.booth, NOW)
        self.decision = self.decided(self.cms)
        self.message = self.made(self.cms, self.decision)

    def packaged(self, packet_id: str = PACKET_ID, **more):
        fields = {"packet_id": packet_id, "booth": "booth-0001", "centre": "centre-1"} | more
        return build_package(ManifestFields(**fields, recipients=("ab" * 16,), created_at=NOW), PARTS)

    def decided(self, cms: bytes, packet_id: str = PACKET_ID, **more) -> bytes:
        told = {"packet_sha256": SHA256, "packet_id": packet_id, "verdict": "accepted", "officer": "o1", "at": NOW}
        return sign_decision(**(told | more), cms=cms, signer=self.desk)

    def made(self, cms: bytes, decision: bytes, *, signer=None, recipients=None) -> bytes:
        keys = recipients or [self.key.public]
        return make_message(cms, decision, self.package.manifest, keys, signer or self.desk, NOW)

    def wrapped(self, parts, *, signer=None, purpose=Purpose.DESK, kind=CONTENT_HANDOVER, **header) -> bytes:
        """A message as the product would not make it."""
        fields = {"packet_id": PACKET_ID, "booth": "booth-0001", "created_at": NOW}
        package = build_package(ManifestFields(**fields, centre="centre-1", recipients=(self.key.key_id,)), parts)
        signed = sign_content(package.data, kind, signer or self.desk, purpose, NOW)
        return seal(signed, HeaderFields(**(fields | header)), [self.key.public])

    def opened(self, message: bytes, key=None):
        return open_message(message, [key or self.key], self.trust, self.trust)

    def refused(self, message: bytes, code: str, key=None) -> None:
        with pytest.raises(HandOverError) as caught:
            self.opened(message, key)
        assert caught.value.answer_code == code, caught.value


@pytest.fixture(scope="module")
def world():
    return World()


def test_the_producer_gets_what_the_booth_signed_byte_for_byte_and_the_decision(world):
    opened = world.opened(world.message)
    assert opened.cms == world.cms
    assert opened.decision_cms == world.decision
    assert dict(opened.parts) == PARTS
    assert opened.manifest == world.package.manifest
    assert (opened.handed_by, opened.handed_at) == ("office-north", NOW)
    assert opened.decision.packet_sha256 == SHA256


def test_each_of_several_keys_of_the_producer_opens_it_and_no_other(world):
    both = world.made(world.cms, world.decision, recipients=[world.key.public, world.other.public])
    assert world.opened(both, world.key).cms == world.opened(both, world.other).cms == world.cms
    world.refused(world.message, UNREADABLE, world.other)


@pytest.mark.parametrize("at", [0, 20, 400, -1])
def test_a_changed_byte_anywhere_opens_nothing(world, at):
    changed = bytearray(world.message)
    changed[at] ^= 1
    world.refused(bytes(changed), UNREADABLE)


@pytest.mark.parametrize("message", [b"", b"\x89PBOOTH\r\n\x1a\n", bytes(MAX_PACKET_BYTES + 1)])
def test_what_is_no_message_is_unreadable(world, message):
    world.refused(message, UNREADABLE)


def test_only_a_desk_hands_over(world):
    parts = {PACKET_PART: world.cms, DECISION_PART: world.decision}
    stranger = make_signer(make_authority(), "office-north", purposes=[Purpose.DESK.oid])
    world.refused(world.wrapped(parts, signer=world.booth, purpose=Purpose.BOOTH), SIGNATURE)
    world.refused(world.wrapped(parts, signer=stranger), SIGNATURE)
    world.refused(world.wrapped(parts, kind=CONTENT_ORDER), SIGNATURE)
    assert world.opened(world.wrapped(parts)).cms == world.cms
    # The booth's packet itself, sealed for the producer's key.
    fields = HeaderFields(packet_id=PACKET_ID, booth="booth-0001", created_at=NOW)
    world.refused(seal(world.cms, fields, [world.key.public]), SIGNATURE)


def test_parts_are_these_two_and_belong_together(world):
    good = {PACKET_PART: world.cms, DECISION_PART: world.decision}
    other_id = PACKET_ID[:-1] + "8"
    another = sign(world.packaged(other_id).data, world.booth, NOW)
    late = sign(world.package.data, world.booth, NOW + timedelta(hours=1))
    foreign = make_signer(world.root, "booth-0002")
    for parts, code in (
        ({PACKET_PART: world.cms}, CONTENT),
        (good | {"more": b""}, CONTENT),
        (good | {DECISION_PART: b"accepted"}, SIGNATURE),
        (good | {PACKET_PART: b"packet"}, SIGNATURE),
        (good | {DECISION_PART: world.decided(another)}, CONTENT),  # about another package
        (good | {DECISION_PART: world.decided(world.cms, other_id)}, CONTENT),
        (good | {DECISION_PART: world.decided(world.cms, verdict="refused", reasons=("light",))}, CONTENT),
        ({PACKET_PART: another, DECISION_PART: world.decided(another, other_id)}, CONTENT),  # the wrapper names another
        ({PACKET_PART: late, DECISION_PART: world.decided(late)}, CONTENT),
    ):
        world.refused(world.wrapped(parts), code)
    cms = sign(world.package.data, foreign, NOW)
    world.refused(world.wrapped({PACKET_PART: cms, DECISION_PART: world.decided(cms)}), CONTENT)
    world.refused(world.wrapped(good, booth="booth-0002"), CONTENT)


def test_a_package_that_no_message_has_room_for_is_told(world):
    with pytest.raises(HandOverError, match="too large"):
        world.made(bytes(20_000_000), world.decision)
    with pytest.raises(HandOverError):
        make_message(world.cms, world.decision, world.package.manifest, [], world.desk, NOW)


# --- orders and answers ------------------------------------------------------------------------------------------------


def ordered(world, **changes) -> bytes:
    told = {"order": ORDER, "packet_sha256": SHA256, "producer": "producer-a", "recipients": [world.key.key_id]}
    told |= {"message": world.message, "at": NOW, "answer_by": NOW + timedelta(hours=72), "resend_of": None}
    return sign_order(**(told | changes), signer=world.desk)


def test_an_order_says_what_the_desk_signed(world):
    note = verify_order(ordered(world), world.trust)
    assert (note.order, note.producer, note.office) == (ORDER, "producer-a", "office-north")
    assert (note.message_sha256, note.size) == (hashlib.sha256(world.message).hexdigest(), len(world.message))
    for wrong in ({"order": "x"}, {"producer": ""}, {"recipients": []}, {"resend_of": "1"}, {"message": b""}):
        with pytest.raises(HandOverError):
            ordered(world, **wrong)


def answered(world, **changes) -> bytes:
    told = {"order": ORDER, "message_sha256": SHA256, "code": None, "at": NOW, "signer": world.producer}
    return sign_answer(**(told | changes))


def test_an_answer_says_what_the_producer_signed(world):
    good, bad = verify_answer(answered(world), world.trust), verify_answer(answered(world, code="quality"), world.trust)
    assert (good.verdict, good.code, good.producer) == ("accepted", None, "producer-a")
    assert (bad.verdict, bad.code) == ("rejected", "quality")
    assert len(answered(world, code="a" * 64)) < MAX_ANSWER_BYTES
    for wrong in ({"code": ""}, {"code": "Blurred face of Anna"}, {"order": ""}):
        with pytest.raises(HandOverError) as caught:
            answered(world, **wrong)
        assert "Anna" not in str(caught.value)


def document(**changes) -> dict:
    told = {"version": 1, "order": ORDER, "message_sha256": SHA256, "verdict": "accepted", "code": None}
    return told | {"answered_at": "2026-11-22T12:00:00Z", "producer": "producer-a"} | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"verdict": "rejected"},
        {"code": "quality"},
        {"verdict": "maybe"},
        {"producer": "producer-b"},
        {"answered_at": "2026-11-22T12:00:01Z"},
        {"order": ORDER.upper()},
        {"more": 1},
    ],
)
def test_an_answer_in_another_form_is_refused(world, changes):
    good = sign_content(canonical_json(document()), CONTENT_ANSWER, world.producer, Purpose.PRODUCER, NOW)
    assert verify_answer(good, world.trust).verdict == "accepted"
    data = sign_content(canonical_json(document(**changes)), CONTENT_ANSWER, world.producer, Purpose.PRODUCER, NOW)
    with pytest.raises(HandOverError):
        verify_answer(data, world.trust)


def test_nobody_answers_for_a_producer_and_no_order_is_an_answer(world):
    for data in (
        sign_content(canonical_json(document()), CONTENT_ANSWER, world.desk, Purpose.DESK, NOW),
        sign_content(canonical_json(document()), CONTENT_ORDER, world.producer, Purpose.PRODUCER, NOW),
        ordered(world),
        b"",
        b"{}",
        bytes(MAX_ANSWER_BYTES + 1),
        answered(world)[:-1],
    ):
        with pytest.raises(HandOverError):
            verify_answer(data, world.trust)
    with pytest.raises(HandOverError):
        verify_order(answered(world), world.trust)


def test_the_document_tells_every_field_and_code():
    text = (Path(__file__).resolve().parents[2] / "docs" / "handover.md").read_text(encoding="utf-8")
    for model in (Decision, DecisionLink, Proposal, OrderNote, Answer):
        for name in model.model_fields:
            assert f"`{name}`" in text, (model, name)
    for code in CODES:
        assert f"| `{code}` |" in text
    kinds = (CONTENT_DECISION, CONTENT_DECISION_LINK, CONTENT_PROPOSAL, CONTENT_HANDOVER, CONTENT_ORDER, CONTENT_ANSWER)
    for content_type in kinds:
        assert f"`{content_type.removeprefix(ARC)}`" in text
