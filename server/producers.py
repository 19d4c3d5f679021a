"""Who makes the documents: one folder for each producer, read anew whenever it is asked, so that a new key needs no restart.

    producers/<name>/ca.pem        roots of his certificate (purpose "producer", common name <name>), his own trust file; for the intake
    producers/<name>/ca.crl        their revocation list, when there is one
    producers/<name>/*.hpke.pub    1 to 8 public keys that messages are sealed for: the present one, and the next while two overlap; for the desk

Each producer is judged by his own roots alone: nobody's authority can name another producer. A request is judged in this order: signed at all → the
producer's name as its certificate has it, which proves nothing yet → his folder → signature, path and clock against his roots (server/signed_requests.py)
→ nonce, used up by every request, so that none counts twice.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from fastapi import Request

from crypto.errors import CryptoError
from crypto.http_signature import VerifiedRequest, claimed_sender
from crypto.keys import RecipientPublicKey, TrustStore, load_recipient_public_key
from crypto.package import MAX_RECIPIENTS
from crypto.trust import Purpose
from server.booth_trust import BoothTrust
from server.errors import (
    BoothRevokedError,
    SettingsError,
    SignatureInvalidError,
    SignatureMissingError,
)
from server.handover_errors import HandOverUnavailableError, ProducerUnknownError
from server.signed_requests import SignedRequests
from server.store import Store

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,63}")
KEYS = "*.hpke.pub"
_NOBODY = "The request is not signed by a producer that this intake hands over to."


def producer_names(folder: Path | None) -> list[str]:
    """The producers that there are, by name. Blocks."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(one.name for one in folder.iterdir() if NAME.fullmatch(one.name) and one.is_dir())


def keys_of(folder: Path | None, name: str) -> list[RecipientPublicKey]:
    """The keys that messages for a producer are sealed for. Blocks. Raises `HandOverUnavailableError`."""
    files = [] if folder is None or name not in producer_names(folder) else sorted((folder / name).glob(KEYS))
    if not 1 <= len(files) <= MAX_RECIPIENTS:
        raise HandOverUnavailableError(
            f"The folder of producer {name} must hold 1 to {MAX_RECIPIENTS} public keys ({KEYS})."
        )
    try:
        keys = {key.key_id: key for key in map(load_recipient_public_key, files)}
    except CryptoError as error:
        raise HandOverUnavailableError(str(error)) from error
    return list(keys.values())


class ProducerRequests:
    """Verifies the requests of producers."""

    def __init__(self, folder: Path | None, store: Store, public_url: str | None, now: Callable[[], datetime]) -> None:
        self._folder, self._store, self._public_url, self._now = folder, store, public_url, now
        self._trusts: dict[tuple[str, Path | None], BoothTrust] = {}

    async def verify(self, request: Request) -> tuple[str, VerifiedRequest]:
        """The producer, and what his request is signed for; it is used up. Raises the `SignatureMissingError` family, `ProducerUnknownError`."""
        if "signature" not in request.headers or "signature-input" not in request.headers:
            raise SignatureMissingError("Sign the request (RFC 9421) with the producer's key.")
        try:
            name = claimed_sender(request.headers)
        except CryptoError as error:
            raise SignatureInvalidError("The request carries no certificate that can be read.") from error
        trust = await self._trust(name)
        signed = SignedRequests(trust, self._store, self._public_url, self._now, Purpose.PRODUCER)
        try:
            verified = await signed.verify(request)
        except BoothRevokedError as error:
            raise ProducerUnknownError("The certificate of this producer was revoked by its authority.") from error
        await signed.use_nonce(verified)
        return name, verified

    async def trust(self, name: str) -> TrustStore:
        """What signatures of a producer lead to. Raises `ProducerUnknownError`."""
        return await (await self._trust(name)).current()

    async def _trust(self, name: str) -> BoothTrust:
        if name not in await asyncio.to_thread(producer_names, self._folder):
            raise ProducerUnknownError(_NOBODY)
        assert self._folder is not None
        roots, listed = self._folder / name / "ca.pem", self._folder / name / "ca.crl"
        # A list that was there is asked for as long as the process runs: a file that is gone for a moment makes nobody good again (server/booth_trust.py).
        crl = listed if (name, listed) in self._trusts or await asyncio.to_thread(listed.is_file) else None
        if (name, crl) not in self._trusts:
            try:
                self._trusts[name, crl] = await asyncio.to_thread(BoothTrust, roots, crl)
            except SettingsError as error:
                raise HandOverUnavailableError(str(error)) from error
        return self._trusts[name, crl]
