"""A day at the desk in a real browser: officer, supervisor, auditor, clerk and technician, real intake and desk, keys where keys do it.

Every kind of page is looked at by axe and must not be wider than the window. With OFFICERS_DAY=FOLDER in the environment they are kept there as pictures.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import ssl
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe

from booth.attempt import judge_burst
from capture.frames import Frame
from crypto.application import application_digest, check_character
from crypto.http_signature import sign_request
from crypto.status_token import make_status_token, status_digest
from crypto.totp import code_at
from server.application_rows import Registry
from server.applications import NewApplication
from server.config import StoreSettings
from server.roles import Role
from server.store import open_store
from tests.axe_rules import AXE, AXE_TAGS
from tests.desk_users import make_user
from tests.doors import Door, open_server
from tests.heartbeats import day, heartbeat
from tests.journey.screens import CHROMIUM
from tests.sealed_packets import APPLICANT, Keys, digest, visit
from validation.face import FaceModel
from validation.image import read_image
from validation.rules import load_profile

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Chromium"),
]
# A whole day has twenty: OFFICERS_PACKETS=20. The suite's is shorter, and the same in all else.
PACKETS, WAIT_MS = int(os.environ.get("OFFICERS_PACKETS", "8")), 60_000
PEOPLE = itertools.count(1)
PICTURES = os.environ.get("OFFICERS_DAY")
# The photos to refuse, and the one that staff let pass. Of each that is accepted the desk judges the portrait first, which takes a second of a processor.
TURNED, RELEASED = {serial for serial in range(PACKETS) if serial % 3}, {6}
OVERRIDE = {"staff": "s-0042", "reason_class": "head_cover", "open_rules": ["face.covered"]}


@dataclass
class Office:
    """The running programs, who works there, and what was sent."""

    intake: Door
    desk: Door
    pki: Path
    data: Path
    packets: dict[str, str] = field(default_factory=dict)  # application → packet
    tokens: dict[str, str] = field(default_factory=dict)  # application → status token


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    folder = tmp_path_factory.mktemp("office")
    keys, data = Keys(folder / "pki"), folder / "data"
    with open_server("serve", keys, folder, data=data) as intake, open_server("desk", keys, folder, data=data) as desk:
        opened = Office(intake, desk, keys.folder, data)
        with ThreadPoolExecutor(1) as thread:  # Playwright has a loop of its own on this one
            thread.submit(asyncio.run, file_applications(data)).result()
        send_packets(opened, keys)
        yield opened


def number_of(serial: int) -> str:
    return f"OD{serial:06}" + check_character(f"OD{serial:06}")


async def file_applications(data: Path) -> None:
    now = datetime.now(UTC)
    filed = [NewApplication(number_of(one), "centre-1", now.date() + timedelta(days=30)) for one in range(PACKETS)]
    async with open_store(StoreSettings(data_dir=data).resolved_database_url) as store:
        await Registry(store, lambda: now).file(filed)


def send_packets(office: Office, keys: Keys) -> None:
    """What booths would send: one judged portrait with what differs told in report and visit."""
    with FaceModel() as model:
        still = Frame(read_image(APPLICANT)[0], 1, 1, "PNG", lossy=False)
        attempt = judge_burst((still,), load_profile("demo"), model)
    assert attempt.jpeg is not None
    judged = json.loads(attempt.report.model_dump_json())
    tls = ssl.create_default_context(cafile=keys.folder / "ca.pem")
    with httpx2.Client(verify=tls, timeout=60, trust_env=False) as booth:
        for serial in range(PACKETS):
            number, token = number_of(serial), make_status_token()
            # The same file for another application would need a second person: each has a comment of its own (ITU-T T.81, B.2.4.5).
            comment = b"\xff\xfe\x00\x06" + number[-5:-1].encode()
            told = {
                "portrait.jpg": attempt.jpeg[:2] + comment + attempt.jpeg[2:],
                "report.json": json.dumps(turned(judged) if serial in TURNED else judged).encode(),
                "visit.json": json.dumps(
                    visit(number, **({"override": OVERRIDE} if serial in RELEASED else {}))
                ).encode(),
            }
            packet = keys.packet(told)
            url = f"{office.intake.url}/v1/packets/{digest(packet)}"
            links = {
                "Content-Type": "application/vnd.passbooth.packet",
                "Passbooth-Application": application_digest(number).hex(),
                "Passbooth-Status": status_digest(token).hex(),
            }
            sent = booth.put(url, content=packet, headers=links | sign_request("PUT", url, links, packet, keys.signer))
            assert sent.status_code == 201, sent.text
            office.packets[number], office.tokens[number] = digest(packet), token
        now = datetime.now(UTC)
        days = tuple(day(now.date() - timedelta(days=ago), since=now.date() - timedelta(days=ago)) for ago in (3, 2, 1))
        body = heartbeat(sent_at=now.replace(microsecond=0), days=days).to_bytes()
        url, kind = f"{office.intake.url}/v1/heartbeats", {"Content-Type": "application/json"}
        told = booth.post(url, content=body, headers=kind | sign_request("POST", url, kind, body, keys.signer))
        assert told.status_code == 200, told.text


def turned(report: dict[str, Any]) -> dict[str, Any]:
    """The report of a booth that found the head turned."""
    findings = [
        {**one, "value": 21.0, "verdict": "fail"} if one["rule"] == "pose.yaw" else one for one in report["findings"]
    ]
    return report | {"findings": findings}


class Person:
    """Somebody's window."""

    def __init__(self, browser: Browser, office: Office, role: Role) -> None:
        self.office, self.role, self.axe = office, role, Axe()
        self.context = browser.new_context(
            ignore_https_errors=True, viewport={"width": 1440, "height": 900}, locale="en-GB"
        )
        self.context.set_default_timeout(WAIT_MS)
        self.page: Page = self.context.new_page()
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda told: self.faults.append(told.text) if told.type == "error" else None)
        made = make_user(office.pki, office.data, role, name=f"{role.value} {next(PEOPLE)}", with_totp=True)
        assert made.totp is not None
        self.page.goto(f"{office.desk.url}/login")
        self.page.fill("#name", made.user.name)
        self.page.fill("#password", made.password)
        self.page.fill("#code", code_at(made.totp, time.time()))
        self.page.click("main button[type=submit]")
        self.page.wait_for_url(lambda url: not url.endswith("/login"))

    def goes(self, path: str) -> None:
        self.page.goto(f"{self.office.desk.url}{path}")

    def look(self, name: str) -> None:
        """What axe finds, the width, and a picture where they are wanted."""
        self.page.evaluate(self.axe.axe_script)
        assert self.page.evaluate(AXE, AXE_TAGS) == [], name
        wide, view = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= view, name
        if PICTURES:
            (Path(PICTURES) / f"{name}.png").write_bytes(self.page.screenshot(full_page=True))

    def ends(self) -> None:
        assert self.faults == []
        self.context.close()


