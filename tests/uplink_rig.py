"""The intake's side of the wire for tests of the uplink, and the two clocks that it goes by."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx2

from crypto.http_signature import verify_request
from crypto.keys import load_trust, open_signer
from crypto.seal import MEDIA_TYPE
from tests.receipts import ReceiptPad

NOW = datetime.now(UTC).timestamp()
PACKETS = [b"sealed one", b"sealed two", b"sealed three"]


class Intake:
    """The intake's side of the wire: checks the signature, then answers as told."""

    def __init__(self, pki):
        self.trust = load_trust(pki / "ca.pem")
        self.signer = open_signer(f"file:{pki / 'intake.key'}")
        self.answers = []  # one per request: a response, an exception, or None for a receipt
        self.received = []
        self.stored = set()
        self.date = NOW

    def receipt(self, sha256):
        return ReceiptPad(self.signer).give(sha256)

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread()
        verify_request(request.method, str(request.url), request.headers, body, self.trust, datetime.now(UTC))
        assert request.headers["content-type"] == MEDIA_TYPE
        sha256 = request.url.path.rsplit("/", 1)[1]
        self.received.append(body)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer
        status = 200 if sha256 in self.stored else 201
        self.stored.add(sha256)
        date = datetime.fromtimestamp(self.date, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        return httpx2.Response(status, content=self.receipt(sha256), headers={"Date": date})


def problem(status, code, *, retry, **headers):
    return httpx2.Response(
        status,
        json={"code": code, "detail": "Told by the intake.", "retry": retry},
        headers={"content-type": "application/problem+json", **headers},
    )


class Clocks:
    """The wall clock and the monotonic one; time passes on both, settings change one."""

    def __init__(self):
        self.wall, self.steady = NOW, 5_000.0

    def pass_s(self, seconds):
        self.wall += seconds
        self.steady += seconds


async def deliver_all(uplink, outbox, clocks, limit_s):
    """Takes turns until nothing waits or `limit_s` have passed; returns the seconds that passed."""
    start = clocks.steady
    while outbox.status.waiting and clocks.steady - start < limit_s:
        clocks.pass_s(await uplink._turn() or 0.5)
    return clocks.steady - start
