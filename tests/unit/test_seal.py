"""Sealed packets: what was sealed opens for the one recipient, everything else is refused with one opaque reason."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.certificate import MAX_CERTIFICATE_BYTES
from crypto.cms import MAX_FRAME_BYTES, sign_content
from crypto.errors import (
    OPAQUE_REASON,
    CertificateRefusedError,
    CryptoError,
    PacketFormatError,
    PacketRefusedError,
    SealingError,
    Stage,
)
from crypto.http_signature import CERTIFICATE_HEADER
from crypto.keys import Purpose, TrustStore, generate_recipient_key
from crypto.package import (
    MAX_MANIFEST_BYTES,
    MAX_NAME_BYTES,
    MAX_PACKAGE_BYTES,
    MAX_PARTS,
    MAX_RECIPIENTS,
    Manifest,
    build_package,
)
from crypto.packet_header import SharedHeader, SingleHeader, Wrap
from crypto.receipt import LogEntry, Receipt
from crypto.recipient import ENCAPSULATION_BYTES, OVERHEAD_BYTES, PUBLIC_BYTES, SHARED_SUITE, SUITE, WRAP_BYTES
from crypto.seal import (
    HEADER_AT,
    MAGIC,
    MAX_HEADER_BYTES,
    MAX_PACKET_BYTES,
    MAX_SIGNING_DELAY,
    MEDIA_TYPE,
    HeaderFields,
    open_packet,
    read_header,
    seal,
    sign,
    sign_and_seal,
    verify,
)
from crypto.tree_head import TreeHead
from crypto.trust import ARC, CONTENT_PACKAGE, MAX_CERTIFICATES
from tests.packets import (
    BOOTH,
    NOW,
    PARTS,
    World,
    fields_for,
    flipped,
    make_authority,
    make_cached_world,
    make_signer,
    make_world,
)

PEM = serialization.Encoding.PEM


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def small(world) -> bytes:
    """A packet that is small enough to break at every byte."""
    package = build_package(fields_for(world.desk.key_id), {"a": b""})
    return sign_and_seal(package, world.booth, [world.desk.public], NOW)


def header_end(packet: bytes) -> int:
    return HEADER_AT + struct.unpack_from(">I", packet, len(MAGIC))[0]


def header_of(world: World, **changes) -> HeaderFields:
    manifest = world.package.manifest
    fields = {"packet_id": manifest.packet_id, "booth": manifest.booth, "created_at": manifest.created_at}
    return HeaderFields(**(fields | changes))


def cause(packet: bytes, world: World, **changes) -> str:
    """Why a packet is refused inside; outward the reason is always the same."""
    given_world = replace(world, **changes)
    with pytest.raises(PacketRefusedError) as caught:
        open_packet(packet, [given_world.desk], given_world.trust)
    assert str(caught.value) == OPAQUE_REASON
    assert isinstance(caught.value.__cause__, CryptoError)
    return str(caught.value.__cause__)


# --- the good way


def test_what_was_sealed_opens_for_the_recipient(world):
    opened = open_packet(world.packet, [generate_recipient_key(), world.desk], world.trust)
    assert opened.package_bytes == world.package.data
    assert dict(opened.parts) == PARTS
    assert opened.signer == world.booth.certificate
    assert opened.signing_time == NOW
    assert opened.header.booth == opened.manifest.booth == BOOTH
    assert opened.header.recipient_key_ids == opened.manifest.recipients == (world.desk.key_id,)
    assert verify(opened.cms, world.trust).content == world.package.data


def test_the_header_is_public_and_small(world):
    header = read_header(world.packet)
    assert (header.version, header.suite, header.booth) == (1, SUITE, BOOTH)
    assert read_header(world.packet[: header_end(world.packet)]) == header
    assert json.loads(world.packet[HEADER_AT : header_end(world.packet)])["created_at"] == "2026-11-22T12:00:00Z"


def test_sealing_twice_gives_different_bytes_with_the_same_content(world):
    again = sign_and_seal(world.package, world.booth, [world.desk.public], NOW)
    assert again != world.packet
    assert len(again) - len(world.packet) in range(-4, 5)  # the DER of two ECDSA signatures
    assert open_packet(again, [world.desk], world.trust).package_bytes == world.package.data


def test_nothing_of_the_content_is_readable_in_the_packet(world):
    for part in PARTS.values():
        assert part[:16] not in world.packet or len(part) < 16
    assert b"manifest.json" not in world.packet
    assert b"CERTIFICATE" not in world.packet


@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,8}\.bin", fullmatch=True), st.binary(max_size=2000), min_size=1, max_size=4)
)
@settings(max_examples=25, deadline=None)
def test_any_parts_survive_the_way_through_the_seal(parts):
    world = make_cached_world()
    package = build_package(fields_for(world.desk.key_id), parts)
    packet = sign_and_seal(package, world.booth, [world.desk.public], NOW)
    assert dict(open_packet(packet, [world.desk], world.trust).parts) == parts


def test_a_booth_below_an_intermediate_authority_is_believed(world):
    middle = make_authority("middle", world.authority, path_length=0)
    booth = make_signer(middle, chain=(middle.certificate,))
    packet = sign_and_seal(world.package, booth, [world.desk.public], NOW)
    assert open_packet(packet, [world.desk], world.trust).signer == booth.certificate


# --- every changed byte


def test_flipping_any_byte_of_a_packet_makes_opening_fail(world, small):
    assert open_packet(small, [world.desk], world.trust)
    for at in range(len(small)):
        with pytest.raises(PacketRefusedError):
            open_packet(flipped(small, at), [world.desk], world.trust)


def test_every_bit_of_the_header_counts(world, small):
    for at in range(header_end(small)):
        for bit in range(8):
            with pytest.raises(PacketRefusedError):
                open_packet(flipped(small, at, 1 << bit), [world.desk], world.trust)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_change_anywhere_in_a_large_packet_makes_opening_fail(data):
    world = make_cached_world()
    at = data.draw(st.integers(0, len(world.packet) - 1))
    mask = data.draw(st.integers(1, 255))
    with pytest.raises(PacketRefusedError) as caught:
        open_packet(flipped(world.packet, at, mask), [world.desk], world.trust)
    assert str(caught.value) == OPAQUE_REASON


def test_every_truncation_of_the_header_region_is_refused(world):
    for end in range(header_end(world.packet) + OVERHEAD_BYTES + 1):
        assert cause(world.packet[:end], world)
    assert cause(world.packet[:-1], world)


def test_every_extension_is_refused(world):
    end = header_end(world.packet)
    assert "does not decrypt" in cause(world.packet + b"\x00", world)
    assert cause(b"\x00" + world.packet, world)
    for at in range(end + 1):
        assert cause(world.packet[:at] + b" " + world.packet[at:], world)


def test_a_header_that_says_it_is_huge_is_refused_before_anything_is_read(world):
    for length in (MAX_HEADER_BYTES + 1, 2**31, 2**32 - 1):
        with pytest.raises(PacketFormatError, match="too long"):
            read_header(MAGIC + struct.pack(">I", length) + bytes(5_000))
    assert "limit" in cause(bytes(MAX_PACKET_BYTES + 1), world)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_hostile_headers_give_our_own_error(data):
    for packet in (data, MAGIC + data, MAGIC + struct.pack(">I", len(data)) + data):
        with pytest.raises(PacketFormatError):
            read_header(packet)


def with_header(packet: bytes, **changes) -> bytes:
    end = header_end(packet)
    value = json.loads(packet[HEADER_AT:end]) | changes
    text = json.dumps({k: v for k, v in value.items() if v is not None}, sort_keys=True, separators=(",", ":")).encode()
    return MAGIC + struct.pack(">I", len(text)) + text + packet[end:]


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": None},
        {"version": True},
        {"extra": 1},
        {"booth": "a b"},
        {"packet_id": "0" * 32},
        {"recipient_key_id": "x"},
        {"created_at": "yesterday"},
        {"suite": "x" * 65},
    ],
)
def test_headers_that_break_the_schema_are_refused(world, changes):
    with pytest.raises(PacketFormatError):
        read_header(with_header(world.packet, **changes))


# --- the wrong people


def test_another_recipient_cannot_open_it(world):
    assert "not here" in cause(world.packet, world, desk=generate_recipient_key())
    stranger = generate_recipient_key()
    assert "does not decrypt" in cause(
        with_header(world.packet, recipient_key_id=stranger.key_id), world, desk=stranger
    )


def test_headers_cannot_be_swapped_between_two_packets(world):
    other = sign_and_seal(build_package(fields_for(world.desk.key_id), PARTS), world.booth, [world.desk.public], NOW)
    swapped = other[: header_end(other)] + world.packet[header_end(world.packet) :]
    assert "does not decrypt" in cause(swapped, world)


def test_the_suite_cannot_be_talked_down(world):
    assert "suite" in cause(with_header(world.packet, suite="hpke-x25519"), world)


def test_a_packet_signed_by_an_intake_is_refused(world):
    cms = sign_content(world.package.data, CONTENT_PACKAGE, world.intake, Purpose.INTAKE, NOW)
    assert "purpose" in cause(seal(cms, header_of(world), [world.desk.public]), world)


def test_a_packet_signed_by_a_stranger_is_refused(world):
    stranger = make_signer(make_authority("root"))
    cms = sign(world.package.data, stranger, NOW)
    assert "not issued by" in cause(seal(cms, header_of(world), [world.desk.public]), world)
    assert cause(world.packet, world, trust=TrustStore(()))


def test_a_certificate_that_was_expired_at_signing_time_is_refused(world):
    booth = make_signer(world.authority, end=NOW + timedelta(days=1))
    packet = seal(sign(world.package.data, booth, NOW), header_of(world), [world.desk.public])
    assert open_packet(packet, [world.desk], world.trust)
    with pytest.raises(SealingError, match="cannot sign now"):
        sign(world.package.data, booth, NOW + timedelta(days=2))

    expired = make_signer(world.authority, start=NOW - timedelta(days=9), end=NOW - timedelta(days=1))
    late = sign_ignoring_the_clock(world.package.data, expired)
    assert "is valid from" in cause(seal(late, header_of(world), [world.desk.public]), world)


def sign_ignoring_the_clock(package: bytes, signer) -> bytes:
    """What a booth with a patched program would make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crypto.cms.check_validity", lambda *_: None)
        return sign(package, signer, NOW)


