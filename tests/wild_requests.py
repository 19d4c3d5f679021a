"""Requests that nobody sends by accident: raw garbage, smuggling shapes, floods, slow pieces, wrong methods, mutated signatures, broken WebSockets.

PURE, but for the signatures: a request follows from its number and the seed. Every request carries `ECHO`, which no answer may repeat.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.sealed_packets import Keys, digest

ECHO = "echo31337x"
METHODS = (
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "HEAD",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "get",
    "G\0T",
    "A" * 300,
    "",
)
PATHS = {
    "kiosk": (
        "/",
        "/technician",
        "/technician/",
        "/api/messages/de",
        "/api/technician",
        "/api/technician/session",
        "/api/technician/session/end",
        "/api/visit/start",
        "/api/visit/identify",
        "/api/visit/portrait",
        "/api/visit/staff",
        "/api/visit/status-code",
        "/api/voice/de",
        "/voice/" + "a" * 64,
        "/api/pages",
        "/api/preview",
        "/api/openapi.json",
        "/static/kiosk.js",
    ),
    "serve": (
        "/v1/packets/" + "a" * 64,
        "/v1/packets/" + "a" * 64 + "/receipt",
        "/v1/enrolments",
        "/v1/certificates",
        "/v1/crl",
        "/v1/centres",
        "/v1/staff",
        "/v1/applications/lookup",
        "/v1/heartbeats",
        "/status",
        "/status/v1/lookup",
        "/status/status.js",
        "/v1/log/head",
        "/v1/log/consistency?first=0&second=0",
        "/v1/health",
        "/v1/openapi.json",
    ),
    "desk": (
        "/",
        "/login",
        "/logout",
        "/packets/" + "a" * 64,
        "/packets/" + "a" * 64 + "/portrait.jpg",
        "/api/packets",
        "/api/packets/" + "a" * 64 + "/parts/report.json",
        "/static/desk.css",
    ),
}
BODIES = (
    b"",
    b"{}",
    b"[" * 3000,
    b'{"number": "' + ECHO.encode() + b'"}',
    b'{"token": "' + b"a" * 26 + b'"}',
    b'{"code": "' + b"1" * 18 + b'", "reason_class": "' + ECHO.encode() + b'", "action": "end"}',
    b'{"passphrase": "' + ECHO.encode() * 5 + b'"}',
    b'{"token": "AAAAA-AAAAA-AAAAA-AAAAA", "csr": "' + ECHO.encode() + b'"}',
    b'{"a": 1e999999, "b": -0, "a": NaN}',
    b"\xff\xfe" + ECHO.encode(),
    b"code=" + ECHO.encode() + b"&csrf_token=x&next=//evil.example",
    b"1" * 5000,
)
TYPES = (
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/vnd.passbooth.packet",
    "x",
)


@dataclass(frozen=True)
class Wild:
    """One request as it goes over the wire: its kind, its pieces, whether an answer is due although the sender stays."""

    kind: str
    pieces: tuple[bytes, ...]
    due: bool = False
    raw: bool = False  # before TLS, where the door has it


@dataclass(frozen=True)
class Target:
    """What a sender knows of a door."""

    name: str
    host: str
    token: str = ""
    keys: Keys | None = None


def wild_request(target: Target, seed: int, number: int) -> Wild:
    """The request of that number."""
    dice = random.Random(f"{seed}/{target.name}/{number}")
    kinds = KINDS + (SIGNED if target.keys else ()) + (SOCKETS if target.name == "kiosk" else ())
    return dice.choice(kinds)(dice, target)


def _head(target: Target, method: str, path: str, *lines: str, close: bool = True) -> bytes:
    fixed = [f"Host: {target.host}", *(["Connection: close"] if close else [])]
    if target.token:
        fixed += [f"X-Kiosk-Token: {target.token}", "X-Kiosk-Seen: review 8f4a2c61"]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *fixed, *lines, "", ""]).encode("latin-1", "replace")


def _path(dice: random.Random, target: Target) -> str:
    return dice.choice(PATHS[target.name])


def _garbage(dice: random.Random, target: Target) -> Wild:
    data = dice.randbytes(dice.choice((1, 7, 64, 900, 20_000)))
    if dice.random() < 0.3:
        data = (
            dice.choice((b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\r\n\r\n", b"\0" * 50))
            + data
        )
    return Wild("garbage", (data,), raw=dice.random() < 0.5)


def _mutated(dice: random.Random, target: Target) -> Wild:
    body = dice.choice(BODIES)
    whole = bytearray(
        _head(
            target,
            dice.choice(("GET", "POST", "PUT")),
            _path(dice, target),
            f"X-Note: {ECHO}",
            f"Content-Length: {len(body)}",
        )
        + body
    )
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(whole))
        change = dice.randrange(4)
        if change == 0:
            whole[at] = dice.randrange(256)
        elif change == 1:
            whole[at:at] = dice.choice((b"\0", b"\r\n", b"\n", b" ", b"\t", b"\xff", b":", b"%00"))
        elif change == 2:
            del whole[at : at + dice.randint(1, 9)]
        else:
            whole[at:at] = whole[at : at + 40]
        if not whole:
            break
    return Wild("mutated", (bytes(whole),))


def _smuggling(dice: random.Random, target: Target) -> Wild:
    inner = _head(target, "GET", f"/{ECHO}")
    chunk = f"{len(inner):x}\r\n".encode() + inner + b"\r\n0\r\n\r\n"
    shapes: tuple[tuple[tuple[str, ...], bytes], ...] = (
        ((f"Content-Length: {len(inner)}", "Transfer-Encoding: chunked"), chunk),
        (("Content-Length: 4", "Transfer-Encoding: chunked"), b"0\r\n\r\n" + inner),
        (("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), chunk),
        (("Transfer-Encoding: xchunked",), chunk),
        (("Transfer-Encoding:\tchunked",), chunk),
        (("Transfer-Encoding : chunked",), chunk),
        (("Transfer-Encoding: gzip, chunked",), chunk),
        (("X: y\r\n Transfer-Encoding: chunked",), chunk),
        (("Content-Length: 0", f"Content-Length: {len(inner)}"), inner),
        ((f"Content-Length: 0, {len(inner)}",), inner),
        (("Content-Length: +5",), inner),
        (("Content-Length: -1",), inner),
        (("Content-Length: 0x10",), inner),
        ((f"Content-Length: {10**30}",), inner),
        (("Content-Length: 5\nX-Bare: lf",), inner),
        (("Transfer-Encoding: chunked",), b"fffffffffffffffff\r\n" + inner),
        (("Transfer-Encoding: chunked",), b"-5\r\n" + inner),
        (("Transfer-Encoding: chunked",), b"5;" + b"e" * 70_000 + b"\r\nhello\r\n0\r\n\r\n"),
        (("Transfer-Encoding: chunked",), b"3\nabc\n0\n\n" + inner),
        (("Transfer-Encoding: chunked",), b"0\r\nTrailer: " + ECHO.encode() + b"\r\n" * 3 + inner),
        ((f"Host: {ECHO}.example",), b""),
        (("Expect: 100-continue", f"Content-Length: {len(inner)}"), inner),
        (("Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__", "Connection: Upgrade, HTTP2-Settings"), b""),
    )
    lines, body = dice.choice(shapes)
    method, path = dice.choice(("GET", "POST", "PUT")), _path(dice, target)
    if dice.random() < 0.2:
        path = f"http://{target.host}{path}"
    return Wild("smuggling", (_head(target, method, path, *lines, close=dice.random() < 0.5) + body,))


def _flood(dice: random.Random, target: Target) -> Wild:
    shape = dice.randrange(5)
    if shape == 0:
        lines = [f"X-{number}: {ECHO}" for number in range(dice.choice((100, 1000, 5000)))]
    elif shape == 1:
        lines = [f"X-Long: {ECHO * dice.choice((100, 3000, 20_000))}"]
    elif shape == 2:
        lines = ["Cookie: " + "; ".join(f"a{number}={ECHO}" for number in range(2000))]
    elif shape == 3:
        lines = [f"{'N' * dice.choice((100, 40_000))}: x"]
    else:
        return Wild(
            "flood",
            (_head(target, "GET", f"{_path(dice, target)}?{'&'.join([f'a={ECHO}'] * dice.choice((10, 3000)))}"),),
        )
    return Wild("flood", (_head(target, "GET", _path(dice, target), *lines),))


def _slow(dice: random.Random, target: Target) -> Wild:
    body = dice.choice(BODIES)
    whole = (
        _head(target, "POST", _path(dice, target), "Content-Type: application/json", f"Content-Length: {len(body)}")
        + body
    )
    cuts = sorted(dice.randrange(len(whole)) for _ in range(dice.randint(1, 5)))
    pieces = tuple(whole[low:high] for low, high in zip([0, *cuts], [*cuts, len(whole)], strict=True))
    # Some never finish.
    return Wild("slow", pieces if dice.random() < 0.5 else pieces[: dice.randint(1, len(pieces))])


def _method(dice: random.Random, target: Target) -> Wild:
    method = dice.choice(METHODS)
    due = method.isalpha() and method not in {"HEAD", "CONNECT"} and len(method) < 20
    return Wild("method", (_head(target, method, _path(dice, target), "Content-Length: 0"),), due=due)


def _address(dice: random.Random, target: Target) -> Wild:
    parts = (
        "..",
        "%2e%2e",
        "%00",
        "\\",
        ";",
        "//",
        "%c0%ae",
        "%252e",
        "etc/passwd",
        ECHO,
        "~",
        "a" * 3000,
        "\xe9",
        "?",
        "#",
        "web.py",
        "%ff",
        "[",
        "*",
    )
    path = _path(dice, target) + "/" + "/".join(dice.choice(parts) for _ in range(dice.randint(1, 6)))
    return Wild("address", (_head(target, dice.choice(("GET", "POST")), path, "Content-Length: 0"),), due=True)


def _body(dice: random.Random, target: Target) -> Wild:
    body = dice.choice(BODIES)
    if dice.random() < 0.5:
        body = json.dumps(
            {dice.choice(("number", "language", "answer", "passphrase", "event", ECHO)): _value(dice)}
        ).encode()
    lines = [f"Content-Type: {dice.choice(TYPES)}", f"Content-Length: {len(body)}"]
    if dice.random() < 0.3:
        lines.append(
            dice.choice(
                (
                    f"Origin: https://{ECHO}.example",
                    f"Referer: {ECHO}",
                    f"Cookie: passbooth_technician={ECHO}",
                    "Origin: null",
                )
            )
        )
    return Wild("body", (_head(target, dice.choice(("POST", "PUT")), _path(dice, target), *lines) + body,), due=True)


def _value(dice: random.Random) -> object:
    return dice.choice((None, True, 7, -1e308, ECHO, ECHO * 300, [], [[]], {ECHO: ECHO}, "\ud800", "\u202e", 10**400))


def _signed(dice: random.Random, target: Target) -> Wild:
    assert target.keys is not None
    body = dice.choice(BODIES)
    method, path = dice.choice(
        (
            ("PUT", f"/v1/packets/{digest(body)}"),
            ("PUT", "/v1/packets/" + "b" * 64),
            ("PATCH", f"/v1/packets/{digest(body)}"),
            ("HEAD", f"/v1/packets/{digest(body)}"),
            ("GET", f"/v1/packets/{digest(body)}/receipt"),
            ("POST", "/v1/certificates"),
        )
    )
    if method in {"HEAD", "GET"}:
        body = b""
    url = f"https://{target.host}{path}"
    headers = target.keys.headers(method, url, body, nonce=f"{dice.getrandbits(128):032x}")
    if dice.random() < 0.5:
        headers |= {
            "Upload-Complete": dice.choice(("?0", "?1", ECHO)),
            "Upload-Offset": dice.choice(("0", "-1", "9" * 40, ECHO)),
            "Upload-Length": dice.choice(("5", "0", "9" * 40)),
        }
    change = dice.randrange(7)
    if change == 0:
        name = dice.choice(sorted(headers))
        value = list(headers[name])
        value[dice.randrange(len(value))] = dice.choice('"();,=:?*\t é\x7f0')
        headers[name] = "".join(value)
    elif change == 1:
        headers.pop(dice.choice(sorted(headers)))
    elif change == 2:
        name = dice.choice(sorted(headers))
        headers[name] += ", " + headers[name]
    elif change == 3:
        body += b"x"
    elif change == 4:
        path = path[:-1] + dice.choice("0c/%?")
    elif change == 5:
        method = dice.choice(("PUT", "PATCH", "GET", "POST", "DELETE"))
    lines = [f"{name}: {value}" for name, value in headers.items()]
    return Wild(
        "signed", (_head(target, method, path, *lines, f"Content-Length: {len(body)}") + body,), due=method != "HEAD"
    )


def _socket(dice: random.Random, target: Target) -> Wild:
    lines = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Origin": f"http://{target.host}",
    }
    if dice.random() < 0.5:
        lines[dice.choice(sorted(lines))] = dice.choice(
            ("", ECHO, "13, 13", "dGVzdA==", "\xe9", "https://evil.example", "a" * 4000)
        )
    frames = b"".join(_frame(dice) for _ in range(dice.randint(0, 5)))
    head = _head(
        target,
        "GET",
        dice.choice(("/api/preview", "/api/preview", "/api/events", "/")),
        *(f"{n}: {v}" for n, v in lines.items()),
        close=False,
    )
    return Wild("websocket", (head, frames) if frames else (head,))


def _frame(dice: random.Random) -> bytes:
    payload = dice.choice(
        (b"ready", b"", ECHO.encode() * dice.choice((1, 300)), dice.randbytes(30), b"\x03\xe8", b"\xff\xff")
    )
    first = dice.choice((0x81, 0x82, 0x80, 0x01, 0x88, 0x89, 0x8A, 0xF1, 0x83, dice.randrange(256)))
    masked = dice.random() < 0.8
    length = len(payload) if dice.random() < 0.8 else dice.choice((0, 125, 2**16, 2**63))
    size = (
        bytes([length])
        if length < 126
        else b"\x7e" + length.to_bytes(2, "big")
        if length < 2**16
        else b"\x7f" + length.to_bytes(8, "big")
    )
    if masked:
        mask = dice.randbytes(4)
        size = bytes([size[0] | 0x80]) + size[1:] + mask
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([first]) + size + payload


Make = Callable[[random.Random, Target], Wild]
KINDS: tuple[Make, ...] = (_garbage, _mutated, _smuggling, _flood, _slow, _method, _address, _body)
SIGNED: tuple[Make, ...] = (_signed, _signed)
SOCKETS: tuple[Make, ...] = (_socket, _socket)
