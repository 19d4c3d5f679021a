"""`booth demo --visit`: one visit of the rendered sitter through the kiosk's own HTTP and WebSocket interfaces, checked at the desk.

Order of operations: the sitter sits down, wakes the booth, picks a language, holds the code to the camera, accepts the notice, follows the
guidance until the booth takes the picture, looks at the review, accepts; the booth seals, shows the reference and clears; the uplink delivers;
the desk opens the packet. The visit counts only if the desk verified signature and chain and holds exactly the portrait that the kiosk showed
and exactly the findings that it listed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import re
import ssl
import struct
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import websockets

from booth.demo import Demo, DemoError
from booth.messages import Messages

STEP_S = 60.0  # far above what a step takes (told in the table); reached only when something is wrong
OPENED = "opened"
MARK = ".passbooth-demo"  # a folder of results, which the next demo may replace
ORIGINALS = {"package.zip": "package.zip", "package.cms": "cms"}  # file name: the desk's address
LOOK_AWAY_S = 2.0  # long enough for an instruction to change
PREVIEW_HEADER = struct.Struct(">q")  # at_ns, then the JPEG bytes


@dataclass
class Step:
    """One line of the table of steps."""

    name: str
    seconds: float
    detail: str


@dataclass
class VisitOutcome:
    """What the visit showed; `faults` is empty only if the desk opened exactly what the booth captured."""

    steps: list[Step] = field(default_factory=list)
    instructions: list[str] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)
    compliant: bool = False
    reference: str = ""
    packet_sha256: str = ""
    preview_frames: int = 0
    faults: list[str] = field(default_factory=list)


class Kiosk:
    """The applicant's hands and eyes: the kiosk's states by SSE, its commands by POST, its preview by WebSocket."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self._url = url
        self._client = client
        self._token = ""
        self._changed = asyncio.Condition()
        self.state: dict[str, Any] = {}
        self.instructions: list[str] = []
        self.preview_frames = 0

    @contextlib.asynccontextmanager
    async def open(self, *, preview: bool = True) -> AsyncIterator[None]:
        """Load the page, follow its states and, as a screen would, its preview."""
        page = await self._client.get(self._url)
        page.raise_for_status()
        token = re.search(r'name="kiosk-token"\s+content="([^"]+)"', page.text)
        if token is None:
            raise DemoError("The kiosk page carries no token for its commands.")
        self._token = token.group(1)
        try:
            async with asyncio.TaskGroup() as tasks:
                followers = [tasks.create_task(self._follow_states())]
                if preview:
                    followers.append(tasks.create_task(self._follow_preview()))
                yield
                for follower in followers:
                    follower.cancel()
        except ExceptionGroup as group:
            first = group.exceptions[0]
            if isinstance(first, (httpx2.HTTPError, websockets.WebSocketException, OSError)):
                raise DemoError("The kiosk stopped answering: look at the controller's last lines.") from first
            raise first from None

    async def _follow_states(self) -> None:
        async with self._client.stream("GET", f"{self._url}api/events", timeout=None) as response:
            response.raise_for_status()
            name = ""
            async for line in response.aiter_lines():
                if line.startswith("event:"):
                    name = line.removeprefix("event:").strip()
                elif line.startswith("data:") and name == "state":
                    async with self._changed:
                        self.state = json.loads(line.removeprefix("data:"))
                        self._note_instruction()
                        self._changed.notify_all()

    def _note_instruction(self) -> None:
        key = self.state["instruction"]["key"]
        if self.state["state"] == "framing" and (not self.instructions or self.instructions[-1] != key):
            self.instructions.append(key)

    async def _follow_preview(self) -> None:
        address = self._url.replace("http://", "ws://") + "api/preview"
        async with websockets.connect(
            address, origin=websockets.Origin(self._url.rstrip("/")), max_size=2**22
        ) as socket:
            while True:
                await socket.send("ready")
                message = await socket.recv(decode=False)
                if len(message) > PREVIEW_HEADER.size:
                    self.preview_frames += 1

    async def until(self, *names: str) -> dict[str, Any]:
        """Wait for one of these states. Raises `DemoError` when the visit goes elsewhere for good or nowhere within `STEP_S`."""
        try:
            async with asyncio.timeout(STEP_S), self._changed:
                await self._changed.wait_for(lambda: self.state.get("state") in names)
                return self.state
        except TimeoutError as error:
            raise DemoError(
                f"The kiosk did not reach {' or '.join(names)} within {STEP_S:.0f} s: it shows {self.state.get('state')}, "
                f"instruction {self.state.get('instruction', {}).get('key')}, fault {self.state.get('fault')}."
            ) from error

    async def next_state(self, within_s: float | None = None) -> dict[str, Any]:
        """Wait for the next state, or for `within_s`; returns the state now."""
        async with self._changed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), within_s)
            return self.state

    async def post(self, event: str, **body: object) -> None:
        """Press a button of the screen that is shown."""
        seen = f"{self.state.get('state')} {self.state.get('visit') or '-'}"
        answer = await self._client.post(
            f"{self._url}api/visit/{event}",
            json=body,
            headers={"X-Kiosk-Token": self._token, "X-Kiosk-Seen": seen, "Origin": self._url.rstrip("/")},
        )
        if answer.status_code >= 400:
            raise DemoError(
                f"The kiosk refused {event} in state {self.state.get('state')}: HTTP {answer.status_code} {answer.text[:200]}"
            )

    async def portrait(self) -> bytes:
        """The portrait under review, as the page shows it."""
        answer = await self._client.get(f"{self._url}api/visit/portrait")
        answer.raise_for_status()
        return answer.content

    async def log_in(self, passphrase: str) -> None:
        """Open a technician's session; its cookie stays with the client."""
        answer = await self._client.post(
            f"{self._url}api/technician/session",
            json={"passphrase": passphrase},
            headers={"X-Kiosk-Token": self._token, "Origin": self._url.rstrip("/")},
        )
        if answer.status_code >= 400:
            raise DemoError(f"The technician's page refused the passphrase: HTTP {answer.status_code}.")

    async def technician(self) -> dict[str, Any]:
        """The technician's status, in a technician's session."""
        answer = await self._client.get(f"{self._url}api/technician")
        answer.raise_for_status()
        status: dict[str, Any] = answer.json()
        return status