def test_validity_can_be_asked_for_at_another_time(world):
    cms = open_packet(world.packet, [world.desk], world.trust).cms
    assert verify(cms, world.trust, at=NOW + timedelta(days=200)).signing_time == NOW
    with pytest.raises(CertificateRefusedError, match="is valid from"):
        verify(cms, world.trust, at=NOW + timedelta(days=2000))
    with pytest.raises(CertificateRefusedError, match="purpose"):
        verify(cms, world.trust, purpose="intake")


# --- the parts must belong together


def test_the_recipient_cannot_forward_a_packet_as_if_it_were_for_somebody_else(world):
    cms = open_packet(world.packet, [world.desk], world.trust).cms
    other = generate_recipient_key()
    forwarded = seal(cms, header_of(world), [other.public])
    assert "recipient" in cause(forwarded, world, desk=other)


def test_header_manifest_and_certificate_must_name_the_same(world):
    cms = sign(world.package.data, world.booth, NOW)
    for change, word in (
        ({"packet_id": fields_for(world.desk.key_id).packet_id}, "packet id"),
        ({"booth": "booth-0002"}, "booth in the header"),
        ({"created_at": NOW + timedelta(seconds=1)}, "time"),
    ):
        assert word in cause(seal(cms, header_of(world, **change), [world.desk.public]), world)
    other = make_signer(world.authority, "booth-0002")
    packet = seal(sign(world.package.data, other, NOW), header_of(world), [world.desk.public])
    assert "booth in the certificate" in cause(packet, world)


