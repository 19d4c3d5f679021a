"""Every door of the house as a running program: the kiosk's pages, the intake, the desk. For tests and benches that throw requests at them."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import select
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from tests.kiosk_door import CANARY
from tests.made_stores import make_store
from tests.sealed_packets import Keys

PROJECT = Path(__file__).resolve().parents[1]
READY_S = 60.0
# What no answer may hold: our places and files, our libraries and their versions, the shape of a failure.
REVEALING = re.compile(
    rb"Traceback|File \"|\.py\b|site-packages|/(?:home|root|work|tmp|usr|opt|var|etc)/|"
    rb"uvicorn|starlette|fastapi|pydantic|sqlalchemy|h11[._]|websockets/|asyncio|cpython|python/?3|openssl|"
    rb"(?:Error|Exception): |0x[0-9a-f]{8}",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Door:
    """One running program that takes requests."""

    name: str
    url: str
    log: Path
    process: subprocess.Popen[bytes]
    trust: Path | None = None
    ready: dict[str, Any] = field(default_factory=dict)

    @property
    def port(self) -> int:
        """Where it listens on loopback."""
        return int(urlsplit(self.url).port or 0)

    def context(self) -> ssl.SSLContext | None:
        """The client's side of TLS; None where the door has none."""
        return None if self.trust is None else ssl.create_default_context(cafile=str(self.trust))

    def told(self) -> str:
        """What it has logged."""
        return self.log.read_text("utf-8", "replace")

    def resident_kib(self) -> int:
        """Its memory now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))  # type: ignore[union-attr] # Linux tells it for every process


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: a killed run leaves no door open


@contextlib.contextmanager
def open_kiosk(folder: Path) -> Iterator[Door]:
    """The kiosk's pages with a booth that only shows."""
    with _started("kiosk", ["-m", "tests.kiosk_door"], folder) as door:
        yield door


@contextlib.contextmanager
def open_server(
    command: str, keys: Keys, folder: Path, *, data: Path | None = None, **environment: str
) -> Iterator[Door]:
    """The intake (`serve`) or the desk (`desk`), which finds an empty store, or what is in `data`."""
    place = data or folder / command
    if command == "desk" and data is None:
        make_store(place)
    options = ["--data", str(place), "--pki", str(keys.folder), "--port", "0", "--json-ready"]
    with _started(
        command, ["-m", "server.cli", command, *options], folder, keys.folder / "ca.pem", environment
    ) as door:
        yield door


@contextlib.contextmanager
def _started(
    name: str, arguments: list[str], folder: Path, trust: Path | None = None, environment: dict[str, str] | None = None
) -> Iterator[Door]:
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=sink,
            env=os.environ | (environment or {}),
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call into the kernel, which takes no lock
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline() if select.select([process.stdout], [], [], READY_S)[0] else b""
        if not line:
            raise RuntimeError(f"{name} did not start:\n{log.read_text('utf-8', 'replace')[-2000:]}")
        ready = json.loads(line)
        yield Door(name, ready["url"].rstrip("/"), log, process, trust, ready)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def page_token(door: Door) -> str:
    """The token in the kiosk's page."""
    page = httpx2.get(f"{door.url}/", trust_env=False)
    return re.search(r'name="kiosk-token" content="([^"]+)"', page.text).group(1)  # type: ignore[union-attr] # it is always there


def reveals(body: bytes) -> str | None:
    """What an answer tells that it should not; None when it tells nothing."""
    found = REVEALING.search(body) or re.search(CANARY.encode(), body)
    return None if found is None else found.group(0).decode("latin-1")
