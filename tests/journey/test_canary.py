"""Nothing of a visit is readable on a disk: canaries in what the camera sends, what the screen shows and what is typed, and a search of every byte.

The real programs run: virtual booth, controller, intake, desk, and the kiosk's browser as deploy/ starts it. The controller is killed (SIGKILL)
at every state of a visit (these controllers come from `controller_nursery`), the browser in the middle of a review. Searched are the data folders, the temporary folders, the homes, the logs, support bundles made during visits, and
the browser's profile, for the bytes as they are, in Base64, hexadecimal, UTF-8, -16 and -32, and for pixels in several orders.
Controls: everything that is searched for is found where it is planted, also in the cache of a browser that may keep.
"""

from __future__ import annotations

import asyncio
import base64
import http.server
import io
import json
import os
import re
import secrets
import shutil
import signal
import ssl
import struct
import sys
import tempfile
import threading
import zipfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
import websockets

from booth.config import Config
from booth.control_socket import AskPlain, open_control_line
from booth.demo import DemoError, DemoOptions, running_demo, started
from booth.demo_visit import Desk, Kiosk
from crypto.application import check_character
from tests.canaries import hits, picture_needles, size_of, tee_to, text_needles
from tests.journey.screens import CHROMIUM, CHROMIUM_FLAGS
from tests.kiosk_rig import KioskBrowser

PROJECT = Path(__file__).resolve().parents[2]
STATES = (
    *("language", "identify", "consent", "framing", "capturing", "checking"),
    *("review", "sealing", "thanks", "clearing", "assistance"),
)
SHORT = {"capturing", "checking", "sealing"}  # may be over before a screen has shown them

pytestmark = pytest.mark.timeout(900)


class Screen(Kiosk):
    """A kiosk whose pictures are kept."""

    def __init__(self, url, client):
        super().__init__(url, client)
        self.pictures = []

    async def _follow_preview(self):
        address = self._url.replace("http://", "ws://") + "api/preview"
        async with websockets.connect(
            address, origin=websockets.Origin(self._url.rstrip("/")), max_size=2**22
        ) as socket:
            while True:
                await socket.send("ready")
                message = await socket.recv(decode=False)
                self.preview_frames += 1
                if self.preview_frames % 10 == 1:
                    self.pictures.append(message[struct.calcsize(">q") :])


class Controller:
    """One controller of the nursery."""

    def __init__(self, nursery, log):
        self._nursery, self.log = nursery, log
        self.pid, self.ready = 0, {}

    async def begin(self, config):
        order = json.dumps({"config": str(config), "log": str(self.log)})
        self._nursery.stdin.write(order.encode() + b"\n")
        for _ in range(2):
            facts = await self._next()
            assert "status" not in facts, self.log.read_text()[-2000:]
            self.pid = facts.get("pid", self.pid)
            self.ready = facts if "url" in facts else self.ready

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    async def ended(self):
        """How it ended, as `subprocess` has it."""
        while "status" not in (facts := await self._next()):
            pass
        return facts["status"]

    async def _next(self):
        return json.loads(await asyncio.wait_for(self._nursery.stdout.readline(), 60))


