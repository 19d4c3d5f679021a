"""Packets for several recipients: each opens alone, every byte counts for all of them, and a dishonest sender is told apart."""

from __future__ import annotations

import base64
import json
import struct
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import OPAQUE_REASON, CryptoError, PacketFormatError, PacketRefusedError, SealingError
from crypto.keys import RecipientKey, generate_recipient_key
from crypto.package import MAX_RECIPIENTS, ManifestFields, build_package
from crypto.packet_header import HEADER_AT, MAGIC, MAX_HEADER_BYTES, SharedHeader, framed, shared_prefix, write_wrap
from crypto.recipient import SHARED_SUITE, TAG_BYTES, WRAP_BYTES, ContentKey, generate_content_key
from crypto.seal import HeaderFields, open_packet, read_header, seal, sign, sign_and_seal
from tests.packets import NOW, PARTS, World, fields_for, flipped, make_cached_world, make_world

KEYS = sorted((RecipientKey(bytes([n]) * 32) for n in range(MAX_RECIPIENTS + 1)), key=lambda one: one.key_id)
TWO, THREE, EIGHT = KEYS[:2], KEYS[:3], KEYS[:MAX_RECIPIENTS]


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def packet_for(world: World, keys: list[RecipientKey], parts: dict[str, bytes] | None = None) -> bytes:
    package = build_package(fields_for(*(one.key_id for one in keys)), parts or {"a": b""})
    return sign_and_seal(package, world.booth, [one.public for one in keys], NOW)


@pytest.fixture(scope="module")
def packet(world) -> bytes:
    return packet_for(world, TWO)


def body_at(packet: bytes) -> int:
    return HEADER_AT + struct.unpack_from(">I", packet, len(MAGIC))[0]


def with_header(packet: bytes, **changes) -> bytes:
    end = body_at(packet)
    value = json.loads(packet[HEADER_AT:end]) | changes
    return framed(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()) + packet[end:]


def recipients_of(packet: bytes) -> list[dict[str, str]]:
    return json.loads(packet[HEADER_AT : body_at(packet)])["recipients"]


def cause(packet: bytes, world: World, *keys: RecipientKey) -> str:
    with pytest.raises(PacketRefusedError) as caught:
        open_packet(packet, keys or TWO, world.trust)
    assert isinstance(caught.value.__cause__, CryptoError)
    return str(caught.value.__cause__)


# --- the good way


@pytest.mark.parametrize("count", range(2, MAX_RECIPIENTS + 1))
def test_every_recipient_opens_it_alone(world, count):
    keys = KEYS[:count]
    packet = packet_for(world, keys, PARTS)
    for key in keys:
        opened = open_packet(packet, [generate_recipient_key(), key], world.trust)
        assert dict(opened.parts) == PARTS
        assert opened.header.recipient_key_ids == opened.manifest.recipients == tuple(one.key_id for one in keys)
    assert "not here" in cause(packet, world, KEYS[-1])


def test_the_order_in_which_recipients_are_given_does_not_matter(world):
    package = build_package(fields_for(*(one.key_id for one in THREE)), PARTS)
    packet = sign_and_seal(package, world.booth, [one.public for one in reversed(THREE)], NOW)
    assert [one["key_id"] for one in recipients_of(packet)] == [one.key_id for one in THREE]


def test_the_header_of_eight_recipients_fits_and_says_its_version(world):
    packet = packet_for(world, EIGHT)
    header = read_header(packet[: HEADER_AT + MAX_HEADER_BYTES])
    assert (header.version, header.suite) == (2, SHARED_SUITE)
    assert 12_000 < body_at(packet) - HEADER_AT < MAX_HEADER_BYTES
    assert read_header(packet_for(world, KEYS[:1])).version == 1


def test_a_key_that_is_replaced_opens_beside_the_next_one(world):
    """Overlap: first the old key, then both, then the new one alone; a desk that has both opens all three."""
    old, new = TWO
    for keys in ([old], [old, new], [new]):
        assert open_packet(packet_for(world, keys), [new, old], world.trust)
    assert "not here" in cause(packet_for(world, [old]), world, new)


def test_content_keys_are_fresh_and_commitments_say_nothing_of_them(world):
    one, other = (read_header(packet_for(world, TWO)) for _ in range(2))
    assert isinstance(one, SharedHeader)
    assert isinstance(other, SharedHeader)
    assert one.commitment != other.commitment
    assert len({wrap.wrap for header in (one, other) for wrap in header.recipients}) == 4


# --- every changed byte


