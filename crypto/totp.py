"""One-time codes of an authenticator app: RFC 6238 with what every app understands: SHA-1, six digits, a new code every thirty seconds.

Rules: the secret is 20 random bytes, the length of SHA-1's output (RFC 4226 section 4, R6). The code of the step before and of the one after count too, for clocks
that go apart (RFC 6238 section 5.2); a step counts once, and never one before it, so that whoever has seen a code typed can do nothing with it: the
caller keeps the last step.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

SECRET_BYTES = 20
DIGITS = 6
STEP_S = 30
STEPS_APART = 1


def make_totp_secret() -> bytes:
    """A new secret."""
    return secrets.token_bytes(SECRET_BYTES)


def code_at(secret: bytes, at_s: float) -> str:
    """The code that an app shows at a Unix time."""
    return _totp(secret).generate(int(at_s)).decode("ascii")


def matching_step(secret: bytes, code: str, at_s: float, last: int) -> int | None:
    """The step that a code is of, when it counts now: newer than `last`; None when it does not."""
    typed = "".join(code.split()).encode()
    now = int(at_s) // STEP_S
    found = None
    for step in range(now - STEPS_APART, now + STEPS_APART + 1):
        right = hmac.compare_digest(_totp(secret).generate(step * STEP_S), typed)
        if right and step > last and found is None:
            found = step
    return found


def secret_text(secret: bytes) -> str:
    """As it is typed into an app: Base32 in groups of four."""
    text = base64.b32encode(secret).decode("ascii").rstrip("=")
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def otpauth_uri(secret: bytes, issuer: str, account: str) -> str:
    """What an app reads from a code on a screen (the Key Uri Format of Google Authenticator, which all apps took over)."""
    label = f"{quote(issuer, safe='')}:{quote(account, safe='')}"
    values = {"secret": secret_text(secret).replace(" ", ""), "issuer": issuer}
    values |= {"algorithm": "SHA1", "digits": str(DIGITS), "period": str(STEP_S)}
    return f"otpauth://totp/{label}?{urlencode(values, quote_via=quote)}"


def _totp(secret: bytes) -> TOTP:
    return TOTP(secret, DIGITS, SHA1(), STEP_S)  # noqa: S303 (HMAC-SHA-1, the algorithm that apps have)
