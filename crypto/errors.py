"""What can go wrong with packets, keys and signatures: one root, each leaf says whose fault it is and whether to retry.

Messages never hold personal data: they name files, fields and key ids, never the content of a part.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Blame = Literal["us", "device", "peer", "operator"]
# Where opening a packet stopped (docs/packet.md, "Who verifies what, in which order").
Stage = Literal["header", "seal", "signature", "certificate", "package", "binding"]

# The one sentence that a refused packet shows outward; the true reason stays in `__cause__`, for the local log only,
# so that a stranger who sends packets learns nothing from trying (architecture, "Errors").
OPAQUE_REASON = "The packet was refused: it is not a genuine, unchanged packet for this recipient."


class CryptoError(Exception):
    """Root of everything this package raises."""

    code: ClassVar[str] = "crypto"
    blame: ClassVar[Blame] = "us"
    retry: ClassVar[bool] = False


class CanonicalJsonError(CryptoError):
    """A document that must be canonical JSON is not."""

    code = "crypto.canonical_json"
    blame = "peer"


class PackageError(CryptoError):
    """A package breaks the layout: bytes, names, limits, manifest or digests."""

    code = "crypto.package"
    blame = "peer"


class PacketFormatError(CryptoError):
    """A sealed packet's public header cannot be read."""

    code = "crypto.packet_format"
    blame = "peer"


class PacketRefusedError(CryptoError):
    """A sealed packet did not open: one opaque reason. The cause and the stage are for whoever holds the key, never for the sender."""

    code = "crypto.packet_refused"
    blame = "peer"

    def __init__(self, stage: Stage) -> None:
        super().__init__(OPAQUE_REASON)
        self.stage = stage


class SealingError(CryptoError):
    """A packet could not be made: package, signer and recipient do not fit together."""

    code = "crypto.sealing"


class SignatureRefusedError(CryptoError):
    """A CMS signature is malformed, wrong, or made by somebody who may not make it."""

    code = "crypto.signature_refused"
    blame = "peer"


class CertificateRefusedError(CryptoError):
    """A certificate does not lead to a trusted root, is not valid at that time, or is for another purpose."""

    code = "crypto.certificate_refused"
    blame = "peer"


class CertificateRevokedError(CertificateRefusedError):
    """The authority took a certificate back before its end."""

    code = "crypto.certificate_revoked"


class RevocationListError(CryptoError):
    """A certificate revocation list is malformed, or not signed by the authority whose list it should be."""

    code = "crypto.revocation_list"
    blame = "peer"


class EnrolmentError(CryptoError):
    """A certificate request, enrolment token or issued certificate cannot be used."""

    code = "crypto.enrolment"
    blame = "operator"


class StaffCodeError(CryptoError):
    """What was typed has not the form of a staff code. It is never repeated."""

    code = "crypto.staff_code"
    blame = "operator"


class StaffListError(CryptoError):
    """A list of staff codes is malformed, not signed by one who may name staff, or older than the one that is known."""

    code = "crypto.staff_list"
    blame = "peer"


class ApplicationNumberError(CryptoError):
    """A text is no application number: how long it is, its characters, or its check character. The text itself is never told."""

    code = "crypto.application_number"
    blame = "peer"

    def __init__(self, reason: Literal["length", "alphabet", "check"], sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class SlipError(CryptoError):
    """A slip's code does not identify anybody; nothing of it is told."""


class SlipMalformedError(SlipError):
    """A text is no slip, or is spelt in another way than its one."""

    code = "crypto.slip_malformed"
    blame = "peer"


class SlipUnknownCentreError(SlipError):
    """A slip is signed with a key that no known, trusted centre has: a forgery, or a centre whose certificate has not come yet."""

    code = "crypto.slip_unknown_centre"
    blame = "peer"


class SlipForgedError(SlipError):
    """A slip was not signed by the centre that it names."""

    code = "crypto.slip_forged"
    blame = "peer"


class SlipExpiredError(SlipError):
    """A slip is genuine and its last day has passed."""

    code = "crypto.slip_expired"
    blame = "peer"


class FaceRecordError(CryptoError):
    """A face record (ISO/IEC 39794-5, ISO/IEC 19794-5, DG2) breaks its form, or cannot be written in it."""

    code = "crypto.face_record"
    blame = "peer"


class KeyUnavailableError(CryptoError):
    """A key, certificate or trust root on this machine cannot be used; the operator must act."""

    code = "crypto.key_unavailable"
    blame = "operator"


class SigningError(CryptoError):
    """The signing key did not sign; a token may be back after a moment."""

    code = "crypto.signing"
    blame = "device"
    retry = True


class ReceiptError(CryptoError):
    """A receipt is malformed, not signed by the intake, or names another packet."""

    code = "crypto.receipt"
    blame = "peer"


class DecisionError(CryptoError):
    """A desk's decision, or its place in the desk's chain, is malformed or not signed by a trusted desk."""

    code = "crypto.decision"
    blame = "peer"


class HandOverError(CryptoError):
    """A hand-over message, an order or a producer's answer is malformed, or not of whom it must be."""

    code = "crypto.hand_over"
    blame = "peer"

    def __init__(self, sentence: str, answer_code: str = "content") -> None:
        super().__init__(sentence)
        self.answer_code = answer_code  # with which a producer rejects the order


class LogProofError(ReceiptError):
    """A receipt's proof does not lead to the signed tree head, or two tree heads contradict each other."""

    code = "crypto.log_proof"


class AuditEntryError(CryptoError):
    """An entry of the desk's audit log is not genuine, or cannot be made."""

    code = "crypto.audit_entry"
    blame = "us"


class RetentionRecordError(CryptoError):
    """A record of a deletion or of a hold is not genuine, or cannot be made."""

    code = "crypto.retention_record"
    blame = "us"


class HeartbeatError(CryptoError):
    """A heartbeat, or the answer to one, has another form than it must, or is too long."""

    code = "crypto.heartbeat"
    blame = "peer"


class BoothOrderError(CryptoError):
    """An order for a booth, its answer or its bundle is not genuine, or cannot be made."""

    code = "crypto.booth_order"
    blame = "peer"


class CalibrationRefusedError(CryptoError):
    """A booth's calibration is not genuine: changed, another booth's, or of an unknown form."""

    code = "crypto.calibration"
    blame = "operator"


class RequestSignatureError(CryptoError):
    """A request is not signed as it must be; its cause may be a certificate, a changed request, or a clock."""

    code = "crypto.request_signature"
    blame = "peer"


class RequestRevokedError(RequestSignatureError):
    """A request is properly signed, by a key whose certificate was revoked."""

    code = "crypto.request_revoked"

    def __init__(self, booth_id: str, serial: int) -> None:
        super().__init__(f"The request of {booth_id!a} is signed with a certificate that was revoked.")
        self.booth_id = booth_id
        self.serial = serial  # of the certificate


class RequestClockError(CryptoError):
    """A request was signed too long ago or in the future: one of the two clocks is wrong, or it is a replay."""

    code = "crypto.request_clock"
    blame = "peer"
    retry = True
