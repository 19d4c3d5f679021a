"""A process of simulated booths: reads one order (JSON) from standard input, answers with JSON lines.

`steady`: signs every request beforehand, tells {"ready": true}, waits for a line, then sends each share of packets over one kept connection and
tells when each request began and how long it took. `rough`: each booth is a thread that sends its packets until each has a verified receipt, whatever
becomes of the intakes: to one or to all of them, whole or in pieces, with cuts; it keeps every receipt that it ever got.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import random
import socket
import ssl
import struct
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crypto.http_signature import sign_request
from crypto.keys import FileSigner, TrustStore, load_trust
from crypto.receipt import verify_receipt
from tests.bench.load_fleet import Fleet

KIND = "application/vnd.passbooth.packet"
PART = "application/partial-upload"
ANSWER_S = 60.0
# What a simulated booth waits at most before it comes back, whatever Retry-After says: the load is the point.
PATIENCE_S = 1.0
LOST = (OSError, http.client.HTTPException)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Line:
    """One kept HTTPS connection, opened anew when it was lost."""

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        self.url, self._context = url, context
        self._connection: http.client.HTTPSConnection | None = None

    def _open(self) -> http.client.HTTPSConnection:
        if self._connection is None:
            at = urlsplit(self.url)
            made = http.client.HTTPSConnection(str(at.hostname), at.port, timeout=ANSWER_S, context=self._context)
            made.connect()
            made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection = made
        return self._connection

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Answer:
        """Send and read the answer. Raises what `LOST` names."""
        connection = self._open()
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            found = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        except LOST:
            self.close()
            raise
        if answer.will_close:
            self.close()
        return found

    def cut(self, path: str, headers: dict[str, str], body: bytes, after: int) -> None:
        """Send a PUT's head and so many bytes of its body, then break the connection, as a pulled cable does."""
        connection = self._open()
        with contextlib.suppress(*LOST):
            connection.putrequest("PUT", path)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            connection.send(body[:after])
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass
class RoughBooth:
    """One booth that sends its packets through bad weather."""

    name: str
    packets: list[bytes]
    signer: FileSigner
    trust: TrustStore
    urls: list[str]
    context: ssl.SSLContext
    chance: random.Random
    end_at: float
    receipts: list[tuple[str, bytes]] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    lines: dict[str, Line] = field(default_factory=dict)

    def run(self) -> None:
        """All packets, each until it has its receipt."""
        try:
            for packet in self.packets:
                self._deliver(packet)
        except BaseException as error:  # noqa: BLE001 - told to the observer, who counts it as wrong
            self.told[f"wrong: {type(error).__name__}: {error}"] += 1
        for line in self.lines.values():
            line.close()

    def _deliver(self, packet: bytes) -> None:
        sha256 = digest(packet)
        way = self.chance.choices(("plain", "twice", "cut", "pieces"), (4, 2, 2, 2))[0]
        self.told[way] += 1
        if way == "twice":
            twin = threading.Thread(target=self._twin, args=(packet,))
            twin.start()
            self._until_receipted(packet, sha256)
            twin.join()
            self._until_receipted(packet, sha256)  # and once more, at any of them: the same receipt
            return
        if way in {"cut", "pieces"}:
            url = self.chance.choice(self.urls)
            more = {"Upload-Complete": "?1", "Upload-Length": str(len(packet))} if way == "pieces" else {}
            with contextlib.suppress(*LOST):
                path = f"/v1/packets/{sha256}"
                sent = {"Content-Type": KIND} | more
                signed = sent | sign_request("PUT", url + path, sent, packet, self.signer)
                self._line(url).cut(path, signed, packet, self.chance.randrange(1, len(packet)))
            if way == "pieces" and self._resume(packet, sha256):
                return
        self._until_receipted(packet, sha256)

    def _twin(self, packet: bytes) -> None:
        """The same packet at the same moment, over a connection of its own."""
        other = RoughBooth(
            *(self.name, [], self.signer, self.trust, self.urls[::-1], self.context, random.Random(0), self.end_at)
        )
        try:
            other._until_receipted(packet, digest(packet))
        except BaseException as error:  # noqa: BLE001 - told to the observer
            other.told[f"wrong: {type(error).__name__}: {error}"] += 1
        for line in other.lines.values():
            line.close()
        self.receipts += other.receipts
        self.told += other.told

    def _resume(self, packet: bytes, sha256: str) -> bool:
        """Go on where the upload stands, at any of the intakes; False when there is nothing to go on with."""
        path = f"/v1/packets/{sha256}"
        while time.monotonic() < self.end_at:
            url = self.chance.choice(self.urls)
            try:
                head = self._line(url).ask("HEAD", path, sign_request("HEAD", url + path, {}, b"", self.signer))
                if head.status in {200, 404}:
                    return False
                if head.status != 204:
                    self._wait(head)
                    continue
                at = int(head.headers["upload-offset"])
                sent = {"Content-Type": PART, "Upload-Complete": "?1", "Upload-Offset": str(at)}
                signed = sent | sign_request("PATCH", url + path, sent, packet[at:], self.signer)
                answer = self._line(url).ask("PATCH", path, signed, packet[at:])
            except LOST:
                self._wait(None)
                continue
            if answer.status in {200, 201}:
                self._keep(answer, sha256)
                self.told["resumed"] += 1
                return True
            self._wait(answer)
        raise TimeoutError("an upload was not done in time")

    def _until_receipted(self, packet: bytes, sha256: str) -> None:
        path = f"/v1/packets/{sha256}"
        while time.monotonic() < self.end_at:
            url = self.chance.choice(self.urls)
            sent = {"Content-Type": KIND}
            try:
                signed = sent | sign_request("PUT", url + path, sent, packet, self.signer)
                answer = self._line(url).ask("PUT", path, signed, packet)
            except LOST:
                self._wait(None)
                continue
            if answer.status in {200, 201}:
                self._keep(answer, sha256)
                return
            self._wait(answer)
        raise TimeoutError("a packet was not delivered in time")

    def _keep(self, answer: Answer, sha256: str) -> None:
        verify_receipt(answer.body, self.trust, sha256)
        self.receipts.append((sha256, answer.body))
        self.told[str(answer.status)] += 1

    def _wait(self, answer: Answer | None) -> None:
        """Come back a little later; an answer that a booth must not get is wrong."""
        if answer is None:
            self.told["lost"] += 1
        else:
            self.told[str(answer.status)] += 1
            if answer.status < 500 and answer.status not in {409, 429}:
                raise AssertionError(f"{answer.status}: {answer.body.decode(errors='replace')[:300]}")
        time.sleep(self.chance.uniform(0.02, PATIENCE_S))

    def _line(self, url: str) -> Line:
        return self.lines.setdefault(url, Line(url, self.context))