def shown_number(page: Page) -> str:
    return page.locator("h1 .number").inner_text()


def test_an_officers_day(office, browser, tmp_path):
    officer = Person(browser, office, Role.OFFICER)
    page = officer.page
    page.wait_for_selector("table.packets")
    page.wait_for_function("document.querySelectorAll('.packets .row-link .number').length === " + str(PACKETS))
    officer.look("queue")
    page.keyboard.press("?")
    page.wait_for_selector("dialog.shortcuts[open]")
    officer.look("shortcuts")
    page.keyboard.press("Escape")

    # The packets, one after the other, by keys: the oldest first, each once.
    seen: list[str] = []
    before = page.url
    page.keyboard.press("n")
    while len(seen) < PACKETS:
        page.wait_for_url(lambda url: url != before and re.search(r"/packets/[0-9a-f]{64}$", url) is not None)  # noqa: B023 - asked in this turn of the loop alone
        number = shown_number(page)
        assert number not in seen
        seen.append(number)
        serial = int(number[2:8])
        if len(seen) == 1:
            page.wait_for_selector("text=Agrees with the booth")
            officer.look("packet")
        page.keyboard.press("r" if serial in TURNED else "a")
        page.wait_for_url(re.compile(r"/(accept|refuse)$"))
        if serial in TURNED:
            page.check('input[name="reason.pose"]')
            if serial == min(TURNED):
                officer.look("refuse")
        elif serial in {min(RELEASED), 0}:
            officer.look("propose" if serial in RELEASED else "accept")
        page.click("main button.main, main button.danger")
        page.wait_for_url(re.compile(r"/packets/[0-9a-f]{64}$"))
        before = page.url
        page.keyboard.press("n")
    page.wait_for_url(lambda url: not re.search(r"/packets/[0-9a-f]{64}$", url))
    assert seen == sorted(seen)
    officer.look("queue-done")

    # Search by the number of an application, which then stands in no address.
    refused = number_of(min(TURNED))
    page.keyboard.press("/")
    page.fill("#q", refused)
    page.keyboard.press("Enter")
    page.wait_for_selector(f"text={refused}")
    assert refused not in page.url
    page.click(".packets .row-link")
    page.wait_for_url(f"**/packets/{office.packets[refused]}")
    officer.look("packet-refused")
    # A group of findings that is unfolded scrolls by itself, also on a telephone.
    page.set_viewport_size({"width": 400, "height": 844})
    assert page.locator("details.group[open]").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.set_viewport_size({"width": 1440, "height": 900})
    # What is another's to do is not offered, and not done.
    assert page.locator('a[href$="/records.zip"]').count() == 0
    assert page.request.get(f"{office.desk.url}/audit").status == 403
    officer.ends()

    # The applicant reads why.
    told = page_of_applicant(browser, office, refused)
    assert "Kopf" in told

    # The second person approves what staff had let pass, then takes the original records along.
    supervisor, released = Person(browser, office, Role.SUPERVISOR), number_of(min(RELEASED))
    page = supervisor.page
    supervisor.goes(f"/packets/{office.packets[released]}")
    supervisor.look("packet-proposed")
    page.keyboard.press("a")
    page.wait_for_url("**/approve")
    supervisor.look("approve")
    page.click('form[action$="/approve"] button')
    page.wait_for_url(f"**/packets/{office.packets[released]}")
    supervisor.goes("/handover")
    supervisor.look("handover")
    supervisor.goes(f"/packets/{office.packets[released]}")
    with page.expect_download() as export:
        page.click('[href$="/records.zip"]')
    export.value.save_as(tmp_path / "records.zip")
    with zipfile.ZipFile(tmp_path / "records.zip") as records:
        assert records.testzip() is None
        (sealed,) = (name for name in records.namelist() if name.endswith(".packet"))
        assert digest(records.read(sealed)) == office.packets[released]
    supervisor.ends()

    # Everything stands in the auditor's book.
    auditor = Person(browser, office, Role.AUDITOR)
    auditor.goes("/audit")
    auditor.look("audit")
    assert auditor.page.locator("tbody tr").count() > PACKETS
    auditor.ends()
    log = office.desk.told() + office.intake.told()
    assert not any(number in log for number in office.packets)
    assert "Traceback" not in log


