"""From a finished visit to a sealed packet. Runs on a worker thread; the outbox takes what comes out.

Order: chip image → parts → package → CMS signature by the booth's key → HPKE for the back office alone. No plaintext touches the disk.
The reference that the applicant takes home is the beginning of the packet's random id: it finds the packet and says nothing about him.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

import cv2
import numpy as np
from numpy.typing import NDArray

from booth.config import Config
from booth.errors import ConfigInvalidError
from booth.events import Application
from booth.record import VisitRecord
from capture.portrait import encode_jp2
from crypto.keys import RecipientPublicKey, Signer, common_name, load_recipient_public_key, open_signer
from crypto.package import ManifestFields, build_package
from crypto.seal import sign_and_seal

# BSI TR-03121-3 v6.0: the chip holds 622 x 800; a larger portrait is brought to that width once.
CHIP_WIDTH_PX = 622
REFERENCE_LENGTH = (
    8  # 32 bits: two packets of one booth share it once in some ten thousand visits, and a centre sees the day too
)


@dataclass(frozen=True, slots=True)
class SealedVisit:
    """What the outbox gets, and what the applicant is told."""

    packet: bytes = field(repr=False)
    packet_id: str
    reference: str


@dataclass(frozen=True, slots=True)
class Sealer:
    """The keys and names of this booth's packets."""

    booth: str
    centre: str
    chip_bytes: int
    signer: Signer
    recipient: RecipientPublicKey

    @classmethod
    def open(cls, config: Config) -> Sealer:
        """Opens the keys; raises a CryptoError or ConfigInvalidError."""
        signer = open_signer(config.keys.signer, config.passphrase())
        owner = common_name(signer.certificate)
        if owner != config.booth.id:
            raise ConfigInvalidError(f"booth.id is {config.booth.id}, but the key of keys.signer belongs to {owner}.")
        recipient = load_recipient_public_key(config.keys.recipient)
        return cls(config.booth.id, config.booth.centre, config.visit.chip_bytes, signer, recipient)

    def certificate_days(self, now: datetime) -> float:
        """How long the booth's certificate is still valid."""
        return (self.signer.certificate.not_valid_after_utc - now).total_seconds() / 86_400

    def seal(
        self, record: VisitRecord, application: Application, language: str, light_acknowledged_by: str | None
    ) -> SealedVisit:
        """The sealed packet of the record's newest attempt; raises a CryptoError or CaptureError."""
        attempt = record.attempt
        assert attempt is not None
        assert attempt.best.portrait is not None
        assert attempt.jpeg is not None
        packet_id = uuid.uuid4().hex
        parts = {
            "portrait.jpg": attempt.jpeg,
            "chip.jp2": encode_jp2(chip_image(attempt.best.portrait), self.chip_bytes),
            "report.json": attempt.report.model_dump_json().encode(),
            "visit.json": record.visit_json(application, language, light_acknowledged_by),
            "attempts.json": record.attempts_json(),
        }
        now = datetime.now(UTC)
        fields = ManifestFields(
            packet_id=packet_id, booth=self.booth, centre=self.centre, recipient=self.recipient.key_id, created_at=now
        )
        packet = sign_and_seal(build_package(fields, parts), self.signer, self.recipient, now)
        return SealedVisit(packet, packet_id, reference_of(packet_id))


def chip_image(portrait: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The portrait at the chip's width; never upscaled."""
    height, width = portrait.shape[:2]
    if width <= CHIP_WIDTH_PX:
        return portrait
    size = (CHIP_WIDTH_PX, round(height * CHIP_WIDTH_PX / width))
    return np.asarray(cv2.resize(portrait, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def reference_of(packet_id: str) -> str:
    """Eight characters in two groups, as they stand on the thanks screen."""
    short = packet_id[:REFERENCE_LENGTH].upper()
    return f"{short[:4]}-{short[4:]}"
