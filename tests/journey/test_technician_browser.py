"""The technician's login in a real browser: wrong and right passphrase, what the keyboard and a screen reader find, the end of a session."""

from __future__ import annotations

import pytest

from tests.doors import open_kiosk
from tests.kiosk_door import CANARY

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
    page.wait_for_selector("#devices article")
    assert CANARY in page.content()
    assert page.evaluate("document.cookie") == ""  # HttpOnly: no script reads it
    page.click("#log-out")
    page.wait_for_selector("#passphrase")
    assert CANARY not in page.content()


def test_a_page_whose_session_is_over_asks_again_by_itself(page, kiosk):
    page.goto(f"{kiosk.url}/technician")
    page.fill("#passphrase", kiosk.ready["passphrase"])
    page.click("button[type=submit]")
    page.wait_for_selector("#devices article")
    page.context.clear_cookies()
    page.wait_for_selector("#passphrase")


def test_what_is_typed_can_be_shown(page, kiosk):
    page.goto(f"{kiosk.url}/technician")
    page.check("#shown")
    assert page.locator("#passphrase").get_attribute("type") == "text"
    page.uncheck("#shown")
    assert page.locator("#passphrase").get_attribute("type") == "password"
