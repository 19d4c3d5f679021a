"""Every screen of the kiosk in Chromium, seen once in each size and look: axe's findings, what does not fit, what stands too high, missing glyphs.

One pass over the screens gathers everything (`seen`); each test looks at its part. The words are those of the pseudo-language, longer by two
fifths than English, so that what fits here fits any language, from left to right and from right to left; larger letters are seen in Russian.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from booth.messages import Messages, known_languages
from tests.axe_rules import AXE, AXE_TAGS
from tests.journey.pseudo import pseudo_catalogue
from tests.journey.screens import INSPECT, KIOSK_SIZES, kiosk_screens
from tests.stage_rig import leave, settle, shows, stage_at

PROJECT = Path(__file__).resolve().parents[2]
PICTURE = PROJECT / "hardware" / "sim" / "applicants" / "session" / "frame_12.jpg"
# A screen in each look; pages hear of a look as of a change of size. In the low look, nothing to press begins in the upper half.
LOOK = """
(looks) => {
  const inspect = INSPECT, told = {}, choices = document.documentElement.dataset;
  const controls = () => [...document.querySelectorAll("button")].filter((each) => each.checkVisibility({visibilityProperty: true}));
  const top = (each) => each.getBoundingClientRect().top;
  const named = (each) => `${each.className} ${each.textContent.trim().slice(0, 20)} at ${Math.round(top(each))}`;
  for (const [name, look] of [...Object.entries(looks), ["", {}]]) {
    for (const choice of ["text", "contrast", "reach", "scheme"]) delete choices[choice];
    Object.assign(choices, look);
    document.documentElement.dir = name === "low" ? "rtl" : "ltr";
    dispatchEvent(new Event("resize"));
    if (name === "") break;
    told[name] = {fits: inspect(), high: name === "low" ? controls().filter((each) => top(each) < innerHeight / 2).map(named) : []};
  }
  return told;
}
""".replace("INSPECT", INSPECT.strip())
LOOKS = {"plain": {}, "low": {"reach": "low"}}
LARGE = {"large": {"text": "large", "contrast": "high"}}
# Code points that the page's fonts draw as a missing glyph: as the private ones, which no font has.
MISSING = """
(characters) => {
  const context = new OffscreenCanvas(64, 64).getContext("2d", {willReadFrequently: true});
  const family = getComputedStyle(document.body).fontFamily;
  const drawn = (character) => {
    context.fillStyle = "#fff";
    context.fillRect(0, 0, 64, 64);
    context.fillStyle = "#000";
    context.font = `40px ${family}`;
    context.fillText(character, 12, 46);
    return context.getImageData(0, 0, 64, 64).data.join();
  };
  const tofu = new Set(["\\u{10FFFD}", "\\u{0378}", "\\uE000"].map(drawn));
  return [...characters].filter((character) => tofu.has(drawn(character)));
}
"""

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def stage():
    with stage_at("attract") as stage:
        stage.booth.picture = PICTURE.read_bytes()
        yield stage


@pytest.fixture(scope="module")
def page(browser, stage):
    """One page for all of these tests."""
    width, height = KIOSK_SIZES[0]
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", locale="en-GB")
    page = context.new_page()
    page.on("console", lambda told: page.heard.append(told.text) if told.type == "error" else None)
    page.heard = []
    page.goto(stage.address)
    shows(page, "attract")
    yield page
    leave(page)
    context.close()


def show(page, stage, fields, language):
    """A screen, built anew."""
    fields = {key: value for key, value in fields.items() if not key.startswith("_")}
    if page.evaluate("document.body.dataset.state") == fields["state"]:
        stage.show("checking", language=language, visit="00000000")
        shows(page, "checking", language)
    stage.show(**fields, language=language)
    shows(page, fields["state"], language)


# Those that differ from a neighbour in words or drawing alone; the neighbour has the most of either.
LIKE_ANOTHER = re.compile(
    r"03-identify-(asking|expired|other_code|unknown|unreadable)|05-framing-(closer|up|turn|one|no_|hold)|08-review-four|13-\S+-revoked"
)


def screens():
    """Every screen that is unlike the others."""
    return {name: fields for name, fields in kiosk_screens().items() if not LIKE_ANOTHER.match(name)}


def look_at(page, told, name, looks):
    """What does not fit in any size and look, and in the low look what stands in the upper half."""
    for width, height in KIOSK_SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for look, found in page.evaluate(LOOK, looks).items():
            for kind in ("fits", "high"):
                told[kind] |= {f"{name} {width}x{height} {look}: {each}" for each in found[kind]}


@pytest.fixture(scope="module")
def seen(page, stage):
    """Every screen in every size, plain and with larger letters, and everything low; what axe finds on it."""
    axe = pytest.importorskip("axe_playwright_python.base").AXE_SCRIPT

    def answer_pseudo(route):
        answer = route.fetch()
        route.fulfill(response=answer, json=pseudo_catalogue(answer.json()))

    page.route("**/api/messages/en", answer_pseudo)
    page.reload()
    page.evaluate(axe)
    told = {"axe": set(), "fits": set(), "high": set()}
    for at, (name, fields) in enumerate(screens().items()):
        width, height = KIOSK_SIZES[at % len(KIOSK_SIZES)]
        page.set_viewport_size({"width": width, "height": height})
        show(page, stage, fields, "en")
        if "_press" in fields:
            settle(page)
            page.click(fields["_press"])
        told["axe"] |= {f"{name}: {each}" for each in page.evaluate(AXE, AXE_TAGS)}
        look_at(page, told, name, LOOKS)
        if "_press" in fields:
            page.keyboard.press("Escape")
        else:
            show(page, stage, fields, "ru")
            look_at(page, told, name, LARGE)
    page.unroute("**/api/messages/en")
    stage.show("consent")
    shows(page, "consent", "en")
    return told


def test_axe_finds_nothing_on_any_screen(seen):
    assert sorted(seen["axe"]) == []


def test_everything_fits_in_every_size_with_larger_letters_and_longer_words(seen):
    assert sorted(seen["fits"]) == []


def test_who_asks_for_it_has_every_control_in_the_lower_half(seen):
    assert sorted(seen["high"]) == []


def test_no_glyph_is_missing_in_any_language(page, stage, seen):
    texts = [Messages.load(language) for language in known_languages()]
    characters = {
        character
        for each in texts
        for text in each.texts.values()
        for form in ([text] if isinstance(text, str) else text.values())
        for character in form
    }
    said = "".join(sorted(character for character in characters if not character.isspace()))
    assert len(said) > 150
    assert page.evaluate(MISSING, said) == []
    assert page.evaluate(MISSING, "a\ue123\u0379") == ["\ue123", "\u0379"]  # the test sees what no font has


def test_the_page_had_nothing_to_complain_about(page, seen):
    assert [told for told in page.heard if "Failed to load resource" not in told] == []  # this booth has no voice