@asynccontextmanager
async def nursery():
    """A process that starts controllers."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROJECT / "tests" / "journey" / "controller_nursery.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )
    try:
        yield program
    finally:
        with suppress(ProcessLookupError):
            program.kill()
        await program.wait()
        program._transport.close()


class Stage:
    """The programs around the controller, a tee on the camera's line, and everything that was seen or typed."""

    def __init__(self, demo, config, tee, roots):
        self.demo, self.config, self.tee, self.roots = demo, config, tee, roots
        self.needles = []
        self.runs = 0
        self._taken = 0

    def saw(self, name, pictures):
        for picture in pictures:
            self._taken += 1
            self.needles += picture_needles(f"{name} {self._taken}", picture)

    def typed(self):
        """An application number of its own."""
        body = f"CNRY{secrets.token_hex(6).upper()}"
        number = body + check_character(body)
        self.needles += text_needles(f"number {number}", number)
        return number

    def told(self, state):
        """What the report says, where it is told exactly enough to be known again."""
        for finding in state.get("findings", ()):
            text = repr(finding["value"])
            if len(text) >= 12:
                self.needles += text_needles(f"{finding['rule']}", text)

    @asynccontextmanager
    async def controller(self):
        """The command itself."""
        self.runs += 1
        arguments = ["booth", "run", "--config", str(self.config), "--json-ready"]
        async with started(f"controller-{self.runs}", arguments, self.demo.data) as program:
            yield program

    async def visit_until(self, kiosk, state, number):
        """Drives a visit to the state, or past it where it is short; returns where it is."""
        sitter = self.demo.sitter
        await kiosk.until("attract")
        await sitter.tell(sitter="still")
        await kiosk.post("start")
        await kiosk.until("language")
        if state == "language":
            return state
        await kiosk.post("language", language="de")
        await kiosk.until("identify")
        if state == "identify":
            return state
        if self.runs % 2:
            await sitter.tell(show_code=number)
        else:
            await kiosk.post("identify", number=number)
        await kiosk.until("consent")
        await sitter.tell(show_code=None)
        if state == "consent":
            return state
        await kiosk.post("consent", answer=True)
        await kiosk.until("framing")
        if state == "framing":
            return state
        if state in {"capturing", "checking"}:
            return (await kiosk.until(state, *STATES[STATES.index(state) :]))["state"]
        await kiosk.until("review")
        self.told(kiosk.state)
        self.saw("portrait", [await kiosk.portrait()])
        if state == "review":
            return state
        if state == "assistance":
            await kiosk.post("help")
            return (await kiosk.until("assistance"))["state"]
        await kiosk.post("accept")
        if state == "sealing":
            return (await kiosk.until("sealing", "thanks"))["state"]
        await kiosk.until("thanks")
        if state == "thanks":
            return state
        await kiosk.post("cancel")
        return (await kiosk.until("clearing"))["state"]


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """Home and temporary folder of every program that the tests start."""
    root = tmp_path_factory.mktemp("homes")
    folders = {"TMPDIR": root / "tmp", "HOME": root / "home", "XDG_CACHE_HOME": root / "home" / "cache"}
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in folders.items():
            folder.mkdir(parents=True)
            patch.setenv(name, str(folder))
        patch.delenv("MPLCONFIGDIR", raising=False)
        patch.setenv("PASSBOOTH_VISIT__ACTIVE_LIGHT", "true")  # its pictures are searched for, too
        patch.chdir(PROJECT)
        tempfile.tempdir = None
        yield root
    tempfile.tempdir = None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(homes):
    folder = homes
    async with running_demo(DemoOptions(data=folder / "demo", browser=False, registry=False)) as demo:
        await demo.programs[-1].stop()
        config = demo.data / "booth.toml"
        settings = config.read_text("utf-8")
        ports = set(re.findall(r"http://127\.0\.0\.1:(\d+)", settings))
        assert len(ports) == 1, "preview and still come from one camera"
        with tee_to(int(ports.pop())) as tee:
            settings = re.sub(r"http://127\.0\.0\.1:\d+", f"http://127.0.0.1:{tee.port}", settings)
            config.write_text(f"{settings}\n[visit]\nburst = 1\n", "utf-8")
            yield Stage(demo, config, tee, (folder,))