def test_flipping_any_byte_makes_opening_fail_for_every_recipient(world, packet):
    for at in range(len(packet)):
        for key in TWO:
            with pytest.raises(PacketRefusedError) as caught:
                open_packet(flipped(packet, at), [key], world.trust)
            assert caught.value.args == (OPAQUE_REASON,)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_change_anywhere_fails_for_any_of_eight(data):
    world = make_cached_world()
    packet = eight_once(world)
    at = data.draw(st.integers(0, len(packet) - 1))
    changed = flipped(packet, at, data.draw(st.integers(1, 255)))
    with pytest.raises(PacketRefusedError):
        open_packet(changed, [data.draw(st.sampled_from(EIGHT))], world.trust)


def eight_once(world: World, made: list[bytes] = []) -> bytes:  # noqa: B006 - one packet for all examples of hypothesis
    if not made:
        made.append(packet_for(world, EIGHT, PARTS))
    return made[0]


def test_a_changed_wrap_of_another_recipient_is_noticed_too(world, packet):
    """Its own wrap still opens, the body does not: the whole header is associated data."""
    first, second = recipients_of(packet)
    other = first["wrap"][:-8] + ("A" if first["wrap"][-8] != "A" else "B") + first["wrap"][-7:]
    changed = with_header(packet, recipients=[first | {"wrap": other}, second])
    assert read_header(changed)
    assert "packet does not decrypt" in cause(changed, world, TWO[1])
    assert "content key does not decrypt" in cause(changed, world, TWO[0])


def test_every_truncation_and_extension_is_refused(world, packet):
    end = body_at(packet)
    for cut in [*range(0, end, 97), *range(end, end + TAG_BYTES + 2), len(packet) - 1]:
        assert cause(packet[:cut], world)
    assert cause(packet + b"\x00", world)


# --- headers that are not the one form


def shuffled(packet: bytes, change: str) -> dict[str, object]:
    first, second = recipients_of(packet)
    return {
        "recipients": {
            "unsorted": [second, first],
            "twice the same": [first, first],
            "one alone": [first],
            "none": [],
            "nine": [first | {"key_id": f"{n:032x}"} for n in range(MAX_RECIPIENTS + 1)],
            "no list": first,
            "an extra key": [first | {"extra": 1}, second],
            "a wrap too short": [first | {"wrap": first["wrap"][:-1]}, second],
            "a wrap with padding": [first | {"wrap": first["wrap"] + "=="}, second],
            "a wrap in the other alphabet": [first | {"wrap": "+" + first["wrap"][1:]}, second],
            "a wrap with loose bits": [first | {"wrap": first["wrap"][:-1] + "B"}, second],
            "a line end": [first | {"wrap": first["wrap"] + "\n"}, second],
        }[change]
    }


@pytest.mark.parametrize(
    "change",
    [
        *("unsorted", "twice the same", "one alone", "none", "nine", "no list", "an extra key", "a wrap too short"),
        *("a wrap with padding", "a wrap in the other alphabet", "a wrap with loose bits", "a line end"),
    ],
)
def test_recipients_in_another_form_are_refused(packet, change):
    with pytest.raises(PacketFormatError):
        read_header(with_header(packet, **shuffled(packet, change)))


@pytest.mark.parametrize(
    "changes",
    [{"version": 1}, {"version": 3}, {"version": "2"}, {"commitment": "0"}, {"recipient_key_id": KEYS[0].key_id}],
)
def test_headers_of_mixed_versions_are_refused(packet, changes):
    with pytest.raises(PacketFormatError):
        read_header(with_header(packet, **changes))


@pytest.mark.parametrize("suite", ["hpke-mlkem768-x25519-hkdf-sha256-aes-256-gcm", "none", ""])
def test_the_suite_cannot_be_talked_down(world, packet, suite):
    assert "suite" in cause(with_header(packet, suite=suite), world)


# --- the wrong people


def test_wraps_cannot_be_taken_over_from_another_packet(world, packet):
    other = packet_for(world, TWO)
    assert "content key does not decrypt" in cause(with_header(packet, recipients=recipients_of(other)), world)
    commitment = json.loads(other[HEADER_AT : body_at(other)])["commitment"]
    changed = with_header(packet, recipients=recipients_of(other), commitment=commitment)
    assert "content key does not decrypt" in cause(changed, world)  # they are bound to the other packet id too


def test_wraps_cannot_be_exchanged_between_recipients(world, packet):
    first, second = recipients_of(packet)
    changed = [first | {"wrap": second["wrap"]}, second | {"wrap": first["wrap"]}]
    assert "content key does not decrypt" in cause(with_header(packet, recipients=changed), world)