class Desk:
    """The officer's browser."""

    def __init__(self, url: str, name: str, password: str, client: httpx2.AsyncClient) -> None:
        self._url = url.rstrip("/")
        self._person = {"name": name, "password": password}
        self._client = client

    async def log_in(self) -> None:
        """Open a session with name and password."""
        page = await self._client.get(f"{self._url}/login")
        token = re.search(r'name="csrf_token"\s+value="([^"]+)"', page.text)
        form = self._person | ({"csrf_token": token.group(1)} if token else {})
        answer = await self._client.post(f"{self._url}/login", data=form, headers={"Origin": self._url})
        if answer.status_code >= 400:
            raise DemoError(f"The desk refused name and password: HTTP {answer.status_code}.")

    async def get(self, path: str) -> httpx2.Response:
        """One answer of the desk."""
        answer = await self._client.get(f"{self._url}{path}")
        answer.raise_for_status()
        return answer

    async def packet_with(self, reference: str) -> dict[str, Any]:
        """The received packet whose id begins with the reference; waits for the uplink up to `STEP_S`."""
        wanted = reference.replace("-", "").lower()
        deadline = time.monotonic() + STEP_S
        while time.monotonic() < deadline:
            packets = (await self.get("/api/packets")).json()["packets"]
            for packet in packets:
                if str(packet.get("packet_id", "")).lower().startswith(wanted):
                    found: dict[str, Any] = packet
                    return found
            await asyncio.sleep(0.1)
        raise DemoError(f"The desk did not receive a packet with reference {reference} within {STEP_S:.0f} s.")


