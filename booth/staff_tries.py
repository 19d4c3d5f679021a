"""How often wrong staff codes may be tried at this booth; kept on its disk, so that switching it off and on gives no new tries.

Rules: behind one screen all are one party. A try counts as wrong, on stable storage, before it is looked at; a right one forgets the wrong ones. From the
fifth wrong one on nothing is looked at for a minute, twice as long after each further one, an hour at most. The wait runs on the monotonic clock
while the booth runs; a restart takes up what is left of it by the time of day, never more than the whole wait. A file that was damaged counts as
the longest wait. Nothing about the codes is in the file.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crypto.key_folder import PRIVATE, read_file, write_whole

log = logging.getLogger(__name__)

ALLOWED = 5
LOCKOUT_S = 60.0
LONGEST_S = 3600.0
NAME = "staff.tries"
_MAX_BYTES = 200
_MOST_COUNTED = 10_000


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    wrong: Annotated[int, Field(ge=0, le=_MOST_COUNTED)] = 0
    wait_s: Annotated[float, Field(ge=0, le=LONGEST_S)] = 0.0
    until: float = 0.0  # by the time of day


class StaffTries:
    """The count of one booth; blocking, on one thread, but for `wait_s`, which any thread may read."""

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._clock, self._monotonic = folder / NAME, clock, monotonic
        self._kept = self._load()
        self._resume_at = monotonic() + min(max(self._kept.until - clock(), 0.0), self._kept.wait_s)

    @property
    def wait_s(self) -> int:
        """How long nothing is looked at; 0 when a code may be tried."""
        left_s = self._resume_at - self._monotonic()
        return int(left_s) + 1 if left_s > 0 else 0

    def begin(self) -> None:
        """Counts a try as wrong until it proves otherwise. Raises OSError; then it must not be looked at."""
        wrong = min(self._kept.wrong + 1, _MOST_COUNTED)
        over = wrong - ALLOWED
        wait_s = min(LOCKOUT_S * 2.0 ** min(over, 16), LONGEST_S) if over >= 0 else 0.0
        self._store(_Kept(wrong=wrong, wait_s=wait_s, until=self._clock() + wait_s))
        self._resume_at = self._monotonic() + wait_s

    def right(self) -> None:
        """The try was right: nothing is held against anybody any more. Raises OSError."""
        self._resume_at = self._monotonic()
        self._store(_Kept())

    def _store(self, kept: _Kept) -> None:
        self._kept = kept
        write_whole(self._path, kept.model_dump_json().encode(), PRIVATE)

    def _load(self) -> _Kept:
        try:
            return _Kept.model_validate_json(read_file(self._path, _MAX_BYTES))
        except FileNotFoundError:
            return _Kept()
        except (OSError, ValidationError):
            log.warning("The count of wrong staff codes cannot be read: the longest wait begins.")
            return _Kept(wrong=ALLOWED + 6, wait_s=LONGEST_S, until=self._clock() + LONGEST_S)
