"""Who signed a request (RFC 9421), judged before a byte of its body is read; the same for packets and for renewals.

A booth whose certificate was revoked is told so, with what to do, but only when its signature holds: nobody else learns it, and the log's line
(booth and serial number, nothing else) cannot be forged. Any other fault of certificate or signature has one answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from fastapi import Request

from crypto.errors import CryptoError, RequestClockError, RequestRevokedError
from crypto.http_signature import WINDOW_S, VerifiedRequest, verify_request_head
from crypto.trust import Purpose
from server.authority_index import hex_of
from server.booth_trust import BoothTrust
from server.errors import BoothRevokedError, SignatureExpiredError, SignatureInvalidError, SignatureMissingError
from server.store import Nonce, Store

log = logging.getLogger(__name__)

# A signature is taken up to WINDOW_S after its making, so a nonce needs remembering no longer; one second for rounding.
NONCE_LIFE = timedelta(seconds=WINDOW_S + 1)


class SignedRequests:
    """Verifies requests against the trust of now."""

    def __init__(
        self,
        trust: BoothTrust,
        store: Store,
        public_url: str | None,
        now: Callable[[], datetime],
        purpose: Purpose = Purpose.BOOTH,
    ) -> None:
        self._trust, self._store, self._public_url, self._now, self._purpose = trust, store, public_url, now, purpose

    async def verify(self, request: Request) -> VerifiedRequest:
        """The sender by the request's head. Raises the `SignatureMissingError` family and `BoothRevokedError`."""
        if "signature" not in request.headers or "signature-input" not in request.headers:
            raise SignatureMissingError("Sign the request (RFC 9421) with the booth's key.")
        trust = await self._trust.current()
        try:
            target = self._target(request)
            # In a thread: the curve's arithmetic takes half a millisecond, in which the loop goes on.
            return await asyncio.to_thread(
                verify_request_head, request.method, target, request.headers, trust, self._now(), self._purpose
            )
        except RequestRevokedError as error:
            told = {self._purpose.value: error.booth_id, "serial": hex_of(error.serial)}
            log.warning("A revoked %s was refused.", self._purpose.value, extra=told)
            raise BoothRevokedError(
                "The certificate of this booth was revoked by its authority: enrol the booth again. Nothing that it holds is lost."
            ) from error
        except RequestClockError as error:
            raise SignatureExpiredError("The signature is too old or from the future: set the clock.") from error
        except CryptoError as error:
            log.info("A request signature was refused.", exc_info=error)
            raise SignatureInvalidError(
                "The signature of the request does not hold: check the key, its certificate and what is signed."
            ) from error

    def nonce(self, verified: VerifiedRequest) -> Nonce:
        """What is remembered so that the request counts once."""
        return Nonce(verified.booth_id, verified.nonce, verified.created + NONCE_LIFE)

    async def use_nonce(self, verified: VerifiedRequest) -> None:
        """Uses the request up. Raises `ReplayedRequestError`, `StorageError`."""
        await self._store.use_nonce(self.nonce(verified))

    def _target(self, request: Request) -> str:
        """The address that the booth signed."""
        base = self._public_url or f"{request.url.scheme}://{request.headers.get('host', '')}"
        query = request.scope["query_string"].decode("latin-1")
        return f"{base.rstrip('/')}{request.scope['raw_path'].decode('latin-1')}" + (f"?{query}" if query else "")