def page_of_applicant(browser: Browser, office: Office, number: str) -> str:
    """What the status page says to a phone that speaks German."""
    context = browser.new_context(ignore_https_errors=True, locale="de-DE", viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{office.intake.url}/status#{office.tokens[number]}")
    page.wait_for_selector('[data-view="retake"]:not([hidden])', timeout=WAIT_MS)
    told = page.locator("[data-reason]:not([hidden])").all_inner_texts()
    context.close()
    return " ".join(told)


def test_a_clerk_registers_prints_and_finds(office, browser):
    clerk = Person(browser, office, Role.CLERK)
    page = clerk.page
    page.click('form[action="/counter/register"] button')
    page.wait_for_selector(".application-number")
    number = page.locator(".application-number").inner_text()
    clerk.look("registered")
    page.click('form[action="/counter/slip"] button')
    page.wait_for_selector("#print:not([hidden])")
    clerk.look("slip")
    page.click('a[href="/counter"]')
    page.fill("#word", number.lower())
    page.keyboard.press("Enter")
    page.wait_for_selector(".application-number")
    assert page.locator(".application-number").inner_text() == number
    assert page.request.get(f"{office.desk.url}/packets/{next(iter(office.packets.values()))}").status == 403
    clerk.ends()


def test_every_section_of_everybody_is_for_all_to_read(office, browser):
    """From the left and from the right."""
    seen: set[str] = set()
    for role in (Role.CLERK, Role.TECHNICIAN, Role.ADMINISTRATOR, Role.AUDITOR, Role.SUPERVISOR):
        person = Person(browser, office, role)
        links = "links => links.map(link => link.getAttribute('href'))"
        paths = person.page.eval_on_selector_all("nav.sections a", links)
        assert paths, role
        for path in [one for one in (*paths, "/account") if one not in seen]:
            seen.add(path)
            for language in ("ar",) if path in {"/", "/handover", "/audit"} else ("en", "ar"):
                person.goes(f"{path}?lang={language}")
                person.look(f"{language}{path.replace('/', '-')}")
        if role is Role.TECHNICIAN:
            person.goes("/fleet/booths/booth-0001")
            person.look("booth")
        person.ends()
