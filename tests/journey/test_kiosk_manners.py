"""How the kiosk page behaves over a long day: choices that end with the visit, two keys for everything, restarts, its weight, its memory."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import get_args

import pytest

from booth.kiosk import ChooseLanguage, Consent, FaultNotice, Identify, MoreTime, Start, StateName
from tests.journey.screens import LOOKS
from tests.stage_rig import leave, settle, shows, stage_at

PROJECT = Path(__file__).resolve().parents[2]
PICTURE = PROJECT / "hardware" / "sim" / "applicants" / "session" / "frame_12.jpg"
PORTRAIT_SCREEN = {"width": 1080, "height": 1920}
RECONNECT_S = 1.0  # issue: the true state within a second of a restart
BUSY_S = 1.5  # what a machine with many tests at once may add
MOST_BYTES = 300_000
FIRST_PAINT_MS = 500
LOOK = "() => ({...document.documentElement.dataset})"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def tab(browser):
    """One page for all of these tests."""
    context = browser.new_context(viewport=PORTRAIT_SCREEN, reduced_motion="reduce", locale="en-GB")
    page = context.new_page()
    page.mistakes = []
    page.on("pageerror", lambda error: page.mistakes.append(str(error)))
    yield page
    context.close()
    assert page.mistakes == []


@pytest.fixture
def stage():
    with stage_at("attract") as stage:
        stage.booth.picture = PICTURE.read_bytes()
        yield stage


@pytest.fixture
def page(tab, stage):
    """It, at this test's booth."""
    tab.goto(stage.address)
    shows(tab, "attract")
    yield tab
    leave(tab)


def at(page, stage, state, **values):
    """A screen, once touches on it count."""
    stage.show(state, **values)
    shows(page, state)
    stage.booth.commands.clear()
    settle(page)


