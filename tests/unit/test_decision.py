"""Decisions: what is read is what a trusted desk signed about one packet, and the chain shows what was changed or taken out."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.canonical import canonical_json
from crypto.cms import sign_content
from crypto.decision import (
    MAX_DECISION_BYTES,
    NO_LINK,
    Decision,
    sign_decision,
    sign_link,
    sign_proposal,
    verify_decision,
    verify_link,
    verify_proposal,
)
from crypto.errors import DecisionError, SealingError
from crypto.issuance import Revoked
from crypto.keys import Purpose, TrustStore
from crypto.trust import CONTENT_DECISION, CONTENT_DECISION_LINK, CONTENT_PROPOSAL, CONTENT_STAFF_LIST
from tests.packets import NOW, make_authority, make_signer
from tests.revocation_lists import list_of, trusting

CMS = b"what the booth signed"
PACKET = {"packet_sha256": "ab" * 32, "packet_id": "12345678123445678123456781234567"}


@pytest.fixture(scope="module")
def root():
    return make_authority()


@pytest.fixture(scope="module")
def trust(root):
    return TrustStore((root.certificate,))


@pytest.fixture(scope="module")
def signer(root):
    return make_signer(root, "office-north", purposes=[Purpose.DESK.oid])


@pytest.fixture(scope="module")
def good(signer):
    return accepted(signer)


def accepted(signer, **changes):
    told = PACKET | {"cms": CMS, "verdict": "accepted", "officer": "u-0a1b", "at": NOW, "signer": signer} | changes
    return sign_decision(**told)


def fields(**changes):
    told = {"version": 2, "verdict": "accepted", "reasons": [], "officer": "o1", "office": "office-north"}
    told |= PACKET | {"cms_sha256": "cd" * 32, "decided_at": "2026-11-22T12:00:00Z", "second_officer": None}
    return told | changes


def first_version(**changes):
    """As desks wrote it before refusals and second persons."""
    return {name: value for name, value in fields(version=1).items() if name != "second_officer"} | changes


REFUSED = {"verdict": "refused", "reasons": ["blurred", "light"]}


def signed(signer, document, kind=CONTENT_DECISION, purpose=Purpose.DESK):
    data = document if isinstance(document, bytes) else canonical_json(document)
    return sign_content(data, kind, signer, purpose, NOW)


def test_a_decision_says_what_was_signed(good, trust):
    decision = verify_decision(good, trust)
    assert decision == Decision(
        **PACKET,
        cms_sha256=hashlib.sha256(CMS).hexdigest(),
        verdict="accepted",
        reasons=(),
        decided_at=NOW,
        officer="u-0a1b",
        office="office-north",
    )
    assert len(good) <= MAX_DECISION_BYTES


def test_the_fields_of_the_test_are_good_unless_changed(signer, trust):
    assert verify_decision(signed(signer, fields()), trust).officer == "o1"


def test_a_refusal_gives_its_reasons_and_an_acceptance_may_name_a_second_person(signer, trust):
    refused = verify_decision(accepted(signer, **REFUSED), trust)
    assert (refused.version, refused.verdict, refused.reasons) == (2, "refused", ("blurred", "light"))
    both = verify_decision(accepted(signer, second_officer="u-2b3c"), trust)
    assert (both.officer, both.second_officer) == ("u-0a1b", "u-2b3c")


def test_what_desks_wrote_before_is_read_as_it_was_signed(signer, trust):
    old = verify_decision(signed(signer, first_version()), trust)
    assert (old.version, old.verdict, old.second_officer) == (1, "accepted", None)
    for changes in ({"second_officer": None}, {"second_officer": "o2"}, REFUSED):
        with pytest.raises(DecisionError):
            verify_decision(signed(signer, first_version(**changes)), trust)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 1},
        {"version": 3},
        {"version": True},
        {"verdict": "refused"},
        {"verdict": "refused", "reasons": []},
        {"verdict": "refused", "reasons": ["a", "b", "c", "d"]},
        {"verdict": "refused", "reasons": ["blurred", "blurred"]},
        {"verdict": "refused", "reasons": ["Blurred face of Anna"]},
        REFUSED | {"second_officer": "o2"},
        {"second_officer": "o1"},
        {"second_officer": "Anna Schmidt"},
        {"verdict": "accepted "},
        {"reasons": ["blurred"]},
        {"reasons": None},
        {"packet_sha256": "AB" * 32},
        {"packet_id": "1" * 32},
        {"cms_sha256": "cd" * 31},
        {"officer": "Anna Schmidt"},
        {"officer": ""},
        {"office": "office-south"},
        {"decided_at": "2026-11-22T12:00:01Z"},
        {"decided_at": "2026-11-22T12:00:00+00:00"},
        {"note": ""},
    ],
)
def test_what_breaks_the_schema_or_contradicts_the_signature_is_refused(signer, trust, changes):
    with pytest.raises(DecisionError) as caught:
        verify_decision(signed(signer, fields(**changes)), trust)
    assert "Anna" not in str(caught.value)


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"version": 1}', b"\xff", canonical_json(fields()) + b"\n"])
def test_what_is_not_one_canonical_document_is_refused(signer, trust, document):
    with pytest.raises(DecisionError):
        verify_decision(signed(signer, document), trust)


def test_only_a_desk_decides(root, signer, trust, good):
    booth = make_signer(root, "office-north")
    with pytest.raises(SealingError):
        accepted(booth)
    for data in (
        signed(booth, fields(), purpose=Purpose.BOOTH),
        signed(signer, fields(), kind=CONTENT_STAFF_LIST),
        signed(make_signer(make_authority(), "office-north", purposes=[Purpose.DESK.oid]), fields()),
        b"",
        good[:-1],
        good + b"\0",
        b"x" * (MAX_DECISION_BYTES + 1),
    ):
        with pytest.raises(DecisionError):
            verify_decision(data, trust)


def test_a_desk_whose_certificate_was_taken_back_decides_no_more(root, signer, good):
    revoked = trusting(root, list_of(root, Revoked(signer.certificate.serial_number, NOW - timedelta(days=1))))
    with pytest.raises(DecisionError):
        verify_decision(good, revoked)


@given(at=st.integers(min_value=0), bit=st.integers(0, 7))
@settings(max_examples=60)
def test_no_bit_can_be_changed(good, trust, at, bit):
    changed = bytearray(good)
    changed[at % len(good)] ^= 1 << bit
    with pytest.raises(DecisionError):
        verify_decision(bytes(changed), trust)


@pytest.mark.parametrize(
    "changes",
    [
        {"officer": "Anna"},
        {"packet_sha256": "x"},
        {"packet_id": ""},
        {"verdict": "refused"},
        {"reasons": ["light"]},
        {"second_officer": "u-0a1b"},
    ],
)
def test_what_no_decision_can_say_is_not_signed(signer, changes):
    with pytest.raises(DecisionError):
        accepted(signer, **changes)


# --- the chain ---------------------------------------------------------------------------------------------------------


def chained(signer, count: int) -> list[tuple[bytes, bytes]]:
    links: list[tuple[bytes, bytes]] = []
    for number in range(1, count + 1):
        decision = accepted(signer, packet_sha256=f"{number:064x}")
        before = links[-1][1] if links else None
        links.append((decision, sign_link(number=number, decision=decision, previous=before, at=NOW, signer=signer)))
    return links


def test_each_link_names_its_decision_and_the_link_before(signer, trust):
    (first, one), (second, two), (_, three) = chained(signer, 3)
    assert verify_link(one, trust, number=1, decision=first, previous=None).previous == NO_LINK
    assert verify_link(two, trust, number=2, decision=second, previous=one).previous == hashlib.sha256(one).hexdigest()
    for wrong in (
        {"number": 3, "decision": second, "previous": one},  # moved
        {"number": 2, "decision": first, "previous": one},  # exchanged
        {"number": 2, "decision": second, "previous": None},  # what stood before is gone
        {"number": 2, "decision": second, "previous": three},
    ):
        with pytest.raises(DecisionError):
            verify_link(two, trust, **wrong)


def test_a_decision_is_no_link_and_a_link_no_decision(signer, trust):
    ((decision, link),) = chained(signer, 1)
    with pytest.raises(DecisionError):
        verify_decision(link, trust)
    with pytest.raises(DecisionError):
        verify_link(decision, trust, number=1, decision=decision, previous=None)
    told = {"version": 1, "number": 0, "decision_sha256": "ab" * 32, "previous": NO_LINK}
    zeroth = told | {"linked_at": "2026-11-22T12:00:00Z", "office": "office-north"}
    with pytest.raises(DecisionError):
        verify_link(signed(signer, zeroth, CONTENT_DECISION_LINK), trust, number=0, decision=b"", previous=None)
    with pytest.raises(DecisionError):
        sign_link(number=0, decision=decision, previous=None, at=NOW, signer=signer)


# --- two persons -------------------------------------------------------------------------------------------------------


def proposed(signer, number: int = 1, previous: bytes | None = None, **changes) -> bytes:
    told = {"packet_sha256": "ab" * 32, "action": "proposed", "producer": "producer-a", "causes": ("override",)}
    told |= {"officer": "u-0a1b", "made_at": NOW}
    return sign_proposal(number=number, previous=previous, signer=signer, **(told | changes))


ENDED = {"producer": None, "causes": ()}


def test_a_proposal_stands_in_its_chain_and_its_end_after_it(signer, trust):
    first = proposed(signer)
    ends = ENDED | {"action": "rejected", "reason": "portrait", "officer": "u-2b3c"}
    second = proposed(signer, 2, first, **ends)
    read = verify_proposal(first, trust, number=1, previous=None)
    assert (read.action, read.producer, read.causes, read.officer) == (
        "proposed",
        "producer-a",
        ("override",),
        "u-0a1b",
    )
    assert verify_proposal(second, trust, number=2, previous=first).reason == "portrait"
    for data, number, previous in ((second, 2, None), (second, 2, second), (second, 3, first), (first, 2, None)):
        with pytest.raises(DecisionError):
            verify_proposal(data, trust, number=number, previous=previous)
    with pytest.raises(DecisionError):
        verify_decision(first, trust)
    with pytest.raises(DecisionError):
        verify_proposal(accepted(signer), trust, number=1, previous=None)


@pytest.mark.parametrize(
    "changes",
    [
        {"producer": None},
        {"causes": ()},
        {"causes": ("Anna has a scar",)},
        {"reason": "portrait"},
        {"action": "withdrawn"},
        {"action": "approved"},
        ENDED | {"action": "rejected"},
        ENDED | {"action": "withdrawn", "reason": "portrait"},
        {"officer": "Anna Schmidt"},
        {"number": 0},
    ],
)
def test_what_no_proposal_can_say_is_neither_signed_nor_read(signer, trust, changes):
    with pytest.raises(DecisionError):
        proposed(signer, **changes)
    told = {"version": 1, "number": 1, "previous": NO_LINK, "packet_sha256": "ab" * 32, "action": "proposed"}
    told |= {"producer": "producer-a", "causes": ["override"], "reason": None, "made_at": "2026-11-22T12:00:00Z"}
    told |= {"officer": "o1", "office": "office-north"}
    good = signed(signer, told, CONTENT_PROPOSAL)
    assert verify_proposal(good, trust, number=1, previous=None).officer == "o1"
    changed = told | {name: list(value) if isinstance(value, tuple) else value for name, value in changes.items()}
    with pytest.raises(DecisionError) as caught:
        verify_proposal(signed(signer, changed, CONTENT_PROPOSAL), trust, number=changed["number"], previous=None)
    assert "Anna" not in str(caught.value)
