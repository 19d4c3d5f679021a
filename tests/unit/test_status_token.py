"""Status tokens: random, one form, forgiving to read, never more than a digest elsewhere."""

from __future__ import annotations

import base64
import hashlib

import pytest

from crypto.status_token import LENGTH, make_status_token, read_status_token, status_digest


def test_tokens_have_128_bits_in_one_form():
    tokens = {make_status_token() for _ in range(200)}
    assert len(tokens) == 200
    for token in tokens:
        assert len(token) == LENGTH
        assert token == token.lower()
        assert len(base64.b32decode(token.upper() + "======")) == 16
        assert read_status_token(token) == token
        assert read_status_token(f"  {token[:10].upper()}-{token[10:]}\n") == token
        assert status_digest(token) == hashlib.sha256(token.encode()).digest()


@pytest.mark.parametrize(
    "text", ["", "a" * 25, "a" * 27, "a" * 65, "a" * 25 + "b", "a" * 25 + "1", "a" * 25 + "é", "a b", "0" * 26]
)
def test_what_is_no_token_is_none(text):
    """Also one whose last letter holds bits that no token has: two texts would be one token."""
    assert read_status_token(text) is None
