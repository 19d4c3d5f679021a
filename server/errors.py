"""The errors of the intake and the desk.

One root, leaves end in `Error`. `str(error)` is one plain sentence for a person and never holds anything of a request or of an applicant:
it is what leaves the process. The HTTP status of a leaf is the `status` beside its code; server/problems.py turns it into RFC 9457 JSON.

    ServerError
    ├── SettingsError, ListenError   the process cannot start
    ├── AuthorityError           an operator's command to the certificate authority
    ├── StaffRefusedError        an operator's command to the registry of staff codes
    ├── StaffListUnknownError, StaffListUnavailableError   the list of staff codes
    ├── RequestError             what the sender asked cannot be done as asked
    │   ├── MalformedRequestError, UnknownRouteError, MethodNotAllowedError, LengthRequiredError, MediaTypeError
    │   ├── RequestTooLargeError, SlowRequestError, TruncatedRequestError
    │   ├── SignatureMissingError, SignatureInvalidError, SignatureExpiredError, ReplayedRequestError
    │   ├── PacketTooLargeError, DigestMismatchError, PacketUnreadableError, BoothMismatchError, UnknownPacketError
    │   ├── UploadOffsetError, UploadLengthError, UploadsAtOnceError, QuotaError, SoftwareBlockedError
    ├── EnrolmentError           a booth's certificate: EnrolmentRefusedError, EnrolmentLockedError, EnrolmentUnavailableError,
    │                            CsrRefusedError, BoothRevokedError, RevocationListUnknownError
    ├── OverloadError            more work than this process takes at once
    ├── DrainingError            the process is about to end
    ├── BackupError              server/backup_errors.py; RetentionError and others have files of their own, too
    ├── StorageError             StorageUnavailableError, StorageFullError, StorageCorruptError, ReceiptUnavailableError
    └── DeskError                LoginRequiredError, LoginRefusedError, LoginLockedError, CsrfError,
                                 PacketNotOpenedError, PartUnknownError
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

Blame = Literal["us", "device", "peer", "operator"]


class ServerError(Exception):
    """Root of everything the server raises itself."""

    code: ClassVar[str] = "server"
    blame: ClassVar[Blame] = "us"
    retry: ClassVar[bool] = False
    status: ClassVar[int] = 500
    title: ClassVar[str] = "The server could not do this"

    def __init__(self, message: str = "", *, retry_after_s: int | None = None) -> None:
        super().__init__(message or f"{self.title}.")
        self.retry_after_s = retry_after_s
        self.upload: Mapping[str, str] = {}  # how far the upload that it interrupted had come (server/partials.py)

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the answer that belong to the error."""
        return self.upload


class SettingsError(ServerError):
    """A setting is missing, unreadable or contradicts another one."""

    code = "server.settings"
    blame = "operator"
    title = "The settings do not allow a start"


class AuthorityError(ServerError):
    """What an operator asked of the certificate authority cannot be done as asked."""

    code = "authority"
    blame = "operator"
    title = "The authority cannot do this"


class ListenError(ServerError):
    """The address cannot be listened on."""

    code = "server.listen"
    blame = "operator"
    title = "The address cannot be listened on"


class RequestError(ServerError):
    """The request cannot be served as it was sent; sending the same again changes nothing unless `retry` says so."""

    code = "request"
    blame: ClassVar[Blame] = "peer"
    status = 400
    title = "The request cannot be served"


class MalformedRequestError(RequestError):
    """A path, header or field has the wrong form."""

    code = "request.malformed"
    title = "The request has the wrong form"


class UnknownRouteError(RequestError):
    """There is nothing at this path."""

    code = "request.unknown_path"
    status = 404
    title = "There is nothing at this address"


class MethodNotAllowedError(RequestError):
    """The path exists, the method does not."""

    code = "request.method"
    status = 405
    title = "This address does not take this method"


class LengthRequiredError(RequestError):
    """An upload must tell its length before it starts."""

    code = "request.length_required"
    status = 411
    title = "The upload does not tell its length"


class MediaTypeError(RequestError):
    """The body is declared as something else than this address takes."""

    code = "request.media_type"
    status = 415
    title = "The body is not declared as what this address takes"


