"""The booth's calibrations on its disk: each signed by the booth's key, believed for that signature alone. Blocking, for a worker thread.

One file for each calibration, `data_dir/calibrations/<id>.p7m`: CMS SignedData (crypto/cms.py) around its JSON, as packets are signed, so that
`openssl cms -verify` reads it, too. Order of reading: size → signature and path to a trusted root at the signing time, with what was revoked →
the signer is this booth → the JSON, strictly → its booth and its id are the signer's and the file's. What fails is refused as a whole, with the file
and the reason (CalibrationRefusedError); nothing older is taken in its place, because an older lamp or pitch could be quietly wrong.

The newest file counts, and that is the one that was stored last: files of a later date, from a clock that was ahead, are set aside under another
name when one is stored. A calibration names the baseline that it is compared with, or none when it is a baseline itself: the first one, and
any that a technician makes one (after a repair). Files are never changed, and removed only when more than `MOST_KEPT` are there; a baseline that a
kept one names stays.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from capture.calibration import Calibration
from capture.calibration_run import settings_for_visits
from capture.lamp_response import LampResponses
from capture.station import Station
from crypto.cms import MAX_FRAME_BYTES, sign_content, verify_content
from crypto.errors import CalibrationRefusedError, CertificateRefusedError, CryptoError, SignatureRefusedError
from crypto.key_folder import PRIVATE, read_file, sync_folder, write_whole
from crypto.keys import Signer, TrustStore, common_name
from crypto.trust import CONTENT_CALIBRATION, Purpose

log = logging.getLogger(__name__)

SOURCE = "calibration"
FOLDER, SUFFIX, LATER = "calibrations", ".p7m", ".p7m.later"
# 14 kB with four lamps at four drives.
MAX_CONTENT_BYTES = 256 * 1024
# Ten years of one a month.
MOST_KEPT = 120
_NAME = re.compile(r"^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}\.p7m$", re.ASCII)
AGAIN = "calibrate the booth anew (booth calibrate), and find out who changed the file"


class CalibrationStore:
    """All calibrations of one booth."""

    def __init__(self, data_dir: Path, booth: str, trust: Callable[[], TrustStore]) -> None:
        """Touches nothing; `trust` gives the roots and revocations that count now."""
        self._folder = data_dir / FOLDER
        self._booth, self._trust = booth, trust

    def save(self, calibration: Calibration, signer: Signer) -> Path:
        """Signs and stores it whole; it counts from then on. Raises SealingError, SigningError, OSError, CalibrationRefusedError for another booth's."""
        owner = common_name(signer.certificate)
        if {owner, calibration.booth} != {self._booth}:
            raise CalibrationRefusedError(
                f"The calibration is of booth {calibration.booth}, the key of {owner}, and this is booth {self._booth}."
            )
        content = calibration.model_dump_json().encode()
        data = sign_content(content, CONTENT_CALIBRATION, signer, Purpose.BOOTH, datetime.now(UTC))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(calibration.id)
        write_whole(path, data, PRIVATE)
        self._set_later_aside(calibration)
        self._prune()
        return path

    def ids(self) -> tuple[str, ...]:
        """What is there, oldest first, unread: files that cannot be ours by their name do not count. Raises OSError."""
        if not self._folder.is_dir():
            return ()
        return tuple(sorted(p.name.removesuffix(SUFFIX) for p in self._folder.iterdir() if _NAME.match(p.name)))

    def read(self, number: str) -> Calibration:
        """One calibration; raises CalibrationRefusedError, or OSError when the disk does not give it."""
        path = self._path(number)
        data = read_file(path, MAX_CONTENT_BYTES + MAX_FRAME_BYTES)
        try:
            verified = verify_content(data, CONTENT_CALIBRATION, MAX_CONTENT_BYTES, self._trust(), Purpose.BOOTH)
        except (SignatureRefusedError, CertificateRefusedError) as error:
            raise CalibrationRefusedError(f"The calibration {path} cannot be believed: {error} So {AGAIN}.") from error
        signer = common_name(verified.signer)
        if signer != self._booth:
            raise CalibrationRefusedError(
                f"The calibration {path} was signed by {signer}, and this is booth {self._booth}: {AGAIN}."
            )
        try:
            calibration = Calibration.model_validate_json(verified.content)
        except ValidationError as error:
            raise CalibrationRefusedError(
                f"The calibration {path} has a form that this software does not know: calibrate the booth anew (booth calibrate)."
            ) from error
        if (calibration.booth, calibration.id) != (self._booth, number):
            raise CalibrationRefusedError(
                f"The calibration {path} is {calibration.id} of booth {calibration.booth}: it was renamed or copied here; {AGAIN}."
            )
        return calibration

    def current(self) -> Calibration | None:
        """The newest one, expired or not; None when there is none. Raises CalibrationRefusedError, OSError."""
        known = self.ids()
        return self.read(known[-1]) if known else None

    def baseline(self) -> Calibration | None:
        """What the newest one is compared with: itself, when it is a baseline. None when there is none. Raises as `current`."""
        newest = self.current()
        return None if newest is None else self.baseline_of(newest)

    def baseline_of(self, calibration: Calibration) -> Calibration:
        """What a calibration is compared with. Raises CalibrationRefusedError when its baseline is gone or cannot be believed."""
        number = calibration.baseline_id
        if number is None:
            return calibration
        try:
            return self.read(number)
        except FileNotFoundError as error:
            raise CalibrationRefusedError(
                f"The baseline {number} of calibration {calibration.id} is gone: make a new one (booth calibrate --baseline)."
            ) from error

    def _path(self, number: str) -> Path:
        if not _NAME.match(number + SUFFIX):
            raise CalibrationRefusedError(f"{number!r} is no calibration's id.")
        return self._folder / (number + SUFFIX)

    def _set_later_aside(self, calibration: Calibration) -> None:
        """What is dated later than the one stored now would count in its place, for years."""
        for number in self.ids():
            if number > calibration.id:
                path = self._path(number)
                path.rename(path.with_name(number + LATER))
                log.warning("calibration %s has a later date than the new one: set aside", number)
        sync_folder(self._folder)

    def _prune(self) -> None:
        known = self.ids()
        if len(known) <= MOST_KEPT:
            return
        kept = known[-MOST_KEPT:]
        named = self._baselines(kept)
        for number in known[:-MOST_KEPT]:
            if number not in named:
                self._path(number).unlink(missing_ok=True)

    def _baselines(self, numbers: Sequence[str]) -> set[str]:
        """The baselines that these name; one that cannot be believed names none."""
        named = set[str]()
        for number in numbers:
            try:
                baseline = self.read(number).baseline_id
            except (CalibrationRefusedError, OSError):
                continue
            if baseline is not None:
                named.add(baseline)
        return named


class CalibrationInUse:
    """The calibration that a running booth works with; belongs to the event loop."""

    def __init__(self) -> None:
        """None yet."""
        self.value: Calibration | None = None

    @property
    def lamps(self) -> LampResponses | None:
        """What the lamps do, for the light."""
        return None if self.value is None else self.value.lamps

    def use(self, calibration: Calibration, station: Station) -> None:
        """From now on."""
        self.value = calibration
        station.learn(settings_for_visits(calibration))

    async def load(self, store: CalibrationStore, worker: Executor, station: Station) -> CryptoError | OSError | None:
        """Takes the newest one; without any, or with one that cannot be believed (returned), the booth works without."""
        try:
            newest = await asyncio.get_running_loop().run_in_executor(worker, store.current)
        except (CryptoError, OSError) as error:
            return error
        if newest is None:
            return None
        self.use(newest, station)
        now = datetime.now(UTC)
        if newest.expired(now):
            age_days = newest.age_days(now)
            log.warning("calibration %s is %.0f days old: it has expired, calibrate the booth", newest.id, age_days)
        return None
