"""What an intake answers, read as hostile: bounded in size, problems (RFC 9457), the time it shows, its TLS.

Shared by everything in the booth that talks to an intake: deliveries, revocation lists, enrolment. No answer is told with its cause too.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx2

from booth.errors import (
    BoothError,
    BoothRevokedError,
    ConfigInvalidError,
    IntakeAnswerError,
    IntakeClockError,
    IntakeRefusedError,
    IntakeUnreachableError,
    SoftwareRefusedError,
    UplinkError,
)

# Not found, method not allowed, length required, media type: about the address, whoever answers there (RFC 9110, 15.5).
ADDRESS_STATUS = frozenset({404, 405, 411, 415})
# Unauthorized, too many requests, service unavailable: about the booth or the intake, whatever the packet is.
SHARED_STATUS = frozenset({401, 429, 503})
PROBLEM_CODE = re.compile(r"[a-z][a-z0-9_.]{0,79}", re.ASCII)
MAX_DETAIL = 300
CUT_OFF = "the connection ended before the answer was there; see to the network and whatever stands between"


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that is no success. Code and detail are empty when it is no problem of an intake."""

    status: int
    code: str
    detail: str
    final: bool  # the intake says that the same will not succeed later
    asked_s: float | None  # Retry-After

    @property
    def said(self) -> str:
        """The answer in words."""
        return f"The intake answered {self.status}" + (f" {self.code}: {self.detail}" if self.code else "")


async def read_bounded(response: httpx2.Response, max_bytes: int) -> bytes:
    """The body of a streamed answer. Raises IntakeAnswerError."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > max_bytes:
            raise IntakeAnswerError("The intake's answer is longer than any answer of an intake; is the address right?")
    return bytes(body)


def read_problem(status: int, headers: Mapping[str, str], body: bytes) -> Problem:
    """What an answer that is no success says."""
    problem: dict[str, object] = {}
    if headers.get("content-type", "").startswith("application/problem+json"):
        with contextlib.suppress(ValueError, RecursionError):  # an answer nested without end is as good as none
            value = json.loads(body)
            problem = value if isinstance(value, dict) else {}
    after = headers.get("retry-after", "")
    return Problem(
        status,
        _problem_code(problem.get("code")),
        _plain(problem.get("detail")),
        problem.get("retry") is False,
        float(after) if after.isascii() and after.isdecimal() else None,
    )


def delivery_error(problem: Problem, skew_s: float | None) -> BoothError:
    """The error for a packet that was not taken; the rules stand in booth.uplink."""
    status, code, said, asked_s = problem.status, problem.code, problem.said, problem.asked_s
    if code == BoothRevokedError.code:
        return BoothRevokedError(
            "The intake refuses this booth: its certificate was revoked. Enrol the booth again; packets wait."
        )
    if code == SoftwareRefusedError.code:
        return SoftwareRefusedError(
            f"The intake takes nothing from this version of the booth's software: {problem.detail} Packets wait."
        )
    if code == "signature.expired":
        return IntakeClockError(
            f"The intake refuses this booth's requests: {clock_difference(skew_s)} Packets wait.", asked_s
        )
    if status in SHARED_STATUS:
        return IntakeUnreachableError(f"{said}; packets wait.", asked_s)
    if 400 <= status < 500 and problem.final and code.startswith("packet."):
        return IntakeRefusedError(f"The intake refuses the packet for good: {problem.detail} ({code})", code)
    if status in ADDRESS_STATUS or (400 <= status < 500 and problem.final and code.startswith("request.")):
        return IntakeUnreachableError(f"{said}; is the address in [intake] url right? Packets wait.", asked_s)
    return IntakeAnswerError(f"{said}; the packet waits.", asked_s)


def read_skew_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """The intake's clock minus ours, by its Date header; None without a date, or with one that no clock shows."""
    try:
        return parsedate_to_datetime(headers["date"]).timestamp() - now_s
    except (KeyError, ValueError, OverflowError):
        return None


def clock_difference(skew_s: float | None) -> str:
    """How far the two clocks are apart, and what to do."""
    if skew_s is None:
        return "its clock and the booth's differ. Set the booth's clock (NTP)."
    way = "behind" if skew_s > 0 else "ahead of"
    return f"the booth's clock is {abs(skew_s) / 60:.0f} minutes {way} the intake's. Set the booth's clock (NTP)."


def why_unanswered(error: Exception) -> str:
    """Why a request got no answer: what the operator can see to. Nothing in it was written by whoever is at the other end."""
    if isinstance(error, UplinkError):
        return str(error).rstrip(".?")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = cause.verify_message.rstrip(".")
            return f"its TLS certificate is not accepted: {why}; see to intake.trust, intake.url and the clock"
        if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return CUT_OFF
        if isinstance(cause, ssl.SSLError):
            return "what listens there does not speak TLS as an intake does; see to intake.url"
        if isinstance(cause, socket.gaierror):
            return "its name is not known here; see to intake.url and the network"
        if isinstance(cause, ConnectionRefusedError):
            return "nothing listens there; see to intake.url, and whether the intake runs"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return "it was silent for too long; see to the network, and whether the intake is overloaded"
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        return "its address cannot be used; see to intake.url"
    if isinstance(error, httpx2.ReadError | httpx2.WriteError | httpx2.CloseError | httpx2.RemoteProtocolError):
        return CUT_OFF
    if isinstance(error, httpx2.DecodingError | httpx2.TooManyRedirects):
        return "what answers there answers as no intake does; see to intake.url"
    return "no connection comes about; see to the network"


def trusting(path: Path) -> ssl.SSLContext:
    """TLS that trusts the given roots alone. Raises ConfigInvalidError."""
    wanted = "the certificate of the authority that the intake's TLS leads to (PEM, usually named ca.pem)"
    try:
        return ssl.create_default_context(cafile=str(path))
    except FileNotFoundError as error:
        raise ConfigInvalidError(
            f"intake.trust: there is no file {path}: put {wanted} there, or correct the path."
        ) from error
    except ssl.SSLError as error:
        raise ConfigInvalidError(f"intake.trust: {path} holds no certificate: put {wanted} there.") from error
    except OSError as error:
        raise ConfigInvalidError(
            f"intake.trust: {path} cannot be read ({error.strerror}): let the booth's user read it, or correct the path."
        ) from error


def _problem_code(value: object) -> str:
    """A problem's code, empty when it is none."""
    return value if isinstance(value, str) and PROBLEM_CODE.fullmatch(value) else ""


def _plain(value: object) -> str:
    """A stranger's text, fit for a log line and a database."""
    text = value[:MAX_DETAIL] if isinstance(value, str) else ""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
