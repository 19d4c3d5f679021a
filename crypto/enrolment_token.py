"""Enrolment tokens as people read and type them: 20 characters of Crockford's base 32, XXXXX-XXXXX-XXXXX-XXXXX. PURE.

Read at both ends: at the booth before a try at the intake is spent, at the authority before anything is looked up. The alphabet has no I, L, O, U.
Reading forgives what hands and eyes do: small letters, spaces, dashes, O for 0, I and L for 1. Nothing of a token ever stands in an error.
"""

from __future__ import annotations

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 20  # of 5 bits each
_MAX_TEXT = 64
_FORGIVEN = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None, "\t": None, "\r": None, "\n": None})


def read_token(text: str) -> str | None:
    """The token in its one form without dashes; None when the text is none."""
    if len(text) > _MAX_TEXT or not text.isascii():
        return None
    plain = text.upper().translate(_FORGIVEN)
    return plain if len(plain) == LENGTH and set(plain) <= set(ALPHABET) else None
