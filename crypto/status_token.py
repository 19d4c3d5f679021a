"""Status tokens: what an applicant takes home to ask for the state of his visit, and the digest that the intake knows instead. PURE.

A token is 128 random bits as 26 small letters and digits of base 32 (RFC 4648, without padding). The booth makes it when a visit is sealed and
shows it once; it keeps and sends only the SHA-256. It says nothing about anybody: who has it learns received, accepted or retake.
"""

from __future__ import annotations

import base64
import hashlib
import secrets

TOKEN_BYTES = 16
LENGTH = 26
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_LAST = "aeimquy4"  # 26 letters hold 130 bits; the last two are zero, so that one token has one form
_MAX_TEXT = 64
_SEPARATORS = str.maketrans(dict.fromkeys("- \t\r\n"))


def make_status_token() -> str:
    """A new token."""
    return base64.b32encode(secrets.token_bytes(TOKEN_BYTES)).decode("ascii").rstrip("=").lower()


def read_status_token(text: str) -> str | None:
    """The token in its one form; capitals, spaces and hyphens are forgiven. None when the text is none."""
    if len(text) > _MAX_TEXT or not text.isascii():
        return None
    token = text.translate(_SEPARATORS).lower()
    return token if len(token) == LENGTH and set(token) <= set(ALPHABET) and token[-1] in _LAST else None


def status_digest(token: str) -> bytes:
    """What stands for a token everywhere but on the applicant's slip and screen."""
    return hashlib.sha256(token.encode("ascii")).digest()