async def make_visit(demo: Demo, keep: Path | None, tell: Callable[[Step], None]) -> VisitOutcome:
    """Make one visit; `tell` hears every step as it is done. Raises `DemoError` when the visit gets stuck."""
    outcome = VisitOutcome()
    begun = time.monotonic()

    def done(name: str, detail: str = "") -> None:
        nonlocal begun
        now = time.monotonic()
        step = Step(name, now - begun, detail)
        begun = now
        outcome.steps.append(step)
        tell(step)

    trusted = ssl.create_default_context(cafile=str(demo.trust))
    async with (
        httpx2.AsyncClient(timeout=20.0) as loopback,
        httpx2.AsyncClient(verify=trusted, timeout=20.0, follow_redirects=True) as secure,
    ):
        kiosk = Kiosk(demo.kiosk_url, loopback)
        async with kiosk.open():
            await kiosk.log_in(demo.passphrase)
            await _until_reviewed(demo, kiosk, outcome, done)
            portrait = await kiosk.portrait()
            outcome.findings = kiosk.state["findings"]
            outcome.compliant = bool(kiosk.state["compliant"])
            done("review", f"{len(outcome.findings)} rules, portrait {len(portrait) / 1000:.0f} kB")
            await kiosk.post("accept")
            thanks = await kiosk.until("thanks")
            outcome.reference = thanks["reference"]
            done("sealed", f"committed to the outbox; reference {outcome.reference}")
            await demo.sitter.tell(sitter="absent")
            desk = Desk(demo.desk_url, demo.desk_user, demo.desk_password, secure)
            await desk.log_in()
            listed = await desk.packet_with(outcome.reference)
            outcome.packet_sha256 = listed["sha256"]
            done("delivered", f"packet {listed['sha256'][:12]}… received by the intake")
            await _until_receipted(kiosk)
            done("receipted", "receipt verified and stored; the booth's copy is deleted")
            done("status", await _ask_status(thanks["status_url"], secure, outcome))
            await _compare(demo, desk, listed, portrait, outcome, keep)
            done(
                "opened at the desk",
                "signature, chain and every part verified" if not outcome.faults else "; ".join(outcome.faults),
            )
            if kiosk.state["state"] == "thanks":
                await kiosk.post("cancel")
            await kiosk.until("attract")
            done("cleared", "the booth waits for the next applicant")
        outcome.instructions = kiosk.instructions
        outcome.preview_frames = kiosk.preview_frames
    if not outcome.compliant:
        outcome.faults.append("the portrait is not compliant")
    if outcome.preview_frames == 0:
        outcome.faults.append("no preview frame arrived")
    return outcome


async def _until_reviewed(demo: Demo, kiosk: Kiosk, outcome: VisitOutcome, done: Callable[..., None]) -> None:
    words = Messages.load("en")
    await kiosk.until("attract")
    await demo.sitter.tell(sitter="arrive")
    await kiosk.post("start")
    await kiosk.until("language")
    await kiosk.post("language", language="en")
    await kiosk.until("identify")
    done("start", "language chosen")
    await demo.sitter.tell(sitter="still")
    await demo.sitter.tell(show_code=demo.slips[0].text)
    await kiosk.until("consent")
    await demo.sitter.tell(show_code=None)
    done("identified", "slip read by the camera, its signature verified")
    await kiosk.post("consent", answer=True)
    await kiosk.until("framing")
    done("notice accepted")
    if demo.sitter_moves:
        await _look_away(demo, kiosk, outcome)
    await kiosk.until("capturing", "checking", "review")
    done("guided", " → ".join(words.text(key) for key in kiosk.instructions))
    await kiosk.until("review")
    done("captured and checked", "compliant" if kiosk.state["compliant"] else "not compliant")


async def _look_away(demo: Demo, kiosk: Kiosk, outcome: VisitOutcome) -> None:
    """Look to the side until the booth says so; it must not take the picture meanwhile."""
    await demo.sitter.tell(sitter="look_away")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LOOK_AWAY_S):
            await kiosk.until("capturing", "checking")
            outcome.faults.append("the picture was taken while the sitter looked away")
    await demo.sitter.tell(sitter="still")


