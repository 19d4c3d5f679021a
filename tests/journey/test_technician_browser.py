"""The technician's login and page in a real browser: what the keyboard and a screen reader find, every function, the end of a session."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path

import argon2
import pytest

from booth.passphrase import make_passphrase, write_passphrase
from booth.technician_login import TechnicianDoor
from tests.axe_rules import AXE, AXE_TAGS
from tests.doors import open_kiosk
from tests.kiosk_door import CANARY
from tests.stage_rig import Stage, leave
from tests.unit.fake_technician import FakeTrainer

pytestmark = pytest.mark.browser
PATIENCE_MS = 20_000


@pytest.fixture(scope="module")
def kiosk(tmp_path_factory):
    with open_kiosk(tmp_path_factory.mktemp("technician")) as door:
        yield door


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    context.close()


def test_a_technician_logs_in_with_the_keyboard_alone_and_out_again(page, kiosk):
    page.goto(f"{kiosk.url}/technician?language=de")
    assert page.evaluate("document.activeElement.id") == "passphrase"
    assert page.get_by_label("Passphrase").count() == 1
    assert CANARY not in page.content()
    page.keyboard.type("nicht die richtige")
    page.keyboard.press("Enter")
    page.wait_for_selector("#refusal:has-text('falsch')")
    assert page.locator("#refusal").get_attribute("role") == "alert"
    assert page.locator("#passphrase").get_attribute("aria-invalid") == "true"
    page.wait_for_selector("button:enabled")
    assert page.evaluate("document.activeElement.id") == "passphrase"  # and the wrong one is marked: typing replaces it
    page.keyboard.type(kiosk.ready["passphrase"])
    page.keyboard.press("Enter")
    page.wait_for_selector("#figures dl")
    assert CANARY in page.content()
    assert page.evaluate("document.cookie") == ""  # HttpOnly: no script reads it
    page.click("#log-out")
    page.wait_for_selector("#passphrase")
    assert CANARY not in page.content()


def test_a_page_whose_session_is_over_asks_again_by_itself(page, kiosk):
    page.goto(f"{kiosk.url}/technician")
    page.fill("#passphrase", kiosk.ready["passphrase"])
    page.click("button[type=submit]")
    page.wait_for_selector("#figures dl")
    page.context.clear_cookies()
    page.wait_for_selector("#passphrase")


def test_what_is_typed_can_be_shown(page, kiosk):
    page.goto(f"{kiosk.url}/technician")
    page.check("#shown")
    assert page.locator("#passphrase").get_attribute("type") == "text"
    page.uncheck("#shown")
    assert page.locator("#passphrase").get_attribute("type") == "password"


# --- the page, every function in one session ---------------------------------------------------------------------------

PICTURE = Path(__file__).resolve().parents[2] / "hardware" / "sim" / "applicants" / "session" / "frame_12.jpg"
CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
# Of the dark colours only their contrast can be wrong: all else was found in the light ones.
CONTRAST = AXE.replace('{type: "tag", values: tags}', '{type: "rule", values: ["color-contrast"]}')
# WCAG 2.2, 2.5.5: what is pressed has 44 pixels each way; the page is touched on the booth's own screen.
SMALL = """
() => [...document.querySelectorAll("button, a[href], select, summary")].filter((e) => e.checkVisibility())
    .filter((e) => e.getBoundingClientRect().height < 43.5).map((e) => e.outerHTML)
"""
SIDEWAYS = "document.documentElement.scrollWidth > innerWidth"


@pytest.fixture
def stage(tmp_path):
    stage = Stage()
    try:
        file, passphrase = tmp_path / "technician.argon2id", make_passphrase()
        write_passphrase(file, passphrase, CHEAP)
        stage.door, stage.training, stage.booth.picture = TechnicianDoor(file), FakeTrainer(), PICTURE.read_bytes()
        stage.open()
        stage.passphrase = passphrase
        yield stage
    finally:
        stage.end()


@pytest.fixture
def technician(browser, stage):
    """A page in a session."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce", locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{stage.address}technician")
    page.fill("#passphrase", stage.passphrase)
    page.click("button[type=submit]")
    page.wait_for_selector("#figures dl")
    page.evaluate(pytest.importorskip("axe_playwright_python.base").AXE_SCRIPT)
    yield page
    context.close()


def open_tab(page, name):
    page.click(f"#tab-{name}")
    page.wait_for_selector(f"#{name}:not([hidden])")


def faults(page):
    """What axe finds in either colour scheme."""
    page.emulate_media(color_scheme="light")
    found = page.evaluate(AXE, AXE_TAGS)
    page.emulate_media(color_scheme="dark")
    found += page.evaluate(CONTRAST, AXE_TAGS)
    assert not page.evaluate(SIDEWAYS)
    return found


def test_every_function_of_the_page_in_one_session(technician, stage):
    the_overview_tells_the_worst_thing_and_the_switch_takes_a_reason(technician, stage)
    live_shows_picture_plots_and_light_as_long_as_it_is_looked_at(technician, stage)
    self_tests_run_wait_for_the_card_and_are_stopped(technician, stage)
    a_calibration_goes_step_by_step_and_its_drift_is_told(technician, stage)
    the_log_is_filtered_and_the_bundle_downloaded(technician)
    what_the_fleet_hears_and_asks_is_shown_and_a_profile_taken_back(technician, stage)
    a_training_is_answered_and_scored(technician)
    from_right_to_left_the_tabs_walk_the_other_way(technician)
    leave(technician)


