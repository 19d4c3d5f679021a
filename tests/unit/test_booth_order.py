"""Orders for booths: what a booth reads is what a desk signed, of a closed set of kinds; its answer and its bundle are its own."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from booth.service_switch import OUT_REASONS as SWITCH_REASONS
from crypto.booth_order import (
    ARGUMENTS,
    MAX_BUNDLE_BYTES,
    MAX_LIFE,
    MAX_SEALED_BUNDLE_BYTES,
    OUT_REASONS,
    OrderKind,
    Outcome,
    open_bundle,
    seal_bundle,
    sign_booth_answer,
    sign_booth_order,
    verify_booth_answer,
    verify_booth_order,
)
from crypto.canonical import canonical_json, read_canonical_json
from crypto.cms import sign_content, verify_content
from crypto.errors import BoothOrderError, PacketRefusedError, SealingError
from crypto.keys import Purpose, TrustStore, generate_recipient_key
from crypto.seal import open_packet
from crypto.trust import CONTENT_BOOTH_ORDER, CONTENT_DECISION
from tests.packets import NOW, make_authority, make_signer

ORDER = "0123456789ab4abc8123456789abcdef"


@pytest.fixture(scope="module")
def root():
    return make_authority()


@pytest.fixture(scope="module")
def trust(root):
    return TrustStore((root.certificate,))


@pytest.fixture(scope="module")
def desk(root):
    return make_signer(root, "desk-1", purposes=[Purpose.DESK.oid])


@pytest.fixture(scope="module")
def booth(root):
    return make_signer(root, "booth-1", purposes=[Purpose.BOOTH.oid])


def order(signer, **changes):
    told = {"order": ORDER, "booth": "booth-1", "number": 7, "kind": OrderKind.RUN_TESTS, "arguments": {}, "at": NOW}
    return sign_booth_order(**told | {"life": MAX_LIFE, "by": "u-3f9a11c2", "signer": signer} | changes)


@pytest.fixture(scope="module")
def good(desk):
    return order(desk)


# --- what can be asked at all ---


def test_what_a_booth_can_be_asked_is_this_and_nothing_else():
    assert {kind.value: set(arguments) for kind, arguments in ARGUMENTS.items()} == {
        "run_tests": set(),
        "support_bundle": set(),
        "change_profile": {"profile"},
        "out_of_service": {"reason"},
        "in_service": set(),
        "rotate_key": set(),
    }
    assert set(ARGUMENTS) == set(OrderKind)
    assert OUT_REASONS == SWITCH_REASONS


@pytest.mark.parametrize("kind", ["capture", "preview", "read_packet", "start_visit", "shell", "RUN_TESTS", ""])
def test_a_kind_that_is_none_is_refused_though_a_desk_signed_it(desk, trust, good, kind):
    content = read_canonical_json(
        verify_content(good, CONTENT_BOOTH_ORDER, 4096, trust, Purpose.DESK).content, 4096, ""
    )
    forged = sign_content(canonical_json(content | {"kind": kind}), CONTENT_BOOTH_ORDER, desk, Purpose.DESK, NOW)
    with pytest.raises(BoothOrderError, match="kind"):
        verify_booth_order(forged, trust)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (OrderKind.RUN_TESTS, {"checks": "all"}),
        (OrderKind.CHANGE_PROFILE, {}),
        (OrderKind.CHANGE_PROFILE, {"profile": "../icao"}),
        (OrderKind.CHANGE_PROFILE, {"profile": "/etc/passwd"}),
        (OrderKind.CHANGE_PROFILE, {"profile": "icao\n"}),
        (OrderKind.OUT_OF_SERVICE, {"reason": "maintenance|other"}),
        (OrderKind.OUT_OF_SERVICE, {"reason": "maintenance", "until": "never"}),
        (OrderKind.IN_SERVICE, {"reason": "maintenance"}),
    ],
)
def test_arguments_are_those_of_the_kind(desk, kind, arguments):
    with pytest.raises(BoothOrderError):
        order(desk, kind=kind, arguments=arguments)


# --- an order ---


def test_an_order_says_what_for_whom_until_when_and_by_whom(good, trust):
    read = verify_booth_order(good, trust)
    assert (read.id, read.booth, read.number, read.kind, read.by) == (
        *(ORDER, "booth-1", 7, OrderKind.RUN_TESTS),
        "u-3f9a11c2",
    )
    assert (read.made_at, read.expires_at, read.office) == (NOW, NOW + MAX_LIFE, "desk-1")


def test_every_kind_goes_there_and_back(desk, trust):
    values = {"profile": "icao-strict", "reason": "cleaning"}
    for kind, names in ARGUMENTS.items():
        arguments = {name: values[name] for name in names}
        read = verify_booth_order(order(desk, kind=kind, arguments=arguments), trust)
        assert (read.kind, dict(read.arguments)) == (kind, arguments)


@pytest.mark.parametrize("life", [timedelta(0), timedelta(seconds=-1), MAX_LIFE + timedelta(seconds=1)])
def test_an_order_ends_within_a_week(desk, life):
    with pytest.raises(BoothOrderError):
        order(desk, life=life)


def test_only_a_desk_gives_orders(booth, good, trust):
    with pytest.raises(SealingError):
        order(booth)
    stranger = make_authority()
    with pytest.raises(BoothOrderError):
        verify_booth_order(order(make_signer(stranger, "desk-1", purposes=[Purpose.DESK.oid])), trust)
    content = verify_content(good, CONTENT_BOOTH_ORDER, 4096, trust, Purpose.DESK).content
    as_booth = sign_content(content, CONTENT_BOOTH_ORDER, booth, Purpose.BOOTH, NOW)
    with pytest.raises(BoothOrderError):
        verify_booth_order(as_booth, trust)


def test_a_decision_is_no_order_and_an_order_of_another_time_or_office_is_none(desk, good, trust):
    content = verify_content(good, CONTENT_BOOTH_ORDER, 4096, trust, Purpose.DESK).content
    for kind, at, body in (
        (CONTENT_DECISION, NOW, content),
        (CONTENT_BOOTH_ORDER, NOW + timedelta(seconds=1), content),
        (CONTENT_BOOTH_ORDER, NOW, content.replace(b'"office":"desk-1"', b'"office":"desk-2"')),
        (CONTENT_BOOTH_ORDER, NOW, content.replace(b'{"', b'{ "', 1)),
    ):
        with pytest.raises(BoothOrderError):
            verify_booth_order(sign_content(body, kind, desk, Purpose.DESK, at), trust)


@given(st.data())
@settings(max_examples=60)
def test_an_order_that_was_changed_in_any_byte_is_refused(good, trust, data):
    at = data.draw(st.integers(0, len(good) - 1))
    changed = bytearray(good)
    changed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BoothOrderError):
        verify_booth_order(bytes(changed), trust)


# --- the answer ---


def test_an_answer_is_about_one_order_and_one_bundle(booth, desk, good, trust):
    told = {"order": ORDER, "order_document": good, "code": None, "counts": {"passed": 31}, "at": NOW}
    signed = sign_booth_answer(**told, outcome=Outcome.DONE, bundle=b"sealed", signer=booth)
    read = verify_booth_answer(signed, trust)
    assert (read.order, read.booth, read.outcome, dict(read.counts)) == (ORDER, "booth-1", Outcome.DONE, {"passed": 31})
    assert read.bundle_sha256 is not None
    with pytest.raises(BoothOrderError):
        sign_booth_answer(**told, outcome=Outcome.REFUSED, bundle=None, signer=booth)
    with pytest.raises(BoothOrderError):
        sign_booth_answer(**told | {"counts": {"Ω": 1}}, outcome=Outcome.DONE, bundle=None, signer=booth)
    with pytest.raises(BoothOrderError):
        sign_booth_answer(**told | {"counts": {"n": -1}}, outcome=Outcome.DONE, bundle=None, signer=booth)
    with pytest.raises(SealingError):
        sign_booth_answer(**told, outcome=Outcome.DONE, bundle=None, signer=desk)
    with pytest.raises(BoothOrderError):
        verify_booth_order(signed, trust)


# --- the bundle ---


def test_only_the_desk_opens_a_bundle_and_only_as_this_booths_for_this_order(booth, root, trust):
    key = generate_recipient_key()
    sealed = seal_bundle(ORDER, b"PK bundle", [key.public], booth, NOW)
    assert b"PK bundle" not in sealed
    assert open_bundle(sealed, ORDER, "booth-1", [key], trust) == b"PK bundle"
    with pytest.raises(BoothOrderError):
        open_bundle(sealed, ORDER, "booth-1", [generate_recipient_key()], trust)
    with pytest.raises(BoothOrderError):
        open_bundle(sealed, ORDER.replace("4abc", "4abd"), "booth-1", [key], trust)
    with pytest.raises(BoothOrderError):
        open_bundle(sealed, ORDER, "booth-2", [key], trust)
    with pytest.raises(PacketRefusedError):  # a bundle never passes for a packet
        open_packet(sealed, [key], trust)


def test_a_bundle_is_bounded_and_the_largest_has_room_sealed(booth):
    keys = [generate_recipient_key().public for _ in range(2)]
    assert len(seal_bundle(ORDER, bytes(MAX_BUNDLE_BYTES), keys, booth, NOW)) <= MAX_SEALED_BUNDLE_BYTES
    with pytest.raises(BoothOrderError):
        seal_bundle(ORDER, bytes(MAX_BUNDLE_BYTES + 1), keys, booth, NOW)
