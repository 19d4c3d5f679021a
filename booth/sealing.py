"""From a finished visit to a sealed packet. Runs on a worker thread; the outbox takes what comes out.

Order: chip image (capture.portrait), told in the report → its face record (booth.face_part) → parts → package → CMS signature by the booth's key → HPKE
for the back office alone. No plaintext touches the disk. Every fact stands once: what was done to pixels is in report.json, visit.json tells the rest.
The reference that the applicant takes home is the beginning of the packet's random id: it finds the packet and says nothing about him. He also gets a
status token, made here; beside the packet only its digest and the application's are kept (crypto/status_token.py, crypto/application.py).
"""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from booth.config import Config
from booth.errors import CertificateNotValidError, ConfigInvalidError
from booth.events import Application
from booth.face_part import captured_at, face_part, face_record_of
from booth.outbox import Links
from booth.pad_part import attack_block, pad_parts, without_score
from booth.record import VisitRecord
from capture.portrait import JPEG_FACTS, ChipTarget, encode_chip
from crypto.application import application_digest
from crypto.errors import CryptoError, SigningError
from crypto.face_record import Moment
from crypto.face_record_codes import CaptureTechnology
from crypto.keys import RecipientPublicKey, Signer, SignerSource, common_name, load_recipient_public_key
from crypto.package import ManifestFields, build_package
from crypto.seal import sign_and_seal
from crypto.status_token import make_status_token, status_digest
from validation.pad import Reason
from validation.profile import load_profile

log = logging.getLogger(__name__)

REFERENCE_LENGTH = (
    8  # 32 bits: two packets of one booth share it once in some ten thousand visits, and a centre sees the day too
)


@dataclass(frozen=True, slots=True)
class SealedVisit:
    """What the outbox gets, and what the applicant is told."""

    packet: bytes = field(repr=False)
    packet_id: str
    reference: str
    status_token: str = field(repr=False)
    links: Links = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sealer:
    """The keys and names of this booth's packets."""

    booth: str
    centre: str
    chip: ChipTarget
    rotate_deg: int
    technology: CaptureTechnology  # what the stills are: photographs, or frames of the running picture
    source: SignerSource
    recipients: tuple[RecipientPublicKey, ...]

    @classmethod
    def open(cls, config: Config) -> Sealer:
        """Opens the keys; raises a CryptoError, ConfigInvalidError or the ValidationError of a profile."""
        chip, camera = load_profile(config.profile.name).chip, config.camera
        recipients = tuple(load_recipient_public_key(path) for path in config.keys.recipients)
        if len({one.key_id for one in recipients}) < len(recipients):
            raise ConfigInvalidError("keys.recipients names the same key twice.")
        photographs = camera.still_url is not None
        technology = (
            CaptureTechnology.PHOTOGRAPH_DIGITAL_CAMERA if photographs else CaptureTechnology.VIDEO_FRAME_DIGITAL_CAMERA
        )
        source = SignerSource(config.keys.signer, config.passphrase, config.keys.certificate)
        sealer = cls(config.booth.id, config.booth.centre, chip, camera.rotate_deg, technology, source, recipients)
        try:
            sealer.require_owner()
            source.current()
        except SigningError as error:  # a token may come later; until then no visit begins
            log.warning("%s: %s", error.code, error)
        except BaseException:
            source.close()
            raise
        return sealer

    def close(self) -> None:
        """Lets go of the key."""
        self.source.close()

    @property
    def signer(self) -> Signer:
        """The booth's signer now; take it once for what belongs together. Raises a CryptoError."""
        return self.source.current()

    def require_owner(self) -> None:
        """Raises ConfigInvalidError when the key is another booth's."""
        owner = common_name(self.source.certificate())
        if owner != self.booth:
            raise ConfigInvalidError(f"booth.id is {self.booth}, but the key of keys.signer belongs to {owner}.")

    def certificate_days(self, now: datetime) -> float | None:
        """How long the booth's certificate is still valid; None while there is none that can be used."""
        try:
            return (self.source.certificate().not_valid_after_utc - now).total_seconds() / 86_400
        except CryptoError:
            return None

    def require_key(self) -> None:
        """That a packet could be signed now; may wait for a token. Raises a CryptoError or ConfigInvalidError."""
        self.require_owner()
        self.source.check()

    def require_valid(self, now: datetime) -> None:
        """Raises CertificateNotValidError when the booth's certificate is expired or not valid yet, or a CryptoError."""
        certificate = self.source.certificate()
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not begin <= now <= end:
            which = "is not valid before" if now < begin else "expired on"
            day = begin if now < begin else end
            raise CertificateNotValidError(
                f"The booth's certificate {which} {day:%Y-%m-%d %H:%M} UTC; the booth's clock says {now:%Y-%m-%d %H:%M} UTC. "
                "Renew the certificate or set the clock."
            )

    def seal(
        self, record: VisitRecord, application: Application, language: str, light_acknowledged_by: str | None
    ) -> SealedVisit:
        """The sealed packet of the record's newest attempt; raises a CryptoError, CaptureError or CertificateNotValidError."""
        attempt = record.attempt
        assert attempt is not None
        assert attempt.best.portrait is not None
        assert attempt.jpeg is not None
        now = datetime.now(UTC)
        signer = self.signer  # one for all: the pair may be exchanged meanwhile
        self.require_valid(now)  # it may have expired during the visit
        chip = encode_chip(attempt.best.portrait, self.chip)
        report = attempt.report.model_copy(update={"chip": chip.facts})
        taken = captured_at(attempt.best.at_ns, now, time.monotonic_ns())
        images = {"portrait.jpg": dict(JPEG_FACTS)}
        packet_id = uuid.uuid4().hex
        pad = record.pad or without_score(Reason.NOT_RUN)
        begun = None if pad.begun_ns is None else captured_at(pad.begun_ns, now, time.monotonic_ns())
        face = face_record_of(attempt, chip, taken, self.technology)
        face = replace(face, attack=attack_block(pad, None if begun is None else Moment.of(begun)))
        parts = {
            "portrait.jpg": attempt.jpeg,
            "chip.jp2": chip.data,
            "face.bin": face_part(face, self.chip.record),
            "report.json": report.model_dump_json().encode(),
            "visit.json": record.visit_json(application, language, light_acknowledged_by, self.rotate_deg, images),
            "attempts.json": record.attempts_json(),
            **pad_parts(pad),
        }
        fields = ManifestFields(
            packet_id=packet_id,
            booth=self.booth,
            centre=self.centre,
            recipients=tuple(sorted(one.key_id for one in self.recipients)),
            created_at=now,
        )
        packet = sign_and_seal(build_package(fields, parts), signer, self.recipients, now)
        token = make_status_token()
        links = Links(application_digest(application.number).hex(), status_digest(token).hex())
        return SealedVisit(packet, packet_id, reference_of(packet_id), token, links)


def reference_of(packet_id: str) -> str:
    """Eight characters in two groups, as they stand on the thanks screen."""
    short = packet_id[:REFERENCE_LENGTH].upper()
    return f"{short[:4]}-{short[4:]}"
