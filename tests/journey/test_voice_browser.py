"""The voice in a real Chromium: what stands on the screen is said, one sentence at a time, and nothing that does not stand there."""

from __future__ import annotations

import hashlib

import pytest

from booth.kiosk import Instruction
from booth.prompt_sound import Sound, write_sound
from booth.voice import spoken_texts
from tests.sounds import RATE, tone
from tests.stage_rig import Stage, leave, settle, shows
from tests.unit.fake_booth import findings

pytestmark = pytest.mark.browser

# Each sentence when it begins: key, language, volume, and whether its words stand on the screen at that moment.
LISTEN = """
window.said = [];
document.addEventListener("spoken", ({ detail }) => {
  const words = detail.item.slice(detail.item.indexOf(" ") + 1);
  const reads = [...document.querySelectorAll("h1, h2, p, span")].some((each) => each.textContent.trim() === words && each.checkVisibility());
  const overlap = window.sounding ?? 0;
  said.push({ key: detail.key, language: detail.item.slice(0, 2), level: detail.level, reads, overlap });
});
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...rest) {
  window.sounding = (window.sounding ?? 0);
  window.overlap = Math.max(window.overlap ?? 0, ++window.sounding);
  this.addEventListener("ended", () => window.sounding--);
  start.apply(this, rest);
};
"""


class TalkingBooth:
    """Every sentence has the same short sound; `mute` languages have none."""

    complete = True

    def __init__(self, *mute):
        self.mute = mute
        self.sound = write_sound(Sound(tone(0.15), RATE))

    def prompts(self, language):
        if language in self.mute:
            return {}
        return {
            key: hashlib.sha256(f"{language} {key}".encode()).hexdigest()[:40] + ".wav"
            for key in spoken_texts(language)
        }

    def read(self, name):
        return self.sound


@pytest.fixture
def stage():
    stage = Stage()
    stage.voice = TalkingBooth("ar")
    try:
        stage.open()
        yield stage
    finally:
        stage.end()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1080, "height": 1920}, reduced_motion="reduce", locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.mistakes = []
    page.on("pageerror", lambda error: page.mistakes.append(str(error)))
    page.add_init_script(LISTEN)
    yield page
    context.close()
    assert page.mistakes == []


def hears(page, *keys, language="en"):
    """Waits until these sentences were said, in this order and after what was said before; forgets them."""
    page.wait_for_function(
        "([keys, language]) => { const heard = said.filter((each) => each.language === language).map((each) => each.key);"
        " return keys.every((key, at) => heard.indexOf(key) >= 0 && (at === 0 || heard.indexOf(keys[at - 1]) < heard.indexOf(key))); }",
        arg=[list(keys), language],
    )
    return page.evaluate("said.splice(0)")


def quiet(page):
    """Waits until everything is said."""
    page.wait_for_function(
        "() => { const now = performance.now(); if (document.getElementById('voice').dataset.says) window.heardAt = now;"
        " return now - (window.heardAt ??= now) > 250; }"
    )
    page.evaluate("said.length = 0")


def test_the_screen_is_said_aloud(page, stage):
    page.goto(stage.address)
    shows(page, "attract")
    page.locator("#voice button").first.wait_for()
    settle(page)
    page.mouse.click(540, 1000)
    assert page.evaluate("said") == [], "a booth that waits for somebody is silent"

    stage.show("language")
    spoken = ["en", "de", "ru"]
    page.wait_for_function("(spoken) => spoken.every((one) => said.some((each) => each.language === one))", arg=spoken)
    heard = page.evaluate("said.splice(0)")
    assert {(each["key"], each["language"]) for each in heard} == {("state.language.title", one) for one in spoken}

    stage.show("identify")
    heard = hears(page, "state.identify.title", "state.identify.text")
    stage.show("framing", instruction=Instruction(key="advice.closer", arrow="closer"))
    heard += hears(page, "advice.closer", "framing.auto")
    stage.show("framing", instruction=Instruction(key="advice.turn_head_left", arrow="left"))
    heard += hears(page, "advice.turn_head_left")
    stage.show("framing", instruction=Instruction(key="fault.camera"))
    heard += hears(page, "fault.camera")
    stage.show("framing", timeout_s=20)
    heard += hears(page, "timeout.title", "timeout.text")
    stage.show("review", compliant=False, findings=findings({"eyes.open": "fail"}))
    heard += hears(page, "review.poor.title", "review.poor.text", "rule.eyes.open.explain")
    assert all(each["reads"] for each in heard), "the words on the screen are the captions"
    assert page.evaluate("overlap") == 1
    assert [each["key"] for each in heard].count("framing.auto") == 1, "said once, not with each instruction"
    assert page.locator("#voice :is([aria-live], [role=status], [role=alert])").count() == 0

    # volume: two of three steps, then the loudest, none, and up again
    volume = page.locator("[data-voice=volume]")
    assert volume.get_attribute("aria-label") == "Volume: 2 of 3. Touch to change"
    assert {each["level"] for each in heard} == {2}
    quiet(page)
    volume.click()
    assert hears(page, "review.poor.title")[0]["level"] == 3
    volume.click()
    assert volume.get_attribute("aria-label") == "Sound off. Touch to turn it on"
    page.wait_for_function("() => !window.sounding")
    page.evaluate("said.length = 0")
    stage.show("framing", instruction=Instruction(key="advice.back", arrow="back"))
    page.wait_for_selector("h1:has-text('Move back')")
    page.wait_for_timeout(300)
    assert page.evaluate("said") == []
    volume.click()
    assert hears(page, "advice.back")[0]["level"] == 1
    quiet(page)
    page.locator("[data-voice=replay]").click()
    hears(page, "advice.back", "framing.auto")

    # a language without a voice: no buttons, the words are the message; the next visit begins as usual
    stage.show("framing", language="ar")
    page.wait_for_selector("html[lang=ar] #voice:empty", state="attached")
    stage.show("clearing")
    shows(page, "clearing", "en")
    stage.show("attract")
    page.wait_for_function("() => window.said.length === 0")
    page.locator("[data-voice=volume][aria-label^='Volume: 2']").wait_for()
    leave(page)
