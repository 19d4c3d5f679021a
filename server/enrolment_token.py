"""Enrolment tokens as the authority makes and remembers them: 100 random bits in the form of crypto/enrolment_token.py. PURE."""

from __future__ import annotations

import hashlib
import secrets

from crypto.enrolment_token import ALPHABET, LENGTH

GROUP = 5


def make_token() -> str:
    """A new token, in groups."""
    text = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return "-".join(text[start : start + GROUP] for start in range(0, LENGTH, GROUP))


def token_digest(token: str) -> str:
    """What is stored of a token that `read_token` returned. One SHA-256 is enough for 100 random bits."""
    return hashlib.sha256(token.encode("ascii")).hexdigest()
