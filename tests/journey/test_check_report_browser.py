"""The HTML report of `booth check` in a real Chromium: it fits, it is silent, and a rule shows where it was measured."""

from __future__ import annotations

import cv2
import pytest

from booth.check_html import HtmlReport
from booth.check_photo import Checked, Wishes, check_photo
from booth.messages import Messages
from validation.face import FaceModel
from validation.profile import load_profile

pytestmark = pytest.mark.browser

SIZES = ((1440, 900), (820, 1100), (390, 844))


@pytest.fixture(scope="module")
def report(applicants, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    tilted = folder / f"{'long-name-' * 9}.png"
    cv2.imwrite(str(tilted), cv2.imread(str(applicants / "variations" / "mei_roll+15.jpg")))
    wishes = Wishes("icao", picture=True)
    with FaceModel() as model, HtmlReport(load_profile("icao"), Messages.load("en")) as html:
        html.add(check_photo(wishes, model, tilted))
        html.add(check_photo(wishes, model, applicants / "people" / "anna" / "neutral.jpg"))
        html.add(Checked(str(folder / "gone.jpg"), error_code="image.unreadable", error="There is no such file."))
        html.write(folder / "report.html")
    return (folder / "report.html").as_uri()


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def page(browser, report, request):
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", locale="en-GB")
    page = context.new_page()
    told: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report)
    yield page
    context.close()
    assert told == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def drawn(page, photo):
    return page.evaluate(
        "id => [...document.querySelectorAll(`#${id} .mark`)].filter(e => getComputedStyle(e).visibility === 'visible')"
        ".map(e => e.getAttribute('class').split(' ')[1])",
        photo,
    )


def test_nothing_is_wider_than_the_window_and_the_photo_is_seen(page):
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    for image in page.query_selector_all("img"):
        assert image.evaluate("e => e.complete && e.naturalWidth > 0 && e.clientWidth > 100")


def test_a_rule_in_focus_shows_its_own_evidence_alone(page):
    number = page.evaluate(
        "[...document.querySelectorAll('#photo-1 .rule')].find(e => e.textContent.includes('pose.roll')).className.match(/rule-(\\d+)/)[1]"
    )
    at_rest = drawn(page, "photo-1")
    assert f"mark-{number}" in at_rest  # a tilted head is not met
    page.focus(f"#photo-1 .rule-{number}")
    assert drawn(page, "photo-1") == [f"mark-{number}"]
    assert set(drawn(page, "photo-2")).isdisjoint({f"mark-{number}"})
    page.evaluate("document.activeElement.blur()")
    page.check("#photo-1 .every")
    page.mouse.move(0, 0)
    assert len(drawn(page, "photo-1")) == page.locator("#photo-1 .mark").count() > len(at_rest)


def test_the_photo_stays_in_sight_beside_the_rule_that_is_read(page):
    rules = page.query_selector_all("#photo-2 .rule[tabindex]")
    rules[len(rules) // 2].focus()
    rule, image = rules[len(rules) // 2].bounding_box(), page.query_selector("#photo-2 img").bounding_box()
    height = page.viewport_size["height"]
    assert image["y"] >= 0
    assert image["y"] + image["height"] <= height
    assert 0 <= rule["y"] <= height
    beside = image["x"] + image["width"] <= rule["x"]
    assert beside or image["y"] + image["height"] <= rule["y"] + 1


def test_the_contents_lead_to_each_photo(page):
    page.click("a[href='#photo-2']")
    assert (
        page.evaluate("document.querySelector('#photo-2').getBoundingClientRect().top") < page.viewport_size["height"]
    )
    assert page.locator(".contents tbody tr").count() == 3
