"""Every screen of the kiosk in Chromium: no finding of axe, nothing that does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journey.screens import kiosk_screens
from tests.stage_rig import leave, shows, stage_at

PROJECT = Path(__file__).resolve().parents[2]
PICTURE = PROJECT / "hardware" / "sim" / "applicants" / "session" / "frame_12.jpg"
PORTRAIT_SCREEN = {"width": 1080, "height": 1920}
# What WCAG 2.2 AA asks for, and axe's own rules of good practice.
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AXE = """
async (tags) => (await axe.run(document, {runOnly: {type: "tag", values: tags}})).violations
    .flatMap((found) => found.nodes.map((node) => `${found.id}: ${node.target.join(" ")} ${node.failureSummary}`))
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
    context = browser.new_context(viewport=PORTRAIT_SCREEN, reduced_motion="reduce", locale="en-GB")
    page = context.new_page()
    page.goto(stage.address)
    shows(page, "attract")
    yield page
    leave(page)
    context.close()


def show(page, stage, name, language="en"):
    """One of the named screens, built anew."""
    fields = {key: value for key, value in kiosk_screens()[name].items() if not key.startswith("_")}
    stage.show("language", language=language, visit="00000000")
    shows(page, "language", language)
    stage.show(**fields, language=language)
    shows(page, fields["state"], language)


def test_axe_finds_nothing_on_any_screen(page, stage):
    axe = pytest.importorskip("axe_playwright_python.base").AXE_SCRIPT
    page.evaluate(axe)
    found = {}
    for at, name in enumerate(kiosk_screens()):
        show(page, stage, name, "ar" if at % 2 else "en")
        found[name] = page.evaluate(AXE, AXE_TAGS)
    assert {name: told for name, told in found.items() if told} == {}
