"""How often wrong secrets may be tried at this booth's screen (staff codes, the technician's passphrase); kept on its disk, so that switching it
off and on gives no new tries.

Rules: behind one screen all are one party. A try counts as wrong, on stable storage, before it is looked at; a right one forgets the wrong ones. From the
fifth wrong one on nothing is looked at for a minute, twice as long after each further one, an hour at most. The wait runs on the monotonic clock
while the booth runs; a restart takes up what is left of it by the time of day, never more than the whole wait. A file that was damaged counts as
the longest wait. What the disk does not take counts until the booth ends. Nothing about the secrets is in the file: a number and two times.
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
STAFF, TECHNICIAN = "staff.tries", "technician.tries"
_MAX_BYTES = 200
_MOST_COUNTED = 10_000


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    wrong: Annotated[int, Field(ge=0, le=_MOST_COUNTED)] = 0
    wait_s: Annotated[float, Field(ge=0, le=LONGEST_S)] = 0.0
    until: float = 0.0  # by the time of day


class KeptTries:
    """One count, in the file `path` or (None) in memory; blocking, one call at a time, but for `wait_s`, which any thread may read."""

    def __init__(
        self,
        path: Path | None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._clock, self._monotonic = path, clock, monotonic
        self._kept = self._load()
        self._resume_at = monotonic() + min(max(self._kept.until - clock(), 0.0), self._kept.wait_s)

    @property
    def wait_s(self) -> int:
        """How long nothing is looked at; 0 when a code may be tried."""
        left_s = self._resume_at - self._monotonic()
        return int(left_s) + 1 if left_s > 0 else 0

    def begin(self) -> None:
        """Counts a try as wrong until it proves otherwise. Raises OSError when that would not survive a restart."""
        wrong = min(self._kept.wrong + 1, _MOST_COUNTED)
        over = wrong - ALLOWED
        wait_s = min(LOCKOUT_S * 2.0 ** min(over, 16), LONGEST_S) if over >= 0 else 0.0
        self._resume_at = self._monotonic() + wait_s
        self._store(_Kept(wrong=wrong, wait_s=wait_s, until=self._clock() + wait_s))

    def right(self) -> None:
        """The try was right: nothing is held against anybody any more. Raises OSError."""
        self._resume_at = self._monotonic()
        self._store(_Kept())

    def _store(self, kept: _Kept) -> None:
        self._kept = kept
        if self._path is not None:
            write_whole(self._path, kept.model_dump_json().encode(), PRIVATE)

    def _load(self) -> _Kept:
        if self._path is None:
            return _Kept()
        try:
            return _Kept.model_validate_json(read_file(self._path, _MAX_BYTES))
        except FileNotFoundError:
            return _Kept()
        except (OSError, ValidationError):
            log.warning("The count of wrong tries in %s cannot be read: the longest wait begins.", self._path)
            return _Kept(wrong=ALLOWED + 6, wait_s=LONGEST_S, until=self._clock() + LONGEST_S)