def the_overview_tells_the_worst_thing_and_the_switch_takes_a_reason(technician, stage):
    worst = technician.locator("#worst")
    worst.get_by_text("Disk: free space").wait_for()
    assert worst.locator(".remedy").inner_text().strip()
    assert faults(technician) == []
    technician.select_option("#reason", "cleaning")
    technician.get_by_role("button", name="Take out of service").click()
    worst.get_by_text("Out of service").wait_for()
    assert stage.booth.maintenance.done == ["off cleaning"]
    assert technician.evaluate("document.activeElement.textContent") != "", "the focus is not lost with the button"


def live_shows_picture_plots_and_light_as_long_as_it_is_looked_at(technician, stage):
    technician.focus("#tab-overview")
    technician.keyboard.press("ArrowRight")
    assert technician.evaluate("document.activeElement.id") == "tab-live"
    technician.wait_for_selector("booth-preview:not([data-stale])")
    assert stage.booth.looks == 1
    plot = technician.get_by_role("img", name="Even light on the face")
    assert "limits" in plot.locator("desc").text_content()
    assert technician.locator("#plots path.limit").count() > 5
    technician.get_by_role("button", name="Pose", exact=True).click()
    technician.get_by_role("img", name="Facing the camera").wait_for()
    assert faults(technician) == []
    technician.locator("#findings summary").click()
    assert technician.locator("#findings tbody tr").count() > 40
    technician.keyboard.press("Escape")
    open_tab(technician, "devices")
    technician.wait_for_function("document.querySelector('booth-preview') === null")
    technician.get_by_text("Port", exact=True).first.wait_for()
    assert faults(technician) == []
    stage.run(asyncio.wait_for(stage.booth.unseen.wait(), 5))


def self_tests_run_wait_for_the_card_and_are_stopped(technician, stage):
    open_tab(technician, "tests")
    maintenance = stage.booth.maintenance
    technician.locator("tr[data-check='disk.free'] svg.spark").wait_for()
    assert technician.locator("tr[data-check]").first.get_attribute("data-verdict") == "fail"
    assert faults(technician) == []
    technician.check("#attended")
    technician.click("#start")
    technician.wait_for_selector("#progress")
    assert technician.locator("#told").inner_text() == "3 of 10 done. Now: Disk: free space"
    maintenance.put(tests=maintenance.state.tests.model_copy(update={"waiting": "card"}))
    technician.get_by_text("Hang the printed test card").locator("visible=true").wait_for()
    technician.click("#proceed")
    technician.wait_for_selector("#proceed", state="hidden")
    technician.click("#cancel")
    technician.wait_for_selector("#start")
    assert maintenance.done[-3:] == ["tests attended", "proceed", "cancel"]
    maintenance.visiting = True
    technician.click("#start")
    technician.locator("#refusal").get_by_text("Try again").wait_for()
    maintenance.visiting = False


def a_calibration_goes_step_by_step_and_its_drift_is_told(technician, stage):
    technician.locator("#refusal").evaluate("(alert) => (alert.hidden = true)")
    open_tab(technician, "calibration")
    assert technician.locator("#drift tbody tr").count() == 4
    assert technician.locator("#drift").get_by_text("beyond the limit").count() == 2
    assert faults(technician) == []
    technician.click("#calibrate")
    technician.get_by_text("Leave the booth, close").wait_for()
    technician.click("#calibration-proceed")
    technician.locator("#wizard .card-picture").wait_for()
    assert technician.locator("#steps [aria-current]").inner_text() == "The test card hangs"
    technician.click("#calibration-cancel")
    technician.wait_for_selector("#calibrate")
    assert stage.booth.maintenance.done[-3:] == ["calibration compared", "proceed", "cancel"]


def the_log_is_filtered_and_the_bundle_downloaded(technician):
    open_tab(technician, "log")
    technician.wait_for_selector("#log .events li >> nth=2")
    technician.select_option("#log-level", "warning")
    assert technician.locator("#log .events li").count() == 1
    assert faults(technician) == []
    with technician.expect_download() as download:
        technician.click("#bundle")
    assert download.value.suggested_filename.startswith("passbooth-support-booth-0001-")
    assert zipfile.is_zipfile(download.value.path())


def what_the_fleet_hears_and_asks_is_shown_and_a_profile_taken_back(technician, stage):
    open_tab(technician, "fleet")
    technician.wait_for_selector("#fleet pre")
    assert '"software"' in technician.locator("#fleet pre").inner_text()
    assert technician.locator("#fleet tbody tr").count() == 2
    assert faults(technician) == []
    technician.click("#profile-back")
    technician.wait_for_selector("#profile-back", state="detached")
    assert stage.booth.profile_taken_back


def a_training_is_answered_and_scored(technician):
    open_tab(technician, "training")
    assert technician.locator("#training-banner").inner_text().startswith("TRAINING")
    technician.get_by_label("A lamp is weak").check()
    technician.click("#answer")
    technician.get_by_text("Not the cause").wait_for()
    technician.get_by_text("The controller echoes the level").wait_for()
    assert faults(technician) == []
    technician.get_by_role("button", name="Hang the test card").click()
    technician.wait_for_selector("[data-scene=card][aria-pressed=true]")
    technician.click("#next")
    technician.get_by_label("A lamp stays dark").check()
    technician.click("#answer")
    technician.get_by_text("Training over. Right: 1 of 2").wait_for()


def from_right_to_left_the_tabs_walk_the_other_way(technician):
    technician.set_viewport_size({"width": 1080, "height": 1920})
    technician.get_by_role("link", name="العربية").click()
    technician.wait_for_selector("html[dir=rtl] #training:not([hidden])")
    technician.focus("#tab-training")
    technician.keyboard.press("ArrowRight")
    assert technician.evaluate("document.activeElement.id") == "tab-fleet"
    technician.keyboard.press("Home")
    technician.wait_for_selector("#figures dl")
    assert not technician.evaluate(SIDEWAYS)
    assert technician.evaluate(SMALL) == []