def test_the_page_is_light_and_there_at_once(page, stage):
    stage.show("attract")
    paints = []
    for _ in range(3):
        page.goto(stage.address)
        shows(page, "attract")
        page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length")
        paints.append(page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    weights = page.evaluate(
        """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
            .map((each) => [new URL(each.name).pathname, each.encodedBodySize])"""
    )
    assert len(weights) > 20
    total = sum(size for path, size in weights if not path.startswith("/voice/"))
    print(f"page: {total} bytes in {len(weights)} files, first paint {min(paints):.0f} to {max(paints):.0f} ms")
    assert total <= MOST_BYTES, sorted(weights, key=lambda each: -each[1])[:5]
    assert min(paints) <= FIRST_PAINT_MS  # the others are other tests' time


def test_where_nothing_is_left_to_do_the_screen_says_that_alone(page, stage):
    captured = FaultNotice(code="application.captured", message="identify.captured")
    at(page, stage, "identify")
    assert page.locator("h1:visible").inner_text() == "Show your code to the camera"
    stage.show("identify", fault=captured)
    page.wait_for_selector("h1:has-text('There is nothing more to do')")
    assert page.locator("main :is(booth-keypad, booth-preview):visible").count() == 0, "nothing asks for a code"
    assert page.locator("#actions button:visible").all_inner_texts() == ["Go back", "Done"]
    page.keyboard.press("7")  # who has another number goes on with it
    page.wait_for_selector("booth-keypad:visible")
    assert page.locator("h1").inner_text() == "Show your code to the camera"
    assert page.locator(".number").input_value() == "7"
    assert page.locator("#actions button:visible").all_inner_texts() == ["Continue"]


def test_choices_are_found_without_reading_hold_at_once_and_end_with_the_visit(page, stage):
    at(page, stage, "attract")
    page.click("#access")
    assert page.locator("#choices .choice").count() == len(LOOKS)
    for said in page.locator("#choices .choice .choice-words").all():
        assert [each.get_attribute("lang") for each in said.locator("span").all()] == ["en", "de", "ru", "ar"]
    plain = page.evaluate("() => parseFloat(getComputedStyle(document.querySelector('h1')).fontSize)")
    for name, value in LOOKS.values():
        page.click(f"#choices [data-choice={name}]")
        assert page.locator(f"html[data-{name}={value}]").count() == 1
    assert page.evaluate("() => parseFloat(getComputedStyle(document.querySelector('h1')).fontSize)") == pytest.approx(
        1.3 * plain, abs=0.5
    )
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(0, 0, 0)"
    page.click("#choices [data-choice=text]")
    page.click("#choices .button-primary")
    chosen = page.evaluate(LOOK)
    assert "text" not in chosen
    for state in ("language", "consent", "thanks", "clearing"):
        stage.show(state)
        shows(page, state)
        assert page.evaluate(LOOK) == chosen
    page.click("#access")
    assert (
        page.locator("#choices .choice .choice-words").first.locator("span").count() == 4
    )  # nobody's visit: every language
    page.keyboard.press("Escape")
    stage.show("attract")
    shows(page, "attract")
    page.wait_for_function("() => performance.getEntriesByType('navigation')[0].type === 'reload'")
    shows(page, "attract")
    assert page.evaluate(LOOK) == {}
    assert page.evaluate("() => [document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]


def test_a_visit_needs_no_more_than_next_and_select(page, stage):
    def select(selector):
        for _ in range(30):
            page.keyboard.press("ArrowDown")
            if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                break
        else:
            pytest.fail(f"{selector} is out of reach")
        page.keyboard.press("Enter")

    at(page, stage, "attract")
    select(".start")
    settle(page)
    assert stage.booth.commands == [Start()]
    at(page, stage, "language")
    select("button[lang=ru]")
    settle(page)
    assert stage.booth.commands == [ChooseLanguage(language="ru")]
    at(page, stage, "identify")
    for row, key in ((1, "B"), (0, "7")):
        select(f"[data-row='{row}']")
        assert page.evaluate("() => document.activeElement.parentElement.dataset.row") == str(row)
        if row == 1:
            select("button:nth-child(2)")
        else:
            select("button:nth-child(7)")
        assert page.locator("#number").input_value().endswith(key)
    select(".key-row")
    for _ in range(10):
        page.keyboard.press("ArrowDown")  # behind the last key stands the row again
    assert page.evaluate("() => document.activeElement.matches('.key-row')")
    select(".send")
    settle(page)
    assert stage.booth.commands == [Identify(number="B7")]
    at(page, stage, "consent")
    select("#actions .button-primary")
    settle(page)
    assert stage.booth.commands == [Consent(answer=True)]


def test_who_types_is_there_and_a_sign_of_life_swallows_no_wish(page, stage):
    at(page, stage, "identify", commands=("identify", "more_time", "cancel"))
    page.keyboard.type("demo2026000017q")
    page.keyboard.press("Enter")
    settle(page)
    assert page.locator("#number").input_value() == "DEMO-2026-0000-17Q"
    assert stage.booth.commands == [MoreTime(), Identify(number="DEMO2026000017Q")]


def test_a_no_says_what_happens_next_and_can_be_taken_back(page, stage):
    at(page, stage, "consent")
    page.click("#actions .button:has-text('I do not agree')")
    assert "gladly" in page.locator("main .lead").inner_text()
    page.wait_for_timeout(500)
    page.click("#actions .button:has-text('Go back')")
    assert page.locator(".points").is_visible()
    page.wait_for_timeout(500)
    page.click("#actions .button:has-text('I do not agree')")
    page.wait_for_timeout(500)
    assert stage.booth.commands == []
    page.click("#actions .button-primary")
    settle(page)
    assert stage.booth.commands == [Consent(answer=False)]


def test_a_notice_that_does_not_fit_is_read_to_its_end_before_the_question(page, stage):
    at(page, stage, "consent")
    assert page.locator(".leaves").is_hidden()
    page.click("#access")
    page.click("#choices [data-choice=text]")
    page.click("#choices .button-primary")
    page.set_viewport_size({"width": 1024, "height": 768})
    assert page.locator("#actions .button").all_inner_texts() == ["I do not agree", "Continue"]
    told = []
    for _ in range(4):
        told += page.locator(".points li:visible").all_inner_texts()
        if page.locator(".leaf-turn").last.is_disabled():
            break
        settle(page)
        page.click("#actions .button-primary")
    assert len(told) == 5
    assert page.locator("#actions .button").all_inner_texts() == ["I do not agree", "I agree"]
    page.set_viewport_size(PORTRAIT_SCREEN)


def test_a_restart_is_survived_in_every_state(page, stage):
    took = []
    for state in get_args(StateName):
        stage.show(state)
        shows(page, state)
        old = page.evaluate("() => document.querySelector('meta[name=kiosk-instance]').content")
        stage.close()
        after = "consent" if state == "attract" else "attract"
        stage.show(after)
        stage.open()
        began = time.monotonic()
        # By the page of the new run: a page that is about to load itself anew may not lose its server a second time.
        page.wait_for_selector(f"head:has(meta[name=kiosk-instance]:not([content='{old}']))", state="attached")
        shows(page, after)
        took.append(time.monotonic() - began)
    print(f"true state after a restart: {max(took):.2f} s at the slowest")
    assert statistics.median(took) < RECONNECT_S + BUSY_S  # one of them may meet a busy moment of the machine


def test_a_long_day_leaves_nothing_in_the_page(page, stage):
    browser = page.context.new_cdp_session(page)
    browser.send("Performance.enable")

    def measured():
        browser.send("HeapProfiler.collectGarbage")
        told = {each["name"]: each["value"] for each in browser.send("Performance.getMetrics")["metrics"]}
        return told["Nodes"], told["JSEventListeners"], told["JSHeapUsedSize"]

    def day(number):
        for at_state, state in enumerate(get_args(StateName)):
            if state not in {"attract", "clearing", "out_of_service"}:
                stage.show(state, visit=f"{number:04d}{at_state:04d}")
                shows(page, state)
        page.evaluate("() => {document.querySelector('#access').click(); document.querySelector('#choices').close();}")

    for number in range(2):
        day(number)
    nodes, listeners, heap = measured()
    for number in range(2, 8):
        day(number)
    more_nodes, more_listeners, more_heap = measured()
    print(
        f"after 60 screens: {more_nodes - nodes:+.0f} nodes, {more_listeners - listeners:+.0f} listeners, {more_heap - heap:+.0f} bytes"
    )
    assert more_nodes - nodes <= 60
    assert more_listeners - listeners <= 20
    assert more_heap - heap < 400_000
    browser.detach()
