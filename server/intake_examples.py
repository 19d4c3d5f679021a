"""Examples in the intake's OpenAPI document: every problem as it is answered, which addresses answer it, and requests and answers of the small addresses.

The problems are made from the error classes, so an example says what the intake says; a test holds that each error of docs/intake-api.md is here. What
is signed is shown by its form alone: a signature belongs to one request, and is never an example for another.
"""

from __future__ import annotations

from typing import Any

from server.application_errors import (
    ApplicationCapturedError,
    ApplicationExpiredError,
    ApplicationLookupsError,
    ApplicationUnknownError,
    RegistryEmptyError,
    StatusAsksError,
    StatusUnknownError,
)
from server.booth_order_errors import (
    BoothOrderAnsweredError,
    BoothOrderAnswerRefusedError,
    BoothOrderUnknownError,
)
from server.errors import (
    BoothMismatchError,
    BoothRevokedError,
    CentresUnknownError,
    CsrRefusedError,
    DigestMismatchError,
    DrainingError,
    EnrolmentLockedError,
    EnrolmentRefusedError,
    EnrolmentUnavailableError,
    LengthRequiredError,
    MalformedRequestError,
    MediaTypeError,
    MethodNotAllowedError,
    OverloadError,
    PacketTooLargeError,
    PacketUnreadableError,
    QuotaError,
    ReceiptUnavailableError,
    ReplayedRequestError,
    RequestTooLargeError,
    RevocationListUnknownError,
    ServerError,
    SignatureExpiredError,
    SignatureInvalidError,
    SignatureMissingError,
    SlowRequestError,
    SoftwareBlockedError,
    StaffListUnavailableError,
    StaffListUnknownError,
    StorageCorruptError,
    StorageFullError,
    StorageUnavailableError,
    TruncatedRequestError,
    UnknownPacketError,
    UnknownRouteError,
    UploadLengthError,
    UploadOffsetError,
    UploadsAtOnceError,
)
from server.fleet_errors import HeartbeatBoothError, HeartbeatRefusedError, HeartbeatsAtOnceError
from server.handover_errors import (
    AnswerRefusedError,
    HandOverUnavailableError,
    OrderAnsweredError,
    OrderCursorError,
    OrderGoneError,
    OrderResentError,
    OrderUnknownError,
    ProducerUnknownError,
)
from server.problems import problem_body

Problems = tuple[type[ServerError], ...]

_ANYWHERE: Problems = (MalformedRequestError, MethodNotAllowedError, UnknownRouteError, ServerError)
_DATABASE: Problems = (StorageUnavailableError,)
_SIGNED: Problems = (SignatureMissingError, SignatureInvalidError, SignatureExpiredError, ReplayedRequestError)
_OF_BOOTHS: Problems = (*_SIGNED, BoothRevokedError, *_DATABASE)
_BODY: Problems = (LengthRequiredError, MediaTypeError, SlowRequestError, TruncatedRequestError)
_SMALL_BODY: Problems = (*_BODY, RequestTooLargeError)
_UPLOAD: Problems = (
    *_OF_BOOTHS,
    *_BODY,
    SoftwareBlockedError,
    UploadLengthError,
    UploadOffsetError,
    UploadsAtOnceError,
    QuotaError,
    PacketTooLargeError,
    DigestMismatchError,
    PacketUnreadableError,
    BoothMismatchError,
    OverloadError,
    ReceiptUnavailableError,
    StorageFullError,
)
_OF_PRODUCERS: Problems = (*_SIGNED, ProducerUnknownError, BoothRevokedError, HandOverUnavailableError, *_DATABASE)
_ORDER: Problems = (*_OF_PRODUCERS, OrderUnknownError, OrderGoneError)
_BOOTH_ORDER: Problems = (
    *_OF_BOOTHS,
    *_SMALL_BODY,
    DigestMismatchError,
    BoothOrderUnknownError,
    BoothOrderAnswerRefusedError,
    BoothOrderAnsweredError,
)

_PROBLEMS: dict[tuple[str, str], Problems] = {
    ("/v1/packets/{sha256}", "put"): _UPLOAD,
    ("/v1/packets/{sha256}", "patch"): (*_UPLOAD, UnknownPacketError),
    ("/v1/packets/{sha256}", "head"): (*_OF_BOOTHS, UnknownPacketError, SoftwareBlockedError, OverloadError),
    ("/v1/packets/{sha256}/receipt", "get"): (*_OF_BOOTHS, UnknownPacketError, SoftwareBlockedError, OverloadError),
    ("/v1/log/head", "get"): _DATABASE,
    ("/v1/log/consistency", "get"): _DATABASE,
    ("/v1/ready", "get"): (DrainingError, StorageFullError, *_DATABASE),
    ("/v1/enrolments", "post"): (
        *_SMALL_BODY,
        CsrRefusedError,
        EnrolmentRefusedError,
        EnrolmentLockedError,
        EnrolmentUnavailableError,
        OverloadError,
        *_DATABASE,
    ),
    ("/v1/certificates", "post"): (
        *_OF_BOOTHS,
        *_SMALL_BODY,
        CsrRefusedError,
        EnrolmentUnavailableError,
        OverloadError,
    ),
    ("/v1/crl", "get"): (RevocationListUnknownError,),
    ("/v1/centres", "get"): (CentresUnknownError,),
    ("/v1/applications/lookup", "post"): (
        *_OF_BOOTHS,
        *_SMALL_BODY,
        ApplicationUnknownError,
        ApplicationExpiredError,
        ApplicationCapturedError,
        ApplicationLookupsError,
        RegistryEmptyError,
    ),
    ("/v1/heartbeats", "post"): (
        *_OF_BOOTHS,
        *_SMALL_BODY,
        DigestMismatchError,
        HeartbeatRefusedError,
        HeartbeatBoothError,
        HeartbeatsAtOnceError,
    ),
    ("/v1/booth-orders", "get"): _OF_BOOTHS,
    ("/v1/booth-orders/{order}/bundle", "put"): (*_BOOTH_ORDER, OverloadError),
    ("/v1/booth-orders/{order}/answer", "post"): _BOOTH_ORDER,
    ("/status/v1/lookup", "post"): (*_SMALL_BODY, StatusUnknownError, StatusAsksError, *_DATABASE),
    ("/v1/staff", "get"): (*_OF_BOOTHS, StaffListUnknownError, StaffListUnavailableError),
    ("/v1/orders", "get"): (*_OF_PRODUCERS, OrderCursorError),
    ("/v1/orders/{order}", "get"): (*_ORDER, StorageCorruptError, OverloadError),
    ("/v1/orders/{order}/answer", "post"): (
        *_ORDER,
        *_SMALL_BODY,
        DigestMismatchError,
        AnswerRefusedError,
        OrderAnsweredError,
    ),
    ("/v1/orders/{order}/resend", "post"): (*_ORDER, OrderAnsweredError, OrderResentError),
}

