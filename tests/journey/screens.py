"""Pictures of every screen: `python tests/journey/screens.py [--languages en,ar,pseudo] [--only review] [--dark] [--look text,contrast]`.

Serves the pages with a fake booth, opens each state in Chromium in every size and language asked for, and writes
screenshots/<size>/<language>/<screen>.png (a git-ignored folder). It also looks for what a picture hides: text that is cut off, controls
below 80 px, missing texts; each is printed and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from booth.kept_tries import ALLOWED  # noqa: E402
from booth.kiosk import FaultNotice, Instruction, KioskState  # noqa: E402 - after the path is set
from booth.passphrase import make_passphrase, write_passphrase  # noqa: E402
from booth.technician_login import TechnicianDoor  # noqa: E402
from booth.web import open_pages  # noqa: E402
from tests.journey.pseudo import pseudo_catalogue  # noqa: E402
from tests.unit.fake_booth import FakeBooth, findings, kiosk_state, technician_status  # noqa: E402
from tests.unit.fake_technician import FakeTrainer, calibration_view, finished_run, technician_screens  # noqa: E402

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
KIOSK_SIZES = ((1080, 1920), (1920, 1080), (1024, 768))
LOGIN_SIZES = ((1440, 900), (1080, 1920))
APPLICANTS = PROJECT / "hardware" / "sim" / "applicants"
MIN_TARGET_PX = 80
# The choices of access.js as attributes of the page.
LOOKS = {
    "text": ("text", "large"),
    "contrast": ("contrast", "high"),
    "dark": ("scheme", "dark"),
    "reach": ("reach", "low"),
    "calm": ("motion", "calm"),
}

# What a picture cannot tell: boxes whose content does not fit, small controls, empty words. Measured in the page.
INSPECT = """
() => {
  const told = [];
  const onlySpoken = (e) => e !== null && (getComputedStyle(e).clipPath === "inset(50%)" || onlySpoken(e.parentElement));
  const visible = (e) => e.checkVisibility({ visibilityProperty: true }) && !onlySpoken(e);
  for (const e of document.querySelectorAll("#screen, #screen *, #actions *, #ways-out *, #head *, #notice, dialog[open], dialog[open] *")) {
    if (!visible(e) || e.closest("svg")) continue;
    const box = e.getBoundingClientRect();
    const name = e.tagName.toLowerCase() + (e.className ? "." + String(e.className).replaceAll(" ", ".") : "") + (e.id ? "#" + e.id : "");
    if (box.left < -1 || box.top < -1 || box.right > innerWidth + 1 || box.bottom > innerHeight + 1) told.push(`outside the screen: ${name}`);
    const style = getComputedStyle(e);
    const spill = parseFloat(style.fontSize) * 0.3; // ascenders of tight lines
    if (e.clientHeight > 0 && (e.scrollHeight > e.clientHeight + spill || e.scrollWidth > e.clientWidth + 2) && style.display !== "inline")
      told.push(`does not fit: ${name} ${e.scrollWidth}x${e.scrollHeight} in ${e.clientWidth}x${e.clientHeight}`);
    if (e.matches("button, input, a") && (box.width < TARGET - 0.5 || box.height < TARGET - 0.5)) told.push(`small: ${name} ${box.width.toFixed(0)}x${box.height.toFixed(0)}`);
    if (e.matches("h1, h2, p:not(.refusal):not(.lead), button") && e.textContent.trim() === "" && !e.getAttribute("aria-label")) told.push(`empty: ${name}`);
  }
  const parts = ["#head", "#notice", "#screen", "#actions", "#ways-out"].map((s) => document.querySelector(s)).filter((e) => e && visible(e) && e.childNodes.length);
  const leaves = [...document.querySelectorAll("#screen h1, #screen h2, #screen p, #screen li, #screen button, #screen img, #screen booth-preview, #actions button, #ways-out button")].filter(visible);
  for (const a of leaves) for (const b of leaves) {
    if (a === b || a.contains(b) || b.contains(a) || !(a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING)) continue;
    const p = a.getBoundingClientRect(), q = b.getBoundingClientRect();
    const w = Math.min(p.right, q.right) - Math.max(p.left, q.left), h = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    if (w > 2 && h > 2) told.push(`overlap: ${a.tagName} "${a.textContent.trim().slice(0, 30)}" and ${b.tagName} "${b.textContent.trim().slice(0, 30)}"`);
  }
  return told;
}
""".replace("TARGET", str(MIN_TARGET_PX))


# The login is a page that may scroll down, never sideways; 44 px are WCAG 2.2's larger target (2.5.5).
INSPECT_LOGIN = """
() => {
  const told = document.documentElement.scrollWidth > innerWidth ? ["scrolls sideways"] : [];
  for (const e of document.querySelectorAll("body *")) {
    if (!e.checkVisibility() || e.closest("svg") || e.closest(".hidden-text")) continue;
    const box = e.getBoundingClientRect();
    const target = e.matches("[type=checkbox], [type=radio]") ? e.closest("label").getBoundingClientRect() : box;
    if (e.matches("a, button, input") && (target.width < 43.5 || target.height < 43.5)) told.push(`small: ${e.tagName} ${target.width}x${target.height}`);
    if (box.left < -1 || box.right > innerWidth + 1) told.push(`outside the screen: ${e.tagName}`);
    if (e.matches("h1, p:not(#refusal), label, button") && !e.textContent.trim()) told.push(`empty: ${e.tagName}`);
    if (e.scrollWidth > e.clientWidth + 2 && getComputedStyle(e).display !== "inline" && e.clientWidth > 0 && !e.matches("header")) told.push(`does not fit: ${e.tagName}`);
  }
  return told;
}
"""


def kiosk_screens() -> dict[str, dict[str, Any]]:
    """Every screen by name: the fields of its state."""
    poor = findings({"eyes.open": "fail", "geometry.horizontal": "fail", "light.even": "not_assessed"})
    three = findings(
        {
            "pose.yaw": "fail",
            "eyes.open": "fail",
            "mouth.closed": "fail",
            "background.uniform": "fail",
            "light.even": "warn",
        }
    )
    remarks = findings(
        dict.fromkeys(
            ("eyes.glasses", "eyes.gaze", "expression.smile", "background.colour", "light.shadows", "image.motion"),
            "warn",
        )
    )
    reasons = (
        "light.overexposed",
        "light.hot_spots",
        "eyes.dark_lenses",
        "image.sharp",
        "background.objects",
        "pose.yaw",
    )
    remarks_too = ("eyes.frames", "face.sides_visible", "expression.change", "background.shadow", "image.blocks")
    crowded = findings(dict.fromkeys(reasons, "fail") | dict.fromkeys(remarks_too, "warn"))
    camera_lost = FaultNotice(code="camera.lost", message="fault.camera")
    advice = {
        "closer": "closer",
        "left": "left",
        "up": "up",
        "turn_head_right": "right",
        "one_person": "none",
        "tilt_head_left": "left",
        "no_face": "none",
    }
    return {
        "01-attract": {"state": "attract"},
        "02-language": {"state": "language"},
        "03-identify": {"state": "identify"},
        "03-identify-refused": {
            "state": "identify",
            "fault": FaultNotice(code="application.malformed", message="identify.refused"),
        },
        "03-identify-asking": {"state": "identify", "instruction": Instruction(key="identify.asking")},
        **{
            f"03-identify-{name}": {"state": "identify", "fault": FaultNotice(code=name, message=f"identify.{name}")}
            for name in ("unknown", "captured", "expired", "unconfirmed", "unreadable", "other_code")
        },
        "04-consent": {"state": "consent"},
        **{
            f"05-framing-{name}": {"state": "framing", "instruction": Instruction(key=f"advice.{name}", arrow=arrow)}
            for name, arrow in advice.items()
        },
        "05-framing-network": {
            "state": "framing",
            "fault": FaultNotice(code="intake.unreachable", message="fault.network"),
        },
        "05-framing-hold": {"state": "framing", "countdown_s": 1},
        "05-framing-fault": {
            "state": "framing",
            "fault": camera_lost,
            "instruction": Instruction(key="fault.camera"),
            "overlay": None,
            "_picture": None,
        },
        "06-capturing": {"state": "capturing"},
        "07-checking": {"state": "checking"},
        "08-review-good": {"state": "review"},
        "08-review-borderline": {"state": "review", "findings": findings({"light.sides": "warn"})},
        "08-review-remarks": {"state": "review", "findings": remarks},
        "08-review-poor": {
            "state": "review",
            "compliant": False,
            "findings": poor,
            "commands": ("retake", "language", "help", "cancel"),
        },
        "08-review-four": {
            "state": "review",
            "compliant": False,
            "findings": three,
            "tries_left": 1,
            "commands": ("retake", "language", "help", "cancel"),
        },
        "08-review-crowded": {
            "state": "review",
            "compliant": False,
            "findings": crowded,
            "commands": ("retake", "language", "help", "cancel"),
        },
        "09-sealing": {"state": "sealing"},
        "10-thanks": {"state": "thanks"},
        "11-clearing": {"state": "clearing"},
        "11-cleared": {"state": "clearing", "instruction": Instruction(key="state.cleared.title")},
        "12-assistance": {"state": "assistance", "commands": ("help_given", "resume", "staff", "language", "cancel")},
        "12-assistance-refused": {
            "state": "assistance",
            "compliant": False,
            "findings": poor,
            "portrait": "/api/visit/portrait?1",
            "tries_left": 0,
        },
        "12-assistance-fault": {
            "state": "assistance",
            "fault": FaultNotice(code="outbox.write", message="fault.not_saved"),
        },
        "13-out-of-service": {
            "state": "out_of_service",
            "fault": FaultNotice(code="lights.lost", message="fault.lights"),
        },
        "13-out-of-service-revoked": {
            "state": "out_of_service",
            "fault": FaultNotice(code="booth.revoked", message="fault.revoked"),
        },
        "14-warning": {"state": "consent", "timeout_s": 17.6},
        "14-warning-thanks": {"state": "thanks", "timeout_s": 9.6},
        "04-consent-declined": {"state": "consent", "_press": "#actions .button >> nth=0"},
        "15-languages": {"state": "consent", "_press": "#change-language"},
        "16-lost": {"state": "consent", "_lost": True},
        "18-choices-wordless": {"state": "attract", "_press": "#access"},
        "18-choices": {"state": "consent", "_press": "#access"},
        "17-typing": {"state": "identify", "_type": "DEMO2026000017Q"},
    }


REST = {"busy": None, "tests": finished_run(sound=True), "switch": None, "calibration": calibration_view()}


class Studio:
    """The pages, a fake booth behind them, and a browser in front."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._picture = (APPLICANTS / "session" / "frame_12.jpg").read_bytes()
        self._portrait = (APPLICANTS / "people" / "anna" / "neutral.jpg").read_bytes()
        self.told: list[str] = []

    async def run(self) -> None:
        from playwright.async_api import async_playwright

        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))
            try:
                if self._options.page in {"all", "kiosk"}:
                    for width, height in self._options.sizes:
                        await self._kiosk(browser, width, height)
                if self._options.page in {"all", "technician"}:
                    for width, height in LOGIN_SIZES:
                        await self._technician(browser, width, height)
                if self._options.page in {"all", "technician", "login"}:
                    for width, height in LOGIN_SIZES:
                        await self._login(browser, width, height)
            finally:
                await browser.close()

    async def _context(self, browser: Any, width: int, height: int) -> Any:
        scheme = "dark" if self._options.dark else "light"
        return await browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce", locale="en-GB"
        )

    async def _kiosk(self, browser: Any, width: int, height: int) -> None:
        booth = FakeBooth(kiosk_state("attract"), self._picture, self._portrait)
        ticking = asyncio.create_task(_tick(booth))
        context = await self._context(browser, width, height)
        try:
            async with open_pages(booth, 0) as address:
                page = await context.new_page()
                page.set_default_timeout(10_000)
                page.on(
                    "console",
                    lambda message: self._hear(f"console: {message.text}") if message.type == "error" else None,
                )
                page.on("pageerror", lambda error: self._hear(f"page error: {error}"))
                for language in self._options.languages:
                    if language == "pseudo":
                        await page.route("**/api/messages/en", _as_pseudo)
                    await page.goto(address)
                    for name, fields in kiosk_screens().items():
                        if self._options.only in name:
                            await self._screen(page, booth, context, (width, height), language, name, dict(fields))
        finally:
            ticking.cancel()
            await context.close()

    def _hear(self, text: str) -> None:
        if "409 (Conflict)" not in text and text not in self.told:  # Escape after the warning was closed
            self.told.append(text)

    async def _screen(
        self,
        page: Any,
        booth: FakeBooth,
        context: Any,
        size: tuple[int, int],
        language: str,
        name: str,
        fields: dict[str, Any],
    ) -> None:
        special = {key: fields.pop(key) for key in list(fields) if key.startswith("_")}
        folder = self._folder(size, language)
        language = "en" if language == "pseudo" else language
        booth.picture = special.get("_picture", self._picture)
        state = kiosk_state(fields.pop("state"), language=language, **fields)
        await booth.show(_neutral(language))  # every screen is built anew
        await page.wait_for_selector(f"html[lang={language}] body[data-state=language]")
        for choice in self._options.look:  # forgotten when a visit was cleared
            attribute, value = LOOKS[choice]
            await page.evaluate(f"document.documentElement.dataset.{attribute} = '{value}'")
        await booth.show(state)
        await page.wait_for_selector(f"html[lang={language}] body[data-state={state.state}]")
        if state.overlay is not None and booth.picture is not None:
            await page.wait_for_selector("booth-preview:not([data-stale])")
        if state.portrait is not None:
            await page.wait_for_selector(".portrait img")
            await page.evaluate("() => document.querySelector('.portrait img').decode()")
        if "_press" in special:
            await page.wait_for_timeout(500)  # a touch right after a swap does not count
            await page.click(special["_press"])
        if "_type" in special:
            await page.keyboard.type(special["_type"])
        if "_lost" in special:
            await page.evaluate("document.querySelector('#lost').hidden = false")
            await page.evaluate(
                f"import('/static/texts.js').then(m => m.loadTexts('{language}'))"
                ".then(x => document.querySelector('#lost').textContent = x.t('connection.lost'))"
            )
        await page.evaluate("document.fonts.ready")
        await page.wait_for_timeout(300)  # transitions; a picture script, not a test
        for told in await page.evaluate(INSPECT):
            self._hear(f"{folder.parent.name} {folder.name} {name}: {told}")
        await page.screenshot(path=folder / f"{name}.png")
        await page.keyboard.press("Escape")

    def _folder(self, size: tuple[int, int], language: str) -> Path:
        look = "".join(f"-{choice}" for choice in (*self._options.look, *(("dark",) if self._options.dark else ())))
        folder = PROJECT / "screenshots" / f"{size[0]}x{size[1]}{look}" / language
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    async def _technician(self, browser: Any, width: int, height: int) -> None:
        """Every tab on a good day and on a bad one."""
        context = await self._context(browser, width, height)
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp))
        try:
            booth = FakeBooth(picture=self._picture)
            passphrase = make_passphrase()
            file = folder / "technician.argon2id"
            await asyncio.to_thread(write_passphrase, file, passphrase)
            async with open_pages(booth, 0, door=TechnicianDoor(file), training=FakeTrainer()) as address:  # type: ignore[arg-type] # shows only
                page = await context.new_page()
                page.on("pageerror", lambda error: self._hear(f"page error: {error}"))
                page.on("console", lambda said: self._hear(f"console: {said.text}") if said.type == "error" else None)
                await page.goto(f"{address}technician")
                await page.fill("#passphrase", passphrase)
                await page.click("button[type=submit]")
                await page.wait_for_selector("#figures dl")
                for language in self._options.languages:
                    for name, tab, fields, work in technician_screens():
                        if self._options.only not in name:
                            continue
                        booth.status = technician_status(**fields)
                        booth.maintenance.put(**(REST | work))
                        await page.goto(f"{address}technician?language={language}#{tab}")
                        await page.reload()
                        await page.wait_for_selector(f"#{tab}:not([hidden]) :is(p, dl, table)")
                        if tab == "live" and booth.inspecting:
                            await page.wait_for_selector("booth-preview:not([data-stale])")
                        await page.wait_for_timeout(300)  # a picture script, not a test
                        for told in await page.evaluate(INSPECT_LOGIN):
                            self._hear(f"{width}x{height} {language} {name}: {told}")
                        await page.screenshot(
                            path=self._folder((width, height), language) / f"{name}.png", full_page=True
                        )
        finally:
            await asyncio.to_thread(shutil.rmtree, folder)
            await context.close()

    async def _login(self, browser: Any, width: int, height: int) -> None:
        """The login as it opens, after a wrong passphrase and while waiting; and the page before any passphrase is set."""
        context = await self._context(browser, width, height)
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp))
        file = folder / "technician.argon2id"
        try:
            for language in self._options.languages:
                file.unlink(missing_ok=True)
                async with open_pages(FakeBooth(), 0, door=TechnicianDoor(file)) as address:
                    page = await context.new_page()
                    page.on("pageerror", lambda error: self._hear(f"page error: {error}"))
                    await page.goto(f"{address}technician?language={language}")
                    await self._login_picture(page, (width, height), language, "technician-unset")
                    await asyncio.to_thread(write_passphrase, file, make_passphrase())
                    await page.reload()
                    await self._login_picture(page, (width, height), language, "technician-login")
                    for _ in range(ALLOWED + 1):
                        await page.fill("#passphrase", "not the right one")
                        await page.click("button[type=submit]")
                        await page.wait_for_selector("#refusal:not(:empty)")
                        await page.wait_for_selector("button:enabled")
                    await self._login_picture(page, (width, height), language, "technician-login-wait")
                    await page.close()
        finally:
            await asyncio.to_thread(shutil.rmtree, folder)
            await context.close()

    async def _login_picture(self, page: Any, size: tuple[int, int], language: str, name: str) -> None:
        for told in await page.evaluate(INSPECT_LOGIN):
            self._hear(f"{size[0]}x{size[1]} {language} {name}: {told}")
        await page.screenshot(path=self._folder(size, language) / f"{name}.png")


