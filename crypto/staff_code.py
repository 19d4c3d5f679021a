"""A member of staff's personal code: eighteen digits, typed on a booth's screen. The first six are the staff id, the other twelve the secret.

Rules: digits only, because a keypad has nothing else; written in three groups of six, and read with or without spaces and hyphens. The staff id is
random and says nothing about a person; it never begins with 0. The secret is random: 12 digits are 39.9 bits. It is made once, told once, and kept
as an argon2id hash alone (RFC 9106's second recommended costs: 64 MiB, three passes, in one lane), with a salt of 16 bytes.

What that is worth: at a booth tries are few (booth/kept_tries.py: below a hundred thousand in a year of guessing all day, even where staff come and
go, so less than one in ten million for a known id). Who
has stolen the list of hashes tries at the speed of his machines: at a thousand hashes a second, which takes 64 GiB of fast memory, all
secrets of one id take 31 years. No error, repr or log holds a code.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field

import argon2
from argon2.exceptions import Argon2Error, VerifyMismatchError

from crypto.errors import StaffCodeError

ID_DIGITS, SECRET_DIGITS = 6, 12
STAFF_ID = re.compile(rf"[1-9][0-9]{{{ID_DIGITS - 1}}}", re.ASCII)
# The one form of a hash in a list: its costs are what each look at a code takes, so they are the same for all.
STORED = re.compile(r"\$argon2id\$v=19\$m=65536,t=3,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}", re.ASCII)
HASHER = argon2.PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1, hash_len=32, salt_len=16)
# Of nobody's secret; compared with where there is no such staff id, so that the answer takes as long.
NOBODY = "$argon2id$v=19$m=65536,t=3,p=1$cGFzc2Jvb3RoIG5vYm9keQ$ED3zLA4nUaAIDLV+BT6Ywz6WQKMSjzuXeLjD7LGlBLE"
_MOST_CHARACTERS = 40
_BETWEEN = str.maketrans("", "", " -\N{NO-BREAK SPACE}")


@dataclass(frozen=True, slots=True)
class StaffCode:
    """A code as it is typed."""

    staff: str
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        """As it is told to its owner: three groups of six digits."""
        half = SECRET_DIGITS // 2
        return f"{self.staff} {self.secret[:half]} {self.secret[half:]}"


def make_staff_id() -> str:
    """A random staff id; whoever keeps them sees that none is given twice."""
    return str(10 ** (ID_DIGITS - 1) + secrets.randbelow(9 * 10 ** (ID_DIGITS - 1)))


def make_code(staff: str) -> StaffCode:
    """A new code of a staff id."""
    return StaffCode(staff, f"{secrets.randbelow(10**SECRET_DIGITS):0{SECRET_DIGITS}d}")


def read_code(text: str) -> StaffCode:
    """The code in what was typed, or StaffCodeError."""
    digits = text.translate(_BETWEEN) if len(text) <= _MOST_CHARACTERS else ""
    well_formed = len(digits) == ID_DIGITS + SECRET_DIGITS and digits.isascii() and digits.isdigit()
    if not well_formed or not STAFF_ID.fullmatch(digits[:ID_DIGITS]):
        raise StaffCodeError(f"A staff code has {ID_DIGITS + SECRET_DIGITS} digits.")
    return StaffCode(digits[:ID_DIGITS], digits[ID_DIGITS:])


def hash_code(code: StaffCode) -> str:
    """What is kept of a code; takes a tenth of a second and 64 MiB."""
    return HASHER.hash(code.secret)


def matches(stored: str, code: StaffCode) -> bool:
    """Whether this is the code of the hash; takes as long as `hash_code`, right or wrong. Raises StaffCodeError when it cannot be compared."""
    try:
        return HASHER.verify(stored, code.secret)
    except VerifyMismatchError:
        return False
    except Argon2Error as err:  # no memory for it, say
        raise StaffCodeError("The staff code cannot be compared just now.") from err