_SHA256 = "b73552147516142bacb6ef52ef1d458326f505fca9fae04299e7c6e9d437223d"
# Header values are ASCII.
PARAMETERS: dict[str, Any] = {
    "sha256": _SHA256,
    "order": "4f3c2d8e9b7a46d1a0c5e6f70819b2d3",
    "first": 3,
    "second": 7,
    "Passbooth-Application": _SHA256,
    "Passbooth-Status": _SHA256,
    "Content-Digest": "sha-256=:tzVSFHUWFCusturvUvHUWDJvUF/Kn64EKZ58bp1DciM=:",
    "Booth-Certificate": ":MIICqzCCAjGg...:",
    "Signature-Input": 'booth=("@method" "@target-uri" "booth-certificate");created=1795384528;keyid="...";alg="ecdsa-p384-sha384";nonce="...";tag="passbooth"',
    "Signature": "booth=:MEUCIQDx...:",
}
REQUESTS: dict[tuple[str, str], Any] = {
    ("/v1/applications/lookup", "post"): {"number": "DEMO2026000017Q"},
    ("/v1/heartbeats", "post"): {
        "version": 1,
        "booth": "booth-0001",
        "software": "passbooth 0.6, mediapipe 0.10.21, opencv 5.0.0",
        "profile": {"name": "icao", "version": "2026-11"},
        "sent_at": "2026-11-23T12:00:00Z",
        "started_at": "2026-11-23T05:58:12Z",
        "service": {"state": "in_service"},
        "devices": [{"device": "camera", "state": "ready", "since": "2026-11-23T05:58:15Z", "port": "v4l2"}],
        "outbox": {"waiting": 0, "oldest_age_s": None, "bytes": 0, "quota_bytes": 4_000_000_000},
        "certificate_days": 212.4,
        "disk_free_bytes": 81_204_019_200,
        "clock_offset_s": -0.2,
        "tests": {"tested_at": "2026-11-23T02:30:41Z", "passed": 20, "warned": 1},
        "lamps": {"key_left": {"response_pct": 97.5, "drive_pct": 62.0}},
        "days": [
            {
                "day": "2026-11-22",
                "since": "2026-11-22",
                "portraits": 36,
                "visits": {
                    "started": 40,
                    "finished": 34,
                    "cancelled": 3,
                    "timed_out": 1,
                    "handed_to_staff": 2,
                    "overridden": 1,
                },
                "rules": {"pose.yaw": {"failed": 4, "assessed": 36}},
                "lamps": {"key_left": 97.8},
            }
        ],
    },
    ("/status/v1/lookup", "post"): {"token": "mfrggzdfmztwq2lknnwg23tpoa"},
    ("/v1/enrolments", "post"): {
        "token": "83V3Q-0C4ZW-AX1PD-8TJ0A",
        "csr": "-----BEGIN CERTIFICATE REQUEST-----\n...\n-----END CERTIFICATE REQUEST-----\n",
    },
}
ANSWERS: dict[tuple[str, str], Any] = {
    ("/v1/health", "get"): {"status": "ok"},
    ("/v1/ready", "get"): {"status": "ready", "revocation_list": "current"},
    ("/v1/log/consistency", "get"): {"proof": [_SHA256]},
    ("/v1/applications/lookup", "post"): {"state": "filed", "centre": "centre-07", "expires": "2027-01-31"},
    ("/v1/heartbeats", "post"): {"actions": 0, "next_s": 300},
    ("/status/v1/lookup", "post"): {"state": "retake", "reasons": ["eyes"]},
}


def problem_examples() -> dict[str, Any]:
    """Every problem, by its code, for the document's components."""
    kinds = {error.code: error for problems in (_ANYWHERE, *_PROBLEMS.values()) for error in problems}
    return {code: {"summary": kinds[code].title, "value": problem_body(kinds[code]())} for code in sorted(kinds)}


def examples_of(path: str, method: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The problems of one operation: those of the sender, those of the server."""
    told = sorted({*_ANYWHERE, *_PROBLEMS.get((path, method), ())}, key=lambda error: (error.status, error.code))
    theirs, ours = (
        {
            error.code: {"$ref": f"#/components/examples/{error.code}"}
            for error in told
            if (error.status < 500) is sender
        }
        for sender in (True, False)
    )
    return theirs, ours