def written_elsewhere(pid, roots):
    """Regular files that a process has open for writing outside the roots, or deleted ones: none has a reason to be there."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            target = str(entry.readlink())
            flags = int(re.search(r"flags:\s+(\d+)", Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text())[1], 8)
            writes = flags & (os.O_WRONLY | os.O_RDWR)
            special = target.startswith(("/dev/", "/proc/", "/memfd:")) or not target.startswith("/")
            if writes and not special and ("(deleted)" in target or not any(target.startswith(str(r)) for r in roots)):
                found.append(target)
    return found


async def keep_bundle(stage, state):
    """The support bundle that a technician would get now, unpacked among what is searched."""
    async with open_control_line(Config.load(stage.config).booth.data_dir) as line:
        told = await line.answer(AskPlain(ask="bundle"))
    folder = stage.demo.data / "bundles" / state
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(told["bundle"]))) as bundle:
        assert {"events.txt", "config.json"} <= set(bundle.namelist())
        bundle.extractall(folder)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_controller_that_is_killed_at_any_state_leaves_nothing_readable(stage, homes, record_property):
    killed = {}
    async with httpx2.AsyncClient(timeout=30.0) as client, nursery() as nurse:
        for state in STATES:
            number = stage.typed()
            stage.runs += 1
            program = Controller(nurse, stage.demo.data / "logs" / f"controller-{stage.runs}.log")
            await program.begin(stage.config)
            screen = Screen(program.ready["url"], client)
            try:
                async with screen.open():
                    killed[state] = await stage.visit_until(screen, state, number)
                    if state not in SHORT:
                        await keep_bundle(stage, state)
                    elsewhere = written_elsewhere(program.pid, stage.roots) if os.geteuid() == 0 else []
                    program.kill()
                    await asyncio.Event().wait()  # until the kiosk notices
            except DemoError:
                assert state in killed, program.log.read_text()[-2000:]
                assert await program.ended() == -signal.SIGKILL
            if state == "thanks":
                confirmed = (number, screen.state["reference"])
                stage.needles += text_needles("status token", screen.state["status_url"].partition("#")[2])
            stage.saw(f"screen at {state}", screen.pictures[-2:])
            stage.saw(f"camera at {state}", stage.tee.take()[-3:])
            await stage.demo.sitter.tell(show_code=None)
            assert elsewhere == []
            assert await asyncio.to_thread(hits, stage.needles, *stage.roots) == [], f"killed in {killed[state]}"
        last = Controller(nurse, stage.demo.data / "logs" / "controller-last.log")
        await last.begin(stage.config)  # it delivers what those that were killed had confirmed
        await opened_at_the_desk(stage, *confirmed)
        last.kill()
        await last.ended()
        count, size = size_of(*stage.roots)
        record_property("searched", f"{len(stage.needles)} needles, {count} files, {size / 1e6:.1f} MB")
        print(f"{len(stage.needles)} needles, {count} files, {size / 1e6:.1f} MB; killed in {killed}")
        assert await asyncio.to_thread(hits, stage.needles, *stage.roots) == []
    assert {state: at for state, at in killed.items() if state not in SHORT} == {
        state: state for state in STATES if state not in SHORT
    }
    assert len(stage.needles) > 1000
    names = {path.name for path in homes.rglob("*")}
    assert {"outbox.sqlite3", "intake.sqlite3", "controller-1.log", "desk.log", "intake.log"} <= names
    controls(stage.needles, homes)


async def opened_at_the_desk(stage, number, reference):
    """The desk opens a packet: the officers' side keeps no plaintext either."""
    trusted = ssl.create_default_context(cafile=str(stage.demo.trust))
    async with httpx2.AsyncClient(verify=trusted, timeout=30.0, follow_redirects=True) as secure:
        desk = Desk(stage.demo.desk_url, stage.demo.desk_user, stage.demo.desk_password, secure)
        await desk.log_in()
        packet = await desk.packet_with(reference)
        facts = (await desk.get(f"/api/packets/{packet['sha256']}")).json()
        parts = {
            part: (await desk.get(f"/api/packets/{packet['sha256']}/parts/{part}")).content for part in facts["parts"]
        }
        assert number.encode() in parts["visit.json"]
        stage.saw("chip", [parts["chip.jp2"]])
        for name in ("report.json", "visit.json", "attempts.json", "face.bin"):
            stage.needles += picture_needles(name, parts[name])
        frames = [name for name in parts if name.startswith("pad/")]
        assert len(frames) > 8, "the probe's pictures and its score"
        for name in frames:
            stage.needles += picture_needles(name, parts[name])
            if name.endswith(".jpg"):
                await desk.get(f"/packets/{packet['sha256']}/{name}")
        await desk.get(f"/packets/{packet['sha256']}")
    stage.needles += text_needles("password of the desk", stage.demo.desk_password)


def controls(needles, folder):
    """Every needle is found in the middle of something else; so no search above was blind."""
    planted = folder / "planted" / "deep" / "er"
    planted.mkdir(parents=True)
    assert hits(needles, planted) == []
    for at, needle in enumerate(needles):
        (planted / f"{at}.bin").write_bytes(secrets.token_bytes(1000) + needle.data + secrets.token_bytes(1000))
    found = hits(needles, planted)
    assert {hit.rsplit("/", 1)[1] for hit in found} == {f"{at}.bin" for at in range(len(needles))}
    shutil.rmtree(planted)
    named = folder / "planted" / f"{needles[0].data.decode()}.txt"
    named.touch()
    assert len(hits(needles, folder / "planted")) == 1
    shutil.rmtree(folder / "planted")


