"""Material for tests of staff codes: one code with its hash, made once, and signed lists of all kinds."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache

from crypto.keys import Signer
from crypto.staff_code import StaffCode, hash_code
from crypto.staff_list import StaffEntry, sign_staff_list
from tests.packets import NOW

ANNA = StaffCode("482103", "937556211840")
BEN = StaffCode("731904", "000000000001")
MONTH = timedelta(days=30)


@cache
def stored(code: StaffCode) -> str:
    """The hash of a code; each takes a tenth of a second."""
    return hash_code(code)


def entry(code: StaffCode = ANNA, centre: str | None = None, expires_at: datetime | None = None) -> StaffEntry:
    return StaffEntry(staff=code.staff, centre=centre, expires_at=expires_at, hash=stored(code))


def signed_list(
    signer: Signer, *staff: StaffEntry, number: int = 7, at: datetime = NOW, life: timedelta = MONTH
) -> bytes:
    return sign_staff_list(number=number, staff=staff, at=at, expires_at=at + life, signer=signer)