async def _until_receipted(kiosk: Kiosk) -> None:
    deadline = time.monotonic() + STEP_S
    while time.monotonic() < deadline:
        status = await kiosk.technician()
        if status["outbox"]["waiting"] == 0 and status["intake"]["last_receipt_at"]:
            return
        await asyncio.sleep(0.1)
    raise DemoError(f"No receipt was stored within {STEP_S:.0f} s.")


async def _ask_status(address: str, secure: httpx2.AsyncClient, outcome: VisitOutcome) -> str:
    """What the applicant's own page tells, asked as its script does."""
    page, _, token = address.partition("#")
    answer = await secure.post(f"{page}/v1/lookup", json={"token": token})
    if answer.status_code != 200 or answer.json() != {"state": "received", "reasons": []}:
        outcome.faults.append("the status page does not know the visit")
        return "unknown"
    return f"{page} tells the applicant: received"


async def _compare(
    demo: Demo, desk: Desk, listed: dict[str, Any], portrait: bytes, outcome: VisitOutcome, keep: Path | None
) -> None:
    """Compare what the desk opened with what the kiosk showed; leave everything in `keep`."""
    address = f"/api/packets/{listed['sha256']}"
    facts = (await desk.get(address)).json()
    parts = {name: (await desk.get(f"{address}/parts/{name}")).content for name in facts["parts"]}
    sealed = (await desk.get(f"{address}/packet")).content
    report = json.loads(parts["report.json"])
    if hashlib.sha256(sealed).hexdigest() != listed["sha256"]:
        outcome.faults.append("the stored packet is not the one that was listed")
    if parts["portrait.jpg"] != portrait:
        outcome.faults.append("the desk's portrait differs from the one under review")
    shown = [(f["rule"], f["verdict"], f["value"]) for f in outcome.findings]
    opened = [(f["rule"], f["verdict"], f["value"]) for f in report["findings"]]
    if shown != opened:
        outcome.faults.append("the desk's report differs from the findings under review")
    if keep is not None:
        original = {name: (await desk.get(f"{address}/{path}")).content for name, path in ORIGINALS.items()}
        await asyncio.to_thread(_keep, keep, demo, sealed, original, parts)


def prepare_keep(folder: Path) -> None:
    """Make the folder for the results, before anything is started.

    Raises `DemoError` when it cannot be written, or holds files and was not made by a demo: those of the same names would be replaced.
    """
    try:
        if folder.is_dir() and not (folder / MARK).is_file() and any(not path.is_dir() for path in folder.rglob("*")):
            raise DemoError(f"The folder {folder} holds files, and no demo made it: name another one, or a new one.")
        (folder / OPENED / "parts").mkdir(parents=True, exist_ok=True)
        for made in (folder, folder / OPENED, folder / OPENED / "parts"):
            made.chmod(0o700)  # the results hold a portrait
        (folder / MARK).write_text("Results of `booth demo --visit --keep`; the next one replaces them.\n", "utf-8")
    except OSError as error:
        raise DemoError(f"The results cannot be kept in {folder}: {error.strerror}. Name another folder.") from error


def _keep(folder: Path, demo: Demo, sealed: bytes, original: dict[str, bytes], parts: dict[str, bytes]) -> None:
    """Leave what `booth packet open` would leave, the packet, and the keys to do it again (the demo's own, worth nothing elsewhere)."""
    with zipfile.ZipFile(io.BytesIO(original["package.zip"])) as package:
        manifest = package.read("manifest.json")
    opened = {f"{OPENED}/parts/{name}": data for name, data in {**parts, "manifest.json": manifest}.items()}
    files = {
        "visit.packet": sealed,
        "portrait.jpg": parts["portrait.jpg"],
        "report.json": parts["report.json"],
        "ca.pem": demo.trust.read_bytes(),
        "desk.hpke": (demo.trust.parent / "desk.hpke").read_bytes(),
        **{f"{OPENED}/{name}": data for name, data in original.items()},
        **opened,
    }
    for old in (folder / OPENED / "parts" / "pad").glob("*"):
        old.unlink()  # an earlier visit may have had more frames
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # pad/ of the attack check
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
