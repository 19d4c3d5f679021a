"""Enrolment tokens as people read and type them: 100 random bits as XXXXX-XXXXX-XXXXX-XXXXX in Crockford's base 32. PURE.

Its alphabet has no I, L, O, U. Reading forgives what hands and eyes do: small letters, spaces, dashes, O for 0, I and L for 1. Nothing of a token
ever stands in an error.
"""

from __future__ import annotations

import hashlib
import secrets

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 20  # of 5 bits each
GROUP = 5
_MAX_TEXT = 64
_FORGIVEN = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None, "\t": None, "\r": None, "\n": None})


def make_token() -> str:
    """A new token, in groups."""
    text = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return "-".join(text[start : start + GROUP] for start in range(0, LENGTH, GROUP))


def read_token(text: str) -> str | None:
    """The token in its one form without dashes; None when the text is none."""
    if len(text) > _MAX_TEXT or not text.isascii():
        return None
    plain = text.upper().translate(_FORGIVEN)
    return plain if len(plain) == LENGTH and set(plain) <= set(ALPHABET) else None


def token_digest(token: str) -> str:
    """What is stored of a token that `read_token` returned. One SHA-256 is enough for 100 random bits."""
    return hashlib.sha256(token.encode("ascii")).hexdigest()