def rough_booths(
    fleet: Fleet, names: list[str], urls: list[str], context: ssl.SSLContext, seed: int, seconds: float
) -> list[RoughBooth]:
    """Booths that try for so many seconds from now on."""
    trust, end_at = load_trust(fleet.pki / "ca.pem"), time.monotonic() + seconds
    return [
        RoughBooth(
            name,
            [path.read_bytes() for path in fleet.packets(name)],
            fleet.signer(name),
            trust,
            urls,
            context,
            random.Random(f"{seed}-{name}"),
            end_at,
        )
        for name in names
    ]


def rough(order: dict[str, Any], fleet: Fleet, context: ssl.SSLContext) -> None:
    """All booths of the order at once."""
    booths = rough_booths(fleet, order["booths"], order["urls"], context, order["seed"], order["seconds"])
    tell(ready=True)
    sys.stdin.readline()
    threads = [threading.Thread(target=booth.run) for booth in booths]
    for thread in threads:
        thread.start()
    left = len(threads)
    for thread in threads:
        thread.join()
        left -= 1
        tell(left=left)
    told: Counter[str] = Counter()
    with Path(order["receipts"]).open("w", encoding="ascii") as file:
        for booth in booths:
            told += booth.told
            file.writelines(json.dumps([sha256, receipt.decode()]) + "\n" for sha256, receipt in booth.receipts)
    tell(done=True, told=dict(told))


def steady(order: dict[str, Any], fleet: Fleet, context: ssl.SSLContext) -> None:
    """Each share over one connection of its own."""
    url = order["url"]
    signers: dict[str, FileSigner] = {}
    shares: list[list[tuple[str, dict[str, str], bytes]]] = []
    for share in order["shares"]:
        requests = []
        for name in share:
            booth = name.rpartition("-")[0]
            signer = signers.setdefault(booth, fleet.signer(booth))
            body = (fleet.folder / "packets" / name).read_bytes()
            path, sent = f"/v1/packets/{digest(body)}", {"Content-Type": KIND}
            requests.append((path, sent | sign_request("PUT", url + path, sent, body, signer), body))
        shares.append(requests)
    spans: list[tuple[float, float, int]] = []

    def send(requests: list[tuple[str, dict[str, str], bytes]], line: Line) -> None:
        for path, headers, body in requests:
            began = time.monotonic()
            answer = line.ask("PUT", path, headers, body)
            spans.append((began, time.monotonic(), answer.status))
        line.close()

    lines = [Line(url, context) for _ in shares]
    for line in lines:
        line.ask("GET", "/v1/health", {})  # the handshake is no part of an upload
    threads = [threading.Thread(target=send, args=pair) for pair in zip(shares, lines, strict=True)]
    tell(ready=True)
    sys.stdin.readline()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tell(done=True, spans=spans)


def tell(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def main() -> None:
    order = json.loads(sys.stdin.readline())
    fleet = Fleet(Path(order["folder"]))
    context = ssl.create_default_context(cafile=str(fleet.pki / "ca.pem"))
    {"rough": rough, "steady": steady}[order["do"]](order, fleet, context)


if __name__ == "__main__":
    main()