def test_a_recipient_cannot_forward_a_packet_to_more_or_to_fewer(world, packet):
    opened = open_packet(packet, TWO, world.trust)
    manifest = opened.manifest
    fields = HeaderFields(packet_id=manifest.packet_id, booth=manifest.booth, created_at=manifest.created_at)
    for keys in (KEYS[:1], THREE, [KEYS[0], KEYS[2]]):
        forwarded = seal(opened.cms, fields, [one.public for one in keys])
        assert "recipients in the header" in cause(forwarded, world, KEYS[0])


def dishonest(world: World, keys: tuple[ContentKey, ContentKey], commitment: str) -> bytes:
    """A packet whose booth wraps one content key for the first recipient and another one for the second."""
    package = build_package(fields_for(*(one.key_id for one in TWO)), PARTS)
    cms = sign(package.data, world.booth, NOW)
    manifest = package.manifest
    fields = {"packet_id": manifest.packet_id, "booth": manifest.booth, "created_at": manifest.created_at}
    info = shared_prefix(HeaderFields(**fields), SHARED_SUITE, commitment, manifest.recipients)
    recipients = [
        {"key_id": one.key_id, "wrap": write_wrap(one.public.encrypt(key.raw, info))}
        for one, key in zip(TWO, keys, strict=True)
    ]
    header = SharedHeader(**fields, suite=SHARED_SUITE, commitment=commitment, recipients=recipients)
    before = framed(header.to_bytes())
    return before + keys[0].encrypt(cms, before)


def test_two_content_keys_for_two_recipients_are_told_by_the_commitment(world):
    """AES-GCM does not bind a ciphertext to one key, so that a booth could show two offices two different packages."""
    one, other = generate_content_key(), generate_content_key()
    assert open_packet(dishonest(world, (one, one), one.commitment), [TWO[1]], world.trust)
    packet = dishonest(world, (one, other), one.commitment)
    assert open_packet(packet, [TWO[0]], world.trust)
    assert "commits" in cause(packet, world, TWO[1])


def test_a_header_of_another_time_or_a_late_signature_is_refused(world):
    keys = [one.public for one in TWO]
    package = build_package(fields_for(*(one.key_id for one in TWO)), PARTS)
    manifest = package.manifest
    fields = HeaderFields(packet_id=manifest.packet_id, booth=manifest.booth, created_at=manifest.created_at)
    for delay, accepted in ((300, True), (-300, True), (301, False), (-301, False)):
        sealed = seal(sign(package.data, world.booth, NOW + timedelta(seconds=delay)), fields, keys)
        if accepted:
            assert open_packet(sealed, TWO, world.trust)
        else:
            assert "it was signed at" in cause(sealed, world)


# --- making one


def test_sealing_for_nobody_for_one_twice_or_for_nine_is_refused(world):
    package = build_package(fields_for(TWO[0].key_id), PARTS)
    manifest = package.manifest
    fields = HeaderFields(packet_id=manifest.packet_id, booth=manifest.booth, created_at=manifest.created_at)
    for keys in ([], [TWO[0], TWO[0]], KEYS):
        with pytest.raises(SealingError, match="different recipients"):
            seal(b"cms", fields, [one.public for one in keys])
    for keys in ([], TWO, [TWO[1]]):
        with pytest.raises(SealingError, match="recipients"):
            sign_and_seal(package, world.booth, [one.public for one in keys], NOW)


def test_a_manifest_names_its_recipients_sorted_and_once():
    ids = tuple(one.key_id for one in KEYS)
    assert fields_for(*ids[:MAX_RECIPIENTS]).recipients == ids[:MAX_RECIPIENTS]
    for wrong in ((), ids, (ids[0], ids[0]), (ids[1], ids[0])):
        with pytest.raises(ValueError, match="recipients"):
            ManifestFields(**fields_for(ids[0]).model_dump() | {"recipients": wrong})


def test_a_wrap_is_the_content_key_under_hpke_and_nothing_else(world, packet):
    """The layout of docs/packet.md, taken apart by hand."""
    end = body_at(packet)
    header = json.loads(packet[HEADER_AT:end])
    without = header | {"recipients": [{"key_id": one["key_id"]} for one in header["recipients"]]}
    text = json.dumps(without, sort_keys=True, separators=(",", ":")).encode()
    info = MAGIC + struct.pack(">I", len(text)) + text
    for key, one in zip(TWO, header["recipients"], strict=True):
        wrap = base64.urlsafe_b64decode(one["wrap"] + "==")
        assert len(wrap) == WRAP_BYTES == 1168
        raw = key.decrypt(wrap, info)
        assert raw is not None
        assert ContentKey(raw).commitment == header["commitment"]
        assert ContentKey(raw).decrypt(packet[end:], packet[:end]) == open_packet(packet, TWO, world.trust).cms
