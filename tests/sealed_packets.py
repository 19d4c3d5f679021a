"""Real packets for the server's tests: development keys, sealed packets of a rendered applicant, signed requests."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crypto.http_signature import sign_request
from crypto.keys import Signer, TrustStore, load_recipient_public_key, load_trust, make_development_pki, open_signer
from crypto.package import ManifestFields, build_package
from crypto.seal import HeaderFields, seal, sign

APPLICANT = (
    Path(__file__).resolve().parent.parent / "hardware" / "sim" / "applicants" / "stills" / "anna" / "neutral.jpg"
)


def finding(rule: str, value: float | None = 0.5, verdict: str = "pass", **more: Any) -> dict[str, Any]:
    return {
        "rule": rule,
        "value": value,
        "unit": "deg",
        "limit": {"low": -8.0, "high": 8.0},
        "verdict": verdict,
        "level": "reject",
        "source": "ISO/IEC 39794-5:2019 D.1.4.2.4",
        "advice": "advice.none",
        **more,
    }


def report(*findings: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "profile": "demo",
        "profile_version": "1",
        "judged": "crop",
        "width": 622,
        "height": 800,
        "findings": list(findings or (finding("pose.yaw"), finding("pose.roll"))),
        "software": "passbooth 0.1.0",
        "notes": [],
        **more,
    }


def visit(number: str = "A1234567", how: str = "scanned", **more: Any) -> dict[str, Any]:
    application = {"number": number, "source": how, "verified": how == "scanned", "registry": "filed"}
    return {"application": application, "centre": "demo-centre", "language": "de", **more}


@dataclass
class Keys:
    """A development PKI with what a test signs and seals with."""

    folder: Path
    signer: Signer = field(init=False)
    trust: TrustStore = field(init=False)

    def __post_init__(self) -> None:
        make_development_pki(self.folder)
        self.signer = open_signer(f"file:{self.folder / 'booth.key'}")
        self.trust = load_trust(self.folder / "ca.pem")
        self.recipient = load_recipient_public_key(self.folder / "desk.hpke.pub")

    def packet(
        self,
        parts: Mapping[str, bytes] | None = None,
        *,
        booth: str = "booth-0001",
        centre: str = "centre-1",
        header_booth: str | None = None,
        at: datetime | None = None,
        padding: int = 0,
    ) -> bytes:
        """A sealed packet; its parts are a portrait, a report and a visit unless given."""
        now = (at or datetime.now(UTC)).replace(microsecond=0)
        packet_id = uuid.uuid4().hex
        chosen = dict(
            parts
            or {
                "portrait.jpg": APPLICANT.read_bytes(),
                "report.json": json.dumps(report()).encode(),
                "visit.json": json.dumps(visit()).encode(),
            }
        )
        if padding:
            chosen["attempts.json"] = b" " * padding
        package = build_package(
            ManifestFields(
                packet_id=packet_id, booth=booth, centre=centre, recipients=(self.recipient.key_id,), created_at=now
            ),
            chosen,
        )
        header = HeaderFields(packet_id=packet_id, booth=header_booth or booth, created_at=now)
        return seal(sign(package.data, self.signer, now), header, [self.recipient])

    def headers(
        self, method: str, url: str, body: bytes = b"", *, at: datetime | None = None, nonce: str | None = None
    ) -> dict[str, str]:
        """The headers of a signed request; those of an upload with its type."""
        kind = {"Content-Type": "application/vnd.passbooth.packet"} if method == "PUT" else {}
        return kind | sign_request(method, url, kind, body, self.signer, created=at, nonce=nonce)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
