"""Staff at the booth and the explained refusal, in Chromium: three steps to a code that is nowhere afterwards, and marks over the portrait."""

from __future__ import annotations

from pathlib import Path

import pytest

from booth.kiosk import FaultNotice, HelpGiven, Resume, Staff
from tests.axe_rules import AXE, AXE_TAGS
from tests.stage_rig import leave, settle, shows, stage_at
from tests.unit.fake_booth import findings

PROJECT = Path(__file__).resolve().parents[2]
PORTRAIT = PROJECT / "hardware" / "sim" / "applicants" / "people" / "anna" / "neutral.jpg"
SIZES = [(1080, 1920), (1920, 1080), (1024, 768)]
CODE = "482103937556211840"
REFUSED = {
    "compliant": False,
    "findings": findings({"eyes.open": "fail", "geometry.horizontal": "fail", "light.even": "not_assessed"}),
    "portrait": "/api/visit/portrait?1",
    "tries_left": 0,
    "staff_actions": ("override", "retake", "end"),
}
# Every text and every value of the document; what a store of the browser holds.
EVERYTHING = """
() => document.documentElement.outerHTML + [...document.querySelectorAll("input")].map((each) => each.value).join()
    + JSON.stringify({ ...localStorage }) + JSON.stringify({ ...sessionStorage }) + location.href
"""
OUTSIDE = """
() => [...document.querySelectorAll("#screen button, #actions button, #screen h1, #screen h2, #screen p")]
    .filter((each) => each.checkVisibility())
    .map((each) => [each.className || each.tagName, each.getBoundingClientRect(), each.tagName])
    .filter(([, box, tag]) => box.right > innerWidth + 1 || box.bottom > innerHeight + 1 || box.left < -1 || (tag === "BUTTON" && Math.min(box.width, box.height) < 79.5))
    .map(([name]) => name)
"""

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1080, "height": 1920}, reduced_motion="reduce", locale="en-GB")
    yield context.new_page()
    context.close()


def press(page, name):
    settle(page)
    page.get_by_role("button", name=name).click()


def test_staff_release_a_portrait_in_three_steps_and_the_code_is_nowhere(page):
    with stage_at("assistance", **REFUSED) as stage:
        stage.booth.portrait_bytes = PORTRAIT.read_bytes()
        page.goto(stage.address)
        shows(page, "assistance")
        steps = {}
        page.evaluate(pytest.importorskip("axe_playwright_python.base").AXE_SCRIPT)
        press(page, "Staff: use a code")
        steps["action"] = page.locator("h1").inner_text()
        assert page.evaluate(AXE, AXE_TAGS) == []
        press(page, "Take photos again")
        press(page, "Go back")
        press(page, "Let this photo pass")
        steps["reason"] = page.locator("h1").inner_text()
        assert page.evaluate(AXE, AXE_TAGS) == []
        press(page, "Religious head cover")
        steps["code"] = page.locator("h1").inner_text()
        assert steps == {"action": "What is to be done?", "reason": "Why?", "code": "Type your personal code"}
        assert page.evaluate(AXE, AXE_TAGS) == []
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate(OUTSIDE) == []
        confirm = page.get_by_role("button", name="Confirm")
        for digit in CODE[:7]:
            page.locator(".digit-pad").get_by_text(digit, exact=True).click()
        assert page.locator(".code-shown").inner_text() == "482103 •_____ ______"
        page.get_by_role("button", name="Delete").click()
        assert confirm.is_disabled()
        page.keyboard.type(CODE[6:] + "99")  # no more than a code has
        assert page.locator(".code-shown").inner_text() == "482103 •••••• ••••••"
        assert CODE[6:] not in page.evaluate(EVERYTHING)
        with page.expect_response("**/api/visit/staff"):
            confirm.click()
        page.wait_for_selector(".code-shown:has-text('______ ______ ______')")
        assert stage.booth.commands == [Staff(code=CODE, reason_class="head_cover", action="override")]
        assert CODE[:6] not in page.evaluate(EVERYTHING)
        stage.show("assistance", **REFUSED, commands=("help_given", "language", "cancel"))
        page.wait_for_selector(".refusal:has-text('being checked')")
        wrong = {"fault": FaultNotice(code="staff.wait", message="staff.wait"), "staff_wait_s": 47}
        stage.show("assistance", **REFUSED, **wrong)
        page.wait_for_selector(".refusal:has-text('46 more seconds')")
        page.keyboard.type(CODE)
        assert page.locator(".code-shown").inner_text() == "______ ______ ______"
        stage.show("assistance", **REFUSED, fault=FaultNotice(code="staff.wrong", message="staff.wrong"))
        page.wait_for_selector(".refusal:has-text('does not count here')")
        released = {**REFUSED, "staff_actions": (), "released": True, "commands": ("accept", "help", "cancel")}
        stage.show("review", **released)
        page.wait_for_selector("h1:has-text('Staff let this photo pass')")
        leave(page)


def test_whoever_has_no_code_ends_the_visit_and_nothing_is_offered_that_the_visit_does_not_take(page):
    with stage_at("assistance", commands=("help_given", "cancel"), staff_actions=()) as stage:
        page.goto(stage.address)
        shows(page, "assistance")
        assert page.get_by_role("button", name="Staff: use a code").count() == 0
        with page.expect_response("**/api/visit/help_given"):
            press(page, "Staff: help is finished")
        assert stage.booth.commands == [HelpGiven()]
        leave(page)


def test_whoever_only_asked_for_help_goes_on(page):
    with stage_at("assistance", commands=("help_given", "resume", "staff", "cancel")) as stage:
        page.goto(stage.address)
        shows(page, "assistance")
        assert page.locator("#actions .button-primary").all_inner_texts() == ["Continue"]
        with page.expect_response("**/api/visit/resume"):
            press(page, "Continue")
        assert stage.booth.commands == [Resume()]
        leave(page)


def test_a_refused_portrait_shows_where_and_says_what_to_do_now(page):
    with stage_at("review", **{**REFUSED, "tries_left": 1}) as stage:
        stage.booth.portrait_bytes = PORTRAIT.read_bytes()
        page.goto(stage.address)
        shows(page, "review")
        page.wait_for_selector(".portrait-marked img")
        assert page.locator(".face-line").count() == 3
        cards = page.locator(".explained li")
        assert cards.locator(".region-number").all_inner_texts() == ["1", "2"]
        assert cards.locator(".advice").count() == cards.count(), "each says what to do now"
        assert "It is the booth, not you" in cards.last.inner_text()
        assert "Photo 2 of 3. You can try 1 more time." in page.locator(".tries").inner_text()
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            picture, drawing = (page.locator(f".portrait-marked {each}").bounding_box() for each in ("img", "svg"))
            assert picture == drawing
            assert page.evaluate(OUTSIDE) == []
        stage.show("review")
        page.wait_for_selector(".review[data-good=true]")
        assert page.locator(".evidence").count() == 0, "nothing is drawn on a portrait that holds every rule"
        leave(page)
