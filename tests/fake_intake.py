"""An intake behind httpx's seam: checks what a booth signed and gives real receipts, or answers as it is told. For tests without a process.

Packets: PUT, HEAD, PATCH and GET of the receipt, as docs/intake-api.md has them; revocation list; centres; applications; consistency proofs. Anything else is 404.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from crypto.http_signature import verify_request
from crypto.keys import Signer, load_trust, open_signer
from crypto.seal import MEDIA_TYPE
from tests.receipts import ReceiptPad

PARTIAL_TYPE = "application/partial-upload"


class FakeIntake(httpx2.MockTransport):
    """What came, what was answered, and what is to be answered next."""

    def __init__(self, pki: Path) -> None:
        super().__init__(self)
        self.trust = load_trust(pki / "ca.pem")
        self.pad = ReceiptPad(open_signer(f"file:{pki / 'intake.key'}"))
        self.answers: list[httpx2.Response | Exception | None] = []  # one per upload; None for the receipt
        self.received: list[bytes] = []  # each upload's body, refused ones too
        self.partial: dict[str, bytes] = {}  # by digest
        self.stored: set[str] = set()
        self.came = asyncio.Event()  # a packet was taken
        self.date: float | None = None  # what its clock shows
        self.revocation_list: bytes | None = None
        self.centres = (pki / "centres.pem").read_bytes()
        self.applications: dict[str, str] | None = None  # state by number; None: there is no registry

    @property
    def signer(self) -> Signer:
        """Whose key signs receipts."""
        return self.pad.signer

    @signer.setter
    def signer(self, signer: Signer) -> None:
        self.pad = ReceiptPad(signer)

    def receipt(self, sha256: str) -> bytes:
        return self.pad.give(sha256)

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if path == "/v1/crl" and self.revocation_list is not None:
            return httpx2.Response(200, content=self.revocation_list)
        if path == "/v1/centres":
            return httpx2.Response(200, content=self.centres)
        if path == "/v1/applications/lookup" and self.applications is not None:
            return await self._look_up(request, self.applications)
        if path == "/v1/log/consistency":
            return httpx2.Response(200, json=self.pad.consistency(dict(request.url.params)))
        if not path.startswith("/v1/packets/"):
            return httpx2.Response(404)
        body = await request.aread()
        verify_request(request.method, str(request.url), request.headers, body, self.trust, datetime.now(UTC))
        sha256 = path.split("/")[3]
        if request.method == "HEAD":
            return self._progress(sha256)
        if request.method == "GET":
            known = sha256 in self.stored
            return httpx2.Response(200, content=self.receipt(sha256)) if known else httpx2.Response(404)
        return self._upload(request, sha256, body)

    async def _look_up(self, request: httpx2.Request, applications: dict[str, str]) -> httpx2.Response:
        body = await request.aread()
        verify_request(request.method, str(request.url), request.headers, body, self.trust, datetime.now(UTC))
        state = applications.get(json.loads(body)["number"], "unknown")
        if state in {"filed", "retake"}:
            return httpx2.Response(200, json={"state": state, "centre": "centre-north", "expires": "2099-12-31"})
        problem = {"code": f"application.{state}", "detail": "…", "retry": False}
        return httpx2.Response(404, json=problem, headers={"Content-Type": "application/problem+json"})

    def _progress(self, sha256: str) -> httpx2.Response:
        if sha256 in self.stored:
            return httpx2.Response(200, headers={"Upload-Complete": "?1"})
        if sha256 not in self.partial:
            return httpx2.Response(404)
        return httpx2.Response(204, headers={"Upload-Complete": "?0", "Upload-Offset": str(len(self.partial[sha256]))})

    def _upload(self, request: httpx2.Request, sha256: str, body: bytes) -> httpx2.Response:
        whole = request.method == "PUT"
        assert request.headers["content-type"] == (MEDIA_TYPE if whole else PARTIAL_TYPE)
        self.received.append(body)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer
        packet = body if whole else self.partial[sha256] + body
        assert hashlib.sha256(packet).hexdigest() == sha256
        self.partial.pop(sha256, None)
        status = 200 if sha256 in self.stored else 201
        self.stored.add(sha256)
        self.came.set()
        date = {} if self.date is None else {"Date": _http_date(self.date)}
        return httpx2.Response(status, content=self.receipt(sha256), headers=date)


def _http_date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