class RequestTooLargeError(RequestError):
    """The body is larger than this address takes."""

    code = "request.too_large"
    status = 413
    title = "The body is too large"


class SlowRequestError(RequestError):
    """The body came too slowly."""

    code = "request.slow"
    status = 408
    retry = True
    title = "The body came too slowly"


class TruncatedRequestError(RequestError):
    """The sender closed the connection before the body was complete."""

    code = "request.truncated"
    retry = True
    title = "The body ended early"


class SignatureMissingError(RequestError):
    """The request carries no signature."""

    code = "signature.missing"
    status = 401
    title = "The request is not signed"


class SignatureInvalidError(RequestError):
    """The signature, its chain or its purpose does not hold."""

    code = "signature.invalid"
    status = 401
    title = "The signature of the request does not hold"


class SignatureExpiredError(RequestError):
    """The signature was made too long ago or in the future: compare clocks with the Date header."""

    code = "signature.expired"
    status = 401
    retry = True
    title = "The signature was not made just now"


class ReplayedRequestError(RequestError):
    """The same signature was used before."""

    code = "signature.replayed"
    status = 401
    retry = True
    title = "This signature was used before"


class BoothMismatchError(RequestError):
    """The packet names another booth than the one that signed the request, or belongs to another booth."""

    code = "packet.booth_mismatch"
    status = 403
    title = "The packet is not of the booth that signed the request"


class UnknownPacketError(RequestError):
    """No such packet is stored."""

    code = "packet.unknown"
    status = 404
    title = "No such packet is stored"


class PacketTooLargeError(RequestError):
    """The packet is larger than this intake takes."""

    code = "packet.too_large"
    status = 413
    title = "The packet is too large"

    def __init__(self, message: str = "", *, max_bytes: int = 0) -> None:
        super().__init__(message)
        self.max_bytes = max_bytes

    @property
    def headers(self) -> Mapping[str, str]:
        """How much is taken, as the draft of resumable uploads wants it told."""
        return {**self.upload, "Upload-Limit": f"max-size={self.max_bytes}"}


class DigestMismatchError(RequestError):
    """The bytes do not have the digest they were announced with."""

    code = "packet.digest_mismatch"
    status = 422
    retry = True
    title = "The bytes do not match their digest"


class PacketUnreadableError(RequestError):
    """The bytes are not a sealed packet of a known version."""

    code = "packet.unreadable"
    status = 422
    title = "The bytes are not a sealed packet"