def test_a_signature_around_something_that_is_no_package_is_refused(world):
    packet = seal(sign(b"not a package", world.booth, NOW), header_of(world), [world.desk.public])
    assert "manifest" in cause(packet, world) or "directory" in cause(packet, world)


def test_what_does_not_belong_together_is_not_sealed(world):
    with pytest.raises(SealingError, match="booth"):
        sign_and_seal(world.package, make_signer(world.authority, "booth-0002"), [world.desk.public], NOW)
    with pytest.raises(SealingError, match="recipient"):
        sign_and_seal(world.package, world.booth, [generate_recipient_key().public], NOW)
    with pytest.raises(SealingError, match="purpose"):
        sign(world.package.data, world.intake, NOW)
    with pytest.raises(SealingError, match="cannot be signed"):
        sign_and_seal(world.package, world.booth, [world.desk.public], NOW + timedelta(minutes=5, seconds=1))


def test_the_document_tells_the_numbers_of_the_code():
    text = (Path(__file__).resolve().parents[2] / "docs" / "packet.md").read_text(encoding="utf-8")
    for number in (MAX_PACKAGE_BYTES, MAX_PACKET_BYTES, MAX_HEADER_BYTES, MAX_MANIFEST_BYTES, MAX_FRAME_BYTES):
        assert f"{number:,}".replace(",", " ") in text
    for word in (
        *(MAGIC.hex(" ").upper(), f"`{SUITE}`", f"`{SHARED_SUITE}`", f"`{ARC}`", CERTIFICATE_HEADER, MEDIA_TYPE),
        *(str(ENCAPSULATION_BYTES), str(WRAP_BYTES), str(PUBLIC_BYTES), str(MAX_CERTIFICATE_BYTES)),
        f"| recipients | {MAX_RECIPIENTS} |",
        f"| parts | {MAX_PARTS}, names of {MAX_NAME_BYTES} bytes |",
        f"| certificates in a signature | {MAX_CERTIFICATES} of",
        f"{MAX_SIGNING_DELAY // timedelta(seconds=1)} s apart",
        *(f"(`{stage}`)" for stage in get_args(Stage)),
    ):
        assert word in text, word


def test_the_document_tells_every_key_of_header_and_receipt():
    text = (Path(__file__).resolve().parents[2] / "docs" / "packet.md").read_text(encoding="utf-8")
    for model in (Manifest, SingleHeader, SharedHeader, Wrap, Receipt, LogEntry, TreeHead):
        for name in model.model_fields:
            assert f"`{name}`" in text or f'"{name}"' in text, (model, name)
