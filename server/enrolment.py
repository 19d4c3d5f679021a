"""How booths get their certificates: enrolment by a one-time token, renewal by the present certificate, and the revocation list.

`POST /v1/enrolments` (a booth without a certificate): type, length, slow body → JSON with exactly `token` and `csr` → a free place → address
not locked → the authority. `POST /v1/certificates` (a booth with one): the signed request as for packets → body against the signed digest → a free place →
nonce used → the authority. Both answer 201 with the certificate and the authorities above it, without the root, in PEM.

Rules: a token that is unknown, used, expired or of another booth gets one answer; it stands in no log, error or address. The certificate request is
judged before the token, so that a bad one says nothing about a token. Wrong tokens make their network wait (crypto/tries.py). The authority works
on a thread of its own, one request after the other; more than `PLACES` at once are told to come back, and who sends slowly has no place yet.
What was issued is logged as booth and serial.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crypto.errors import CryptoError, RequestSignatureError
from crypto.http_signature import check_content
from crypto.revocation import RevocationList
from crypto.tries import Tries
from crypto.trust import common_name, load_trust
from server.addresses import network_of
from server.authority import Authority, open_authority, read_passphrase
from server.authority_index import hex_of
from server.booth_trust import BoothTrust
from server.config import IntakeSettings
from server.errors import (
    CsrRefusedError,
    DigestMismatchError,
    EnrolmentLockedError,
    EnrolmentRefusedError,
    EnrolmentUnavailableError,
    MalformedRequestError,
    RevocationListUnknownError,
    SettingsError,
)
from server.problems import MEDIA_TYPE as PROBLEM_TYPE
from server.receiving import Places, read_small_body
from server.signed_requests import SignedRequests

log = logging.getLogger(__name__)

CHAIN_TYPE = "application/pem-certificate-chain"  # RFC 8555, 9.1
CSR_TYPE = PEM_TYPE = "application/x-pem-file"
LIST_TYPE = "application/pkix-crl"  # RFC 2585, 4.2
# A request for a P-384 certificate has 500 bytes in PEM.
MAX_BODY_BYTES = 8 * 1024
BODY_S = 10.0
PLACES = 8
RETRY_AFTER_S = 5
WRONG_TOKENS_ALLOWED = 5
LOCKOUT_S = 60.0
# A booth asks once an hour; whoever asks more often may be given what a proxy kept.
LIST_KEPT_S = 60
LIST_LOOK_S = 3600.0


class Issuer(Protocol):
    """The authority as the intake uses it; blocking. Raises the `EnrolmentError` family."""

    def issue_for_token(self, token: str, csr_pem: bytes) -> bytes:
        """The certificate chain in PEM for a token that is thereby used up."""
        ...

    def renew(self, booth: str, csr_pem: bytes, current_serial: int) -> bytes:
        """The certificate chain in PEM for a booth that proved its present certificate."""
        ...

    def crl(self) -> bytes:
        """The revocation list; a new one, also in its file, when half of the present one's life is over."""
        ...


class EnrolmentRequest(BaseModel):
    """What a booth without a certificate sends."""

    # pydantic's cache of texts would keep the token for as long as the program runs.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, cache_strings="keys")

    token: str = Field(
        min_length=1,
        max_length=64,
        repr=False,
        description="The one-time token, as it was told.",
        examples=["7Q2MX-0B4TD-9KXVN-3HC5E"],
    )
    csr: str = Field(
        min_length=1, max_length=6_000, description="PKCS#10 certificate request in PEM; its common name is the booth."
    )


