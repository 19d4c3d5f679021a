"""What stands around signed content is bounded before anything of it is worked on or remembered: strangers write it."""

from __future__ import annotations

import pytest

from crypto import cms
from crypto.der import INTEGER, OCTETS, SEQUENCE, SET, TAG_0, element, integer, oid
from crypto.errors import SignatureRefusedError
from crypto.seal import verify
from crypto.trust import CONTENT_PACKAGE
from tests.packets import NOW, World, make_world

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def signed_data(certificate: bytes, identity: bytes, attributes: bytes) -> bytes:
    """SignedData that nobody signed, with anything as certificate and attributes."""
    content = element(SEQUENCE, oid(CONTENT_PACKAGE) + element(TAG_0, element(OCTETS, b"content")))
    info = element(
        SEQUENCE,
        integer(1) + identity + cms._SHA384 + element(TAG_0, attributes) + cms._ECDSA_SHA384 + element(OCTETS, b"none"),
    )
    inner = integer(3) + element(SET, cms._SHA384) + content + element(TAG_0, certificate) + element(SET, info)
    return element(SEQUENCE, oid("1.2.840.113549.1.7.2") + element(TAG_0, element(SEQUENCE, inner)))


def test_a_certificate_of_megabytes_is_refused_and_not_remembered(world):
    serial, issuer = element(INTEGER, b"\x01"), element(SEQUENCE, bytes(MEGABYTE))
    certificate = element(SEQUENCE, element(SEQUENCE, element(TAG_0, integer(2)) + serial + element(SEQUENCE) + issuer))
    time = cms._attribute(cms._SIGNING_TIME, cms._time(NOW))
    before = cms._identity.cache_info().misses
    with pytest.raises(SignatureRefusedError, match="around the content"):
        verify(signed_data(certificate, element(SEQUENCE, issuer + serial), time), world.trust)
    assert cms._identity.cache_info().misses == before


def test_a_million_attributes_are_refused_unread(world, monkeypatch):
    def read(*_: object) -> None:
        pytest.fail("the attributes were read")

    monkeypatch.setattr(cms, "_read_attributes", read)
    leaf = cms._der(world.booth.certificate)
    identity = element(SEQUENCE, b"".join(cms._identity(leaf)))
    with pytest.raises(SignatureRefusedError, match="around the content"):
        verify(signed_data(leaf, identity, bytes((SEQUENCE, 0)) * MEGABYTE), world.trust)
