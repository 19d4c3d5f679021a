"""Recipients' public keys that cannot be sealed for are told when they are loaded, not at the end of a visit."""

from __future__ import annotations

import pytest

from crypto.errors import KeyUnavailableError
from crypto.recipient import PUBLIC_BYTES, RecipientPublicKey, generate_recipient_key

# Points of small order: X25519 with them gives zero, which RFC 7748, section 6.1, has refused.
SMALL_ORDER = (
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
)


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_curve_point_of_small_order_is_a_broken_key(point):
    raw = generate_recipient_key().public.raw[: PUBLIC_BYTES - len(point)] + point
    with pytest.raises(KeyUnavailableError, match="broken"):
        RecipientPublicKey(raw)