class UploadOffsetError(RequestError):
    """The content does not begin where what arrived so far ends; the answer's Upload-Offset says where that is."""

    code = "upload.offset"
    status = 409
    retry = True
    title = "The upload goes on elsewhere"

    def __init__(self, message: str = "", *, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset

    @property
    def headers(self) -> Mapping[str, str]:
        """Where the upload goes on."""
        return {"Upload-Complete": "?0", "Upload-Offset": str(self.offset)}


class UploadLengthError(RequestError):
    """The length of an upload is missing, contradicts an earlier one or its content."""

    code = "upload.length"
    title = "The upload does not have the length that was told"


class UploadsAtOnceError(RequestError):
    """One booth sends more packets at once than a booth may."""

    code = "booth.busy"
    status = 429
    retry = True
    title = "This booth sends too many packets at once"


class QuotaError(RequestError):
    """One booth has brought more within a day than a booth may."""

    code = "booth.quota"
    status = 429
    retry = True
    title = "This booth has sent too much today"


class SoftwareBlockedError(RequestError):
    """The booth's software version is blocked here, or not told while versions are blocked."""

    code = "booth.software_blocked"
    status = 403
    title = "This software version is blocked"


class EnrolmentError(ServerError):
    """A booth's certificate cannot be given, or is not good any more: a person must act."""

    code = "enrolment"
    blame: ClassVar[Blame] = "operator"
    status = 403
    title = "The booth cannot be enrolled"


class EnrolmentRefusedError(EnrolmentError):
    """The token is unknown, used, expired or for another booth; which of these is not told."""

    code = "enrolment.refused"
    title = "The enrolment token is not valid for this booth"


class EnrolmentLockedError(EnrolmentError):
    """Too many wrong tokens from one address."""

    code = "enrolment.locked"
    status = 429
    retry = True
    title = "Too many wrong enrolment tokens"


class EnrolmentUnavailableError(EnrolmentError):
    """No certificates are issued here, or the authority cannot be used just now."""

    code = "enrolment.unavailable"
    status = 503
    retry = True
    title = "This intake issues no certificates now"


class CsrRefusedError(EnrolmentError):
    """The certificate request is malformed, for another booth, or not proven by its own key."""

    code = "enrolment.request"
    status = 400
    title = "The certificate request cannot be used"


class BoothRevokedError(EnrolmentError):
    """The certificate that signed the request was revoked."""

    code = "booth.revoked"
    title = "The certificate of this booth was revoked"


class RevocationListUnknownError(EnrolmentError):
    """There is no revocation list here."""

    code = "crl.unknown"
    status = 404
    title = "This intake has no revocation list"


class StaffRefusedError(ServerError):
    """What an operator asked of the registry of staff codes cannot be done as asked."""

    code = "staff.refused"
    blame = "operator"
    title = "The registry of staff codes cannot do this"


class StaffListUnknownError(ServerError):
    """There is no list of staff codes here."""

    code = "staff.unknown"
    blame = "operator"
    status = 404
    title = "This intake names no staff"


class StaffListUnavailableError(ServerError):
    """The key that signs the list of staff codes cannot be used just now."""

    code = "staff.unavailable"
    status = 503
    retry = True
    title = "The list of staff codes cannot be given now"


class CentresUnknownError(ServerError):
    """There are no centres' certificates here."""

    code = "centres.unknown"
    status = 404
    title = "This intake knows no centres"


class OverloadError(ServerError):
    """More work at once than this process takes."""

    code = "server.busy"
    status = 503
    retry = True
    title = "The server is busy"


class DrainingError(ServerError):
    """The process was asked to end and takes work only until others have noticed."""

    code = "server.draining"
    status = 503
    retry = True
    title = "The server is about to end"


class StorageError(ServerError):
    """The packets' storage did not do its work."""

    code = "storage"
    status = 503
    retry = True
    title = "The storage did not answer"


class StorageUnavailableError(StorageError):
    """The database or the place of the packets cannot be used just now."""

    code = "storage.unavailable"


class StorageFullError(StorageError):
    """No room is left for another packet."""

    code = "storage.full"
    blame = "operator"
    status = 507
    title = "The storage is full"


class ReceiptUnavailableError(StorageError):
    """The intake's key does not sign just now, so that no packet can be receipted."""

    code = "receipt.unavailable"
    blame = "operator"
    title = "Receipts cannot be signed"


class StorageCorruptError(StorageError):
    """Stored bytes no longer have the digest they were stored under, or are gone."""

    code = "storage.corrupt"
    status = 500
    retry = False
    title = "A stored packet is damaged"


class DeskError(ServerError):
    """What an officer asked cannot be done."""

    code = "desk"
    blame: ClassVar[Blame] = "operator"
    status = 400
    title = "The desk cannot do this"


class LoginRequiredError(DeskError):
    """There is no valid session."""

    code = "login.required"
    status = 401
    title = "Please sign in"


class LoginRefusedError(DeskError):
    """Name, password or code is wrong; `user` is for the audit log alone."""

    code = "login.refused"
    status = 403
    title = "Name, password or code is wrong"

    def __init__(self, message: str = "", *, user: str = "") -> None:
        super().__init__(message)
        self.user = user


class LoginLockedError(DeskError):
    """Too many wrong passwords."""

    code = "login.locked"
    status = 429
    retry = True
    title = "Too many wrong passwords"


class CsrfError(DeskError):
    """The form does not come from this session's page."""

    code = "login.form"
    status = 403
    title = "The form is too old or not from this page"


class PacketNotOpenedError(DeskError):
    """The packet did not pass: one opaque reason, the detail stays in `__cause__`."""

    code = "packet.not_opened"
    blame = "peer"
    status = 422
    title = "The packet could not be opened and verified"


class PartUnknownError(DeskError):
    """The packet holds no such part."""

    code = "packet.part_unknown"
    status = 404
    title = "The packet holds no such part"