def _neutral(language: str) -> KioskState:
    return kiosk_state("language", language=language, visit="00000000")


async def _as_pseudo(route: Any) -> None:
    answer = await route.fetch()
    await route.fulfill(response=answer, json=pseudo_catalogue(await answer.json()))


async def _tick(booth: FakeBooth) -> None:
    """A new picture thirty times a second."""
    while True:
        await asyncio.sleep(1 / 30)
        booth.picture_at_ns += 1


def main() -> int:
    """Take the pictures; 1 when something does not fit."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--languages", default="en,de,ru,ar", help="comma-separated (default: all)")
    reader.add_argument(
        "--sizes", default=",".join(f"{w}x{h}" for w, h in KIOSK_SIZES), help="comma-separated WIDTHxHEIGHT"
    )
    reader.add_argument("--only", default="", help="a part of the screen's name")
    reader.add_argument("--page", choices=("all", "kiosk", "technician", "login"), default="all")
    reader.add_argument("--dark", action="store_true")
    reader.add_argument("--look", default="", help=f"what an applicant may choose, comma-separated: {', '.join(LOOKS)}")
    options = reader.parse_args()
    options.languages = options.languages.split(",")
    options.look = [choice for choice in options.look.split(",") if choice]
    options.sizes = [tuple(int(part) for part in size.split("x")) for size in options.sizes.split(",")]
    if not Path(CHROMIUM).exists():
        print("Chromium is missing: apt-get install chromium", file=sys.stderr)
        return 2
    studio = Studio(options)
    try:
        asyncio.run(studio.run())
    finally:
        print("\n".join(studio.told) or "Every screen fits.")
    print(f"Pictures: {PROJECT / 'screenshots'}")
    return 1 if studio.told else 0


if __name__ == "__main__":
    sys.exit(main())
