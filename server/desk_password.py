"""A desk user's password: what may be one, how one is made, what is kept of it.

Rules, after NIST SP 800-63B-4 section 3.1.1.2: at least 12 characters of any kind, up to 200, compared after Unicode's NFKC, nothing asked of their kinds and never
old by itself; refused are those that hold the user's name or this product's, and those of few different characters. What is kept is argon2id (RFC 9106,
costs as crypto/staff_code.py) of the password under the desk's secret: who has stolen the database alone has nothing to try passwords on.
"""

from __future__ import annotations

import base64
import secrets
import unicodedata

import argon2
from argon2.exceptions import Argon2Error, InvalidHashError, VerifyMismatchError

from crypto.desk_secret import DeskSecret
from crypto.staff_code import HASHER, NOBODY
from server.user_errors import PasswordCheckError

LEAST, MOST = 12, 200
LEAST_DIFFERENT = 6
# Letters and digits that cannot be mistaken for each other on paper; 16 of them are 78 bits.
ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
GROUPS, GROUP = 4, 4
PRODUCT = "passbooth"
_PURPOSE = "password"


class PasswordHashes:
    """What is kept of passwords, made and compared under one desk's secret. Each takes a tenth of a second and 64 MiB."""

    def __init__(self, secret: DeskSecret, hasher: argon2.PasswordHasher = HASHER) -> None:
        self._secret, self._hasher = secret, hasher

    def make(self, password: str) -> str:
        """What is kept."""
        return self._hasher.hash(self._keyed(password))

    def matches(self, stored: str | None, password: str) -> bool:
        """Whether this is the password; with None, of nobody, it takes as long and is not. Raises PasswordCheckError."""
        try:
            self._hasher.verify(stored or NOBODY, self._keyed(password))
        except (VerifyMismatchError, InvalidHashError):
            return False
        except Argon2Error as error:
            raise PasswordCheckError("The password cannot be compared just now.") from error
        return stored is not None

    def _keyed(self, password: str) -> bytes:
        return base64.b64encode(self._secret.mac(_PURPOSE, plain_password(password).encode("utf-8", "replace")))


def make_password() -> str:
    """A new random password, in groups."""
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(GROUP)) for _ in range(GROUPS))
    return "-".join(groups)


def plain_password(password: str) -> str:
    """A password as it is compared; what is longer than any is cut, so that nobody lets us normalise megabytes."""
    return unicodedata.normalize("NFKC", password[: 4 * MOST])


def password_fault(password: str, name: str) -> str | None:
    """Why this cannot be the password of a user of this name: short, long, name, simple; None when it can."""
    plain, named = plain_password(password), plain_password(name).casefold().split()
    if len(plain) < LEAST:
        return "short"
    if len(plain) > MOST or len(password) > MOST:
        return "long"
    if any(word in plain.casefold() for word in (PRODUCT, *(one for one in named if len(one) > 3))):
        return "name"
    return "simple" if len(set(plain)) < LEAST_DIFFERENT else None