class Enrolment:
    """The work behind the routes. Use `open_enrolment`."""

    def __init__(self, issuer: Issuer | None, thread: ThreadPoolExecutor, clock: Callable[[], float]) -> None:
        self._issuer, self._thread = issuer, thread
        self._tries = Tries(allowed=WRONG_TOKENS_ALLOWED, lockout_s=LOCKOUT_S, clock=clock)
        self._places = Places(PLACES, RETRY_AFTER_S)
        self._renewals = Places(PLACES, RETRY_AFTER_S)  # whom strangers with wrong tokens do not crowd out

    async def enrol(self, request: Request) -> bytes:
        """The first certificate of a booth. Raises the `ServerError` family."""
        issuer = self._require_issuer()
        network = network_of(request.client.host if request.client else "")
        asked = _read_enrolment(await read_small_body(request, "application/json", MAX_BODY_BYTES, BODY_S))
        with self._places.taken():
            if wait_s := self._tries.begin(network):
                raise EnrolmentLockedError("Too many wrong enrolment tokens.", retry_after_s=wait_s)
            try:
                chain = await self._on_thread(issuer.issue_for_token, asked.token, asked.csr.encode())
            except EnrolmentRefusedError:
                log.warning("An enrolment token was refused.", extra={"code": EnrolmentRefusedError.code})
                raise
            except CsrRefusedError:
                raise  # counts as a try, so that hostile requests are few
            except BaseException:
                self._tries.take_back(network)
                raise
            self._tries.right(network)
        _tell_issued("A booth was enrolled.", chain)
        return chain

    async def renew(self, request: Request, signed: SignedRequests) -> bytes:
        """The next certificate of a booth that signs with its present one. Raises the `ServerError` family."""
        verified = await signed.verify(request)
        issuer = self._require_issuer()
        body = await read_small_body(request, CSR_TYPE, MAX_BODY_BYTES, BODY_S)
        try:
            check_content(verified, len(body), hashlib.sha256(body).hexdigest())
        except RequestSignatureError as error:
            raise DigestMismatchError("The bytes that arrived are not those that were signed.") from error
        with self._renewals.taken():
            await signed.use_nonce(verified)
            chain = await self._on_thread(issuer.renew, verified.booth_id, body, verified.certificate.serial_number)
        _tell_issued("A booth's certificate was renewed.", chain)
        return chain

    async def keep_list(self, issuer: Issuer) -> None:
        """Has the revocation list issued anew in time, again and again; ends when cancelled."""
        while True:
            try:
                await self._on_thread(issuer.crl)
            except Exception:
                log.exception("The revocation list could not be kept fresh; it is tried again.")
            await asyncio.sleep(LIST_LOOK_S)

    def _require_issuer(self) -> Issuer:
        if self._issuer is None:
            raise EnrolmentUnavailableError(
                "This intake issues no certificates: enrol at the one that does.", retry_after_s=3600
            )
        return self._issuer

    async def _on_thread(self, work: Callable[..., bytes], *arguments: object) -> bytes:
        """Blocking work; when the sender goes away it is finished all the same, so that the place is not free before the thread is."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):  # its outcome is for a sender who is gone
                await running
            raise
        except (EnrolmentUnavailableError, SettingsError) as error:
            # What the authority says names its folder: that is for the log.
            raise EnrolmentUnavailableError("The authority cannot be used just now.") from error


@contextlib.asynccontextmanager
async def open_enrolment(
    issuer: Issuer | None, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[Enrolment]:
    """Enrolment with its thread, which ends with it."""
    with ThreadPoolExecutor(1, thread_name_prefix="authority") as thread:
        enrolment = Enrolment(issuer, thread, clock)
        if issuer is None:
            yield enrolment
            return
        keeping = asyncio.create_task(enrolment.keep_list(issuer), name="revocation-list")
        try:
            yield enrolment
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping


def open_issuer(settings: IntakeSettings) -> Authority | None:
    """The authority of the settings, blocking; None when this intake enrols nobody. Raises `SettingsError`."""
    folder, secret = settings.issuer_dir, settings.issuer_passphrase_file
    if folder is None:
        return None
    try:
        authority = open_authority(folder, None if secret is None else read_passphrase(secret))
        if authority.certificate not in load_trust(settings.trust).roots:
            raise SettingsError(
                f"{settings.trust} does not hold the root of {folder}: booths enrolled here would be refused."
            )
    except (CryptoError, EnrolmentUnavailableError) as error:
        raise SettingsError(str(error)) from error
    return authority


def make_enrolment_routes(enrolment: Enrolment, trust: BoothTrust, signed: SignedRequests) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/v1")

    @api.post(
        "/enrolments",
        response_class=Response,
        status_code=HTTPStatus.CREATED,
        responses=_answers(CHAIN_TYPE, 201, 400, 403, 408, 411, 413, 415, 429, 503),
        openapi_extra=_body("application/json", EnrolmentRequest.model_json_schema()),
    )
    async def enrol(request: Request) -> Response:
        """Give a booth its first certificate for a one-time token. Not signed: the booth has no certificate yet."""
        return _chain_response(await enrolment.enrol(request))

    @api.post(
        "/certificates",
        response_class=Response,
        status_code=HTTPStatus.CREATED,
        responses=_answers(CHAIN_TYPE, 201, 400, 401, 403, 408, 411, 413, 415, 422, 503),
        openapi_extra=_body(
            CSR_TYPE, {"type": "string", "description": "PKCS#10 in PEM; its common name is the booth."}
        ),
    )
    async def renew(request: Request) -> Response:
        """Give a booth its next certificate. The request is signed with the present one (RFC 9421)."""
        return _chain_response(await enrolment.renew(request, signed))

    @api.get("/crl", response_class=Response, responses=_answers(LIST_TYPE, 200, 404))
    async def revocation_list() -> Response:
        """Give the certificate revocation list in use (RFC 5280): DER; in PEM with their issuers when there are several."""
        lists = await trust.lists()
        if not lists:
            raise RevocationListUnknownError("This intake has no revocation list.")
        headers = {"Cache-Control": f"max-age={LIST_KEPT_S}", "X-Content-Type-Options": "nosniff"}
        if len(lists) == 1:
            return Response(lists[0].der, HTTPStatus.OK, headers, LIST_TYPE)
        return Response(b"".join(map(_list_pem, lists)), HTTPStatus.OK, headers, PEM_TYPE)

    return api


def _read_enrolment(body: bytes) -> EnrolmentRequest:
    try:
        return EnrolmentRequest.model_validate_json(body)
    except ValidationError:
        # Without its cause: that would hold what was sent.
        raise MalformedRequestError("Send JSON with exactly two texts: token and csr.") from None


def _tell_issued(what: str, chain: bytes) -> None:
    """The line of the audit log: which booth, which certificate."""
    leaf = x509.load_pem_x509_certificates(chain)[0]
    log.info(what, extra={"booth": common_name(leaf), "serial": hex_of(leaf.serial_number)})


def _list_pem(one: RevocationList) -> bytes:
    pem = serialization.Encoding.PEM
    return one.issuer.public_bytes(pem) + x509.load_der_x509_crl(one.der).public_bytes(pem)


def _chain_response(chain: bytes) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(chain, HTTPStatus.CREATED, headers, CHAIN_TYPE)


def _answers(kind: str, success: int, *refusals: int) -> dict[int | str, dict[str, Any]]:
    """The answers of a route for its description."""
    binary = {"type": "string", "format": "binary"}
    answers: dict[int | str, dict[str, Any]] = {
        status: {"description": HTTPStatus(status).phrase, "content": {PROBLEM_TYPE: {}}} for status in refusals
    }
    return {success: {"description": HTTPStatus(success).phrase, "content": {kind: {"schema": binary}}}} | answers


def _body(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {kind: {"schema": schema}}}}
