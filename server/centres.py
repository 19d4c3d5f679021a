"""`GET /v1/centres`: the certificates of the centres whose slips count, for booths that verify slips offline.

The bundle is a file of the authority (`centres.pem`), read again when it changes, at most once a second. It is told to anybody as it is, once it reads as
certificates and nothing else: a booth believes none of it before a path to its own trust root is verified. A file that cannot be used changes
nothing: what was told before is told on, and the log says so once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from fastapi import APIRouter, Response

from crypto.certificate import PARSE_ERRORS, pem_blocks, read_certificate
from crypto.errors import CertificateRefusedError
from crypto.key_folder import read_file
from crypto.trust import MAX_CENTRES_BYTES
from server.errors import CentresUnknownError

log = logging.getLogger(__name__)

UNUSABLE = "The centres' certificates cannot be used; what was told before is told on."
BUNDLE_TYPE = "application/x-pem-file"
LOOK_S = 1.0
KEPT_S = 60  # a booth asks once an hour; whoever asks more often may be given what a proxy kept


class CentreBundle:
    """What is told; `path` None: nothing."""

    def __init__(self, path: Path | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path, self._monotonic = path, monotonic
        self._seen: object = None
        self._told: int | None = None  # why the disk did not give it, in the log already
        self._pem: bytes | None = None
        self._look_at = monotonic()

    async def current(self) -> bytes:
        """The bundle in PEM. Raises CentresUnknownError while there is none."""
        if self._path is not None and self._monotonic() >= self._look_at:
            self._look_at = self._monotonic() + LOOK_S
            await asyncio.to_thread(self._look, self._path)
        if self._pem is None:
            raise CentresUnknownError("This intake knows no centres.")
        return self._pem

    def _look(self, path: Path) -> None:
        try:
            found = path.stat()
            seen = found.st_ino, found.st_mtime_ns, found.st_size
            if seen == self._seen:
                return
            pem = _read(path)
        except FileNotFoundError:
            return  # no centre has a certificate yet, or an older bundle is told on
        except OSError as error:  # the disk, or a right that is missing: looked at again, told once
            if self._told != error.errno:
                self._told = error.errno
                log.exception(UNUSABLE)
        except (*PARSE_ERRORS, CertificateRefusedError):
            self._seen = seen
            log.exception(UNUSABLE)
        else:
            self._seen, self._pem, self._told = seen, pem, None


def _read(path: Path) -> bytes:
    data = read_file(path, MAX_CENTRES_BYTES)
    if len(data) > MAX_CENTRES_BYTES:
        raise CertificateRefusedError(f"The centres' certificates are more than {MAX_CENTRES_BYTES} bytes.")
    told = []
    for label, der in pem_blocks(data):
        if label != b"CERTIFICATE":
            raise CertificateRefusedError("A file of centres' certificates holds something else too.")
        told.append(read_certificate(der).public_bytes(serialization.Encoding.PEM))
    return b"".join(told)


def make_centre_routes(bundle: CentreBundle) -> APIRouter:
    """The route."""
    api = APIRouter(prefix="/v1")

    @api.get(
        "/centres",
        response_class=Response,
        responses={200: {"description": "PEM.", "content": {BUNDLE_TYPE: {"schema": {"type": "string"}}}}},
    )
    async def centres() -> Response:
        """Give the certificates of the centres whose slips count, to anybody: PEM, empty when there are none."""
        headers = {"Cache-Control": f"max-age={KEPT_S}", "X-Content-Type-Options": "nosniff"}
        return Response(await bundle.current(), HTTPStatus.OK, headers, BUNDLE_TYPE)

    return api