# --- the kiosk's browser -------------------------------------------------------------------------------------------------


async def touch_through(page, stage, number, last):
    """A visit by touches, up to the review or to its end."""

    async def shows(state):
        await page.wait_for_selector(f"body[data-state={state}]", timeout=60_000)
        await page.wait_for_timeout(500)  # touches on a new screen count from then on

    await shows("attract")
    await page.click(".start")
    await shows("language")
    await page.click("button[lang=de]")
    await shows("identify")
    await page.keyboard.type(number)
    await page.keyboard.press("Enter")
    await shows("consent")
    while await page.get_attribute("body", "data-state") == "consent":  # in a small window the notice has two parts
        await page.click("#actions .button-primary")
        await page.wait_for_timeout(500)
    await shows("review")
    assert await page.evaluate("() => document.querySelector('.portrait img').decode().then(() => true)")
    if last == "review":
        return
    await page.click("#actions .button-primary")
    await shows("thanks")
    await page.click("#actions .button-primary")
    await shows("attract")
    await page.wait_for_function("() => performance.getEntriesByType('navigation')[0].type === 'reload'")


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="module")
async def test_the_kiosks_browser_keeps_nothing_of_a_visit(stage, homes, kiosk_profile, record_property):
    from playwright.async_api import async_playwright

    async with stage.controller() as program:
        await stage.demo.sitter.tell(sitter="still")
        with tee_to(int(program.ready["url"].rstrip("/").rsplit(":", 1)[1]), every_s=0.3) as shown:
            for last in ("attract", "review"):
                browser = KioskBrowser(kiosk_profile, f"http://127.0.0.1:{shown.port}/")
                try:
                    async with async_playwright() as playwright:
                        remote = await playwright.chromium.connect_over_cdp(await browser.address())
                        assert not (kiosk_profile / "profile" / "left behind").exists(), (
                            "the profile is emptied at each start"
                        )
                        page = remote.contexts[0].pages[0]
                        await touch_through(page, stage, stage.typed(), last)
                        pictures = shown.take()
                        stage.saw("screen", pictures[-4:])
                        stage.saw("screen", pictures[: len(pictures) // 2 : 20])
                        assert hits(stage.needles, kiosk_profile, homes) == []
                        browser.kill()
                        with suppress(Exception):  # it is gone: that is what was wanted
                            await remote.close()
                finally:
                    browser.kill()
                stage.saw("camera", stage.tee.take()[-3:])
                count, size = size_of(kiosk_profile)
                print(f"{len(stage.needles)} needles, profile {count} files, {size / 1e6:.1f} MB")
                record_property(f"profile after {last}", f"{len(stage.needles)} needles, {count} files, {size} bytes")
                assert count > 5, "a profile was searched"
                assert hits(stage.needles, kiosk_profile, homes) == []
                (kiosk_profile / "profile" / "left behind").touch()
    assert len(pictures) > 5, "the screen showed pictures"


@pytest.mark.browser
def test_the_search_finds_what_a_browser_that_may_keep_has_kept(browser, kiosk_profile):
    """The control: the same Chromium without our flags, a picture that may be cached, a number in an address and in storage."""
    picture = (PROJECT / "hardware" / "sim" / "applicants" / "session" / "frame_12.jpg").read_bytes()
    number = "CNRY0123456789ABV"

    class Keeping(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = picture if self.path.startswith("/picture") else b"<!doctype html><img src=/picture><p>x"
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg" if body is picture else "text/html")
            self.send_header("Cache-Control", "max-age=3600")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keeping)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        keeping = browser.browser_type.launch_persistent_context(
            str(kiosk_profile), executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS)
        )
        page = keeping.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/?number={number}")
        page.wait_for_selector("img")
        page.evaluate("() => document.querySelector('img').decode()")
        page.evaluate(f"() => localStorage.setItem('number', '{number}')")
        keeping.close()
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
    found = hits([*picture_needles("picture", picture), *text_needles("number", number)], kiosk_profile)
    assert any("picture" in hit for hit in found), found
    assert any("number" in hit for hit in found), found
