"""The HTML report of `booth check`: whole in itself, escaped, honest about every rule, and readable."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from booth.check_drawing import evidence_path, histogram_paths
from booth.check_html import HtmlReport
from booth.check_photo import Checked, Picture, Wishes, check_photo
from booth.check_table import measured, print_report
from booth.messages import Messages
from validation.profile import load_profile
from validation.report import Box, Evidence, Finding, Level, Limit, Report, Verdict

NASTY = '"><script>alert(1)</script><img src=https://example.org/x onerror=alert(2)>{{ 7*7 }}\x1b[31m'
PATH = re.compile(r"(?:M-?[\d.]+ -?[\d.]+(?:L-?[\d.]+ -?[\d.]+)*(?:a[-\d. ]+)*z?)*")
VOID = {"meta", "img", "input", "path", "use", "br", "link"}


class Page(HTMLParser):
    """Every tag with its attributes, and the text; fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def having(self, tag, **wanted):
        return [a for name, a in self.tags if name == tag and all(a.get(k) == v for k, v in wanted.items())]


def finding(rule: str, verdict: Verdict, **fields: object) -> Finding:
    value = None if verdict is Verdict.NOT_ASSESSED else 12.345
    told = {"unit": "%", "limit": Limit(low=1), "level": Level.REJECT, "source": "ISO", "advice": "advice.none"}
    return Finding(rule=rule, value=value, verdict=verdict, **(told | fields))


def report(*findings: Finding, **fields: object) -> Report:
    told = {"profile": "icao", "profile_version": "1", "judged": "as_submitted", "width": 300, "height": 400}
    return Report(findings=findings, software="tests", **(told | fields))


def page_of(tmp_path: Path, *checked: Checked) -> Page:
    return Page(written(tmp_path, *checked))


def written(tmp_path: Path, *checked: Checked) -> str:
    target = tmp_path / "report.html"
    with HtmlReport(load_profile("icao"), Messages.load("en")) as html:
        for one in checked:
            html.add(one)
        html.write(target)
    return target.read_text("utf-8")


@pytest.fixture(scope="module")
def anna(face_model, applicants) -> Checked:
    wishes = Wishes("icao", ofiq=True, picture=True)
    return check_photo(wishes, face_model, applicants / "people" / "anna" / "neutral.jpg")


def test_every_rule_stands_with_value_limit_verdict_and_source(anna, tmp_path):
    page = page_of(tmp_path, anna)
    assert len([c for c in page.having("tr") if "rule" in (c.get("class") or "").split()]) == len(anna.report.findings)
    for found in anna.report.findings:
        assert found.rule in page.text
        assert " ".join(found.source.split()) in page.text
    assert "not compliant" in page.text
    assert "What stands in the way" in page.text


def test_the_file_loads_nothing_and_runs_nothing(anna, tmp_path):
    text = written(
        tmp_path, anna, Checked("missing.jpg", error_code="image.unreadable", error="There is no such file.")
    )
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "form", "base"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            link = attributes.get(name)
            assert link is None or link.startswith(("data:image/jpeg;base64,", "#")), (tag, link)
    assert "url(" not in text
    assert "@import" not in text
    policy = page.having("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy


def test_the_photo_inside_is_small_and_the_judged_one(anna, tmp_path):
    (image,) = page_of(tmp_path, anna).having("img")
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(image["src"].partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)
    assert max(pixels.shape[:2]) == 1000
    assert pixels.shape[1] / pixels.shape[0] == pytest.approx(960 / 1280, abs=0.002)


def test_hostile_names_and_texts_stay_texts(tmp_path):
    nasty = report(
        finding("eyes.open", Verdict.NOT_ASSESSED, reason=NASTY, source=NASTY),
        finding("made.up", Verdict.FAIL, unit=NASTY, advice="advice.unheard"),
        notes=(NASTY,),
        profile=NASTY,
    )
    page = page_of(tmp_path, Checked(NASTY, nasty), Checked(NASTY, error_code="x", error=NASTY))
    assert not page.having("script")
    assert not page.having("img")
    assert "{{ 7*7 }}" in page.text
    assert all("\x1b" not in (attributes.get("alt") or "") for _, attributes in page.tags)


def test_a_full_disk_costs_the_report_and_nothing_else(anna, tmp_path, monkeypatch):
    monkeypatch.setattr("booth.check_html.tempfile.TemporaryFile", lambda **_: Path("/dev/full").open("wb"))  # noqa: SIM115 - closed by the report
    with HtmlReport(load_profile("demo"), Messages.load("en")) as report:
        for _ in range(3):
            report.add(anna)
        with pytest.raises(OSError, match="No space left"):
            report.write(tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


def test_several_photos_get_a_table_of_contents_that_leads_to_each(anna, tmp_path):
    page = page_of(
        tmp_path, anna, anna, Checked("gone.jpg", error_code="image.unreadable", error="There is no such file.")
    )
    links = [a["href"] for a in page.having("a")]
    assert links == ["#photo-1", "#photo-2", "#photo-3"]
    assert {a["id"] for a in page.having("section")} == {link[1:] for link in links}
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert "2 not compliant" in page.text
    assert "There is no such file." in page.text


def test_a_rule_with_evidence_can_be_reached_by_keyboard_and_has_its_mark(tmp_path):
    drawn = finding("pose.roll", Verdict.FAIL, evidence=Evidence(boxes=(Box(x=1, y=2, width=3, height=4),)))
    plain = finding("eyes.open", Verdict.PASS)
    picture = Picture(b"jpeg", None)
    page = page_of(tmp_path, Checked("a.jpg", report(plain, drawn), picture=picture))
    (reachable,) = page.having("tr", tabindex="0")
    assert "rule-1" in reachable["class"].split()
    (mark,) = [g for g in page.having("g") if "mark" in g["class"].split()]
    assert set(mark["class"].split()) == {"mark", "mark-1", "bad", "marked"}
    assert page.having("path")[0]["d"] == "M1 2L4 2L4 6L1 6z"


def test_not_assessed_advice_is_told_but_does_not_stand_in_the_way(tmp_path):
    advice = finding("expression.change", Verdict.NOT_ASSESSED, level=Level.WARN, reason="needs frames")
    page = page_of(tmp_path, Checked("a.jpg", report(advice)))
    assert "needs frames" in page.text
    assert "What stands in the way" not in page.text
    assert "1 compliant" in page.text


def test_what_is_borderline_is_listed_above_the_table(tmp_path):
    page = page_of(tmp_path, Checked("a.jpg", report(finding("face.forehead_visible", Verdict.WARN, level=Level.WARN))))
    told = page.text[: page.text.index("Measured")]
    assert "Borderline" in told
    assert "Forehead visible" in told


@given(
    st.builds(
        Evidence,
        points=st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))).map(tuple),
        boxes=st.lists(
            st.builds(
                Box, x=st.floats(-1e6, 1e6), y=st.floats(-1e6, 1e6), width=st.floats(0, 1e6), height=st.floats(0, 1e6)
            )
        ).map(tuple),
        outlines=st.lists(st.lists(st.tuples(st.floats(-99, 99), st.floats(-99, 99))).map(tuple)).map(tuple),
    )
)
def test_any_evidence_becomes_a_path_or_nothing(evidence):
    assert PATH.fullmatch(evidence_path(evidence, 300, 400))


def test_no_evidence_draws_nothing():
    assert evidence_path(None, 300, 400) == ""
    assert evidence_path(Evidence(), 300, 400) == ""


def test_the_histograms_are_shares_of_the_face_on_one_scale(anna):
    histograms = anna.picture.histograms
    assert set(histograms) == {"light", "red", "green", "blue"}
    for shares in histograms.values():
        assert len(shares) == 64
        assert sum(shares) == pytest.approx(1, abs=1e-3)
    centre = {name: np.average(np.arange(64), weights=shares) for name, shares in histograms.items()}
    assert centre["blue"] < centre["green"] < centre["light"] < centre["red"]  # skin
    paths = histogram_paths(histograms)
    assert all(PATH.fullmatch(path) for path in paths.values())
    assert paths["light"].endswith("z")


def test_a_picture_without_a_face_has_no_histogram(face_model, tmp_path):
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), np.full((400, 300, 3), 200, np.uint8))
    checked = check_photo(Wishes("icao", ofiq=True, picture=True), face_model, blank)
    assert checked.picture.histograms is None
    assert "How light and colours spread" not in written(tmp_path, checked)


def contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, bright = sorted((light(one), light(other)))
    return (bright + 0.05) / (dark + 0.05)


def test_texts_and_signs_can_be_read_in_light_dark_and_print(tmp_path):
    text = written(tmp_path)
    themes = re.findall(r":root \{(.*?)\n\s*\}", text, re.DOTALL)
    assert len(themes) == 3
    for theme in themes:
        colour = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", theme))
        for ground in ("ground", "surface", "sunken"):
            assert contrast(colour["ink"], colour[ground]) >= 7
            assert contrast(colour["ink-soft"], colour[ground]) >= 7
        assert contrast(colour["accent"], colour["surface"]) >= 4.5
        for sign in ("good", "care", "bad", "unknown"):
            assert contrast(colour[sign], colour[f"{sign}-soft"]) >= 4.5
        assert contrast(colour["ink"], colour["bad-soft"]) >= 7
        for line in ("red", "green", "blue"):
            assert contrast(colour[line], colour["sunken"]) >= 3


@pytest.mark.parametrize(
    ("value", "unit", "limits", "told"),
    [
        (1.0, "faces", {"low": 1}, "1 face"),
        (2.0, "faces", {"low": 1}, "2 faces"),
        (-0.01, "°", {"low": -5, "high": 5}, "0.0°"),
        (5.004, "°", {"low": -5, "high": 5}, "5.004°"),
        (119.7, "px", {"low": 120}, "119.7 px"),
        (89.9994, "%", {"low": 90}, "89.999 %"),
        (51.02, "%", {"low": 60}, "51.0 %"),
        (2.25, "px", {"high": 3}, "2.2 px"),
    ],
)
def test_values_are_short_but_show_on_which_side_of_the_limit_they_lie(value, unit, limits, told):
    found = Finding(
        rule="a.b",
        value=value,
        unit=unit,
        limit=Limit(**limits),
        verdict=Verdict.PASS,
        level=Level.REJECT,
        source="x",
        advice="y",
    )
    assert measured(found) == told


@pytest.mark.parametrize("width", [60, 80, 125, 200])
def test_the_table_keeps_every_rule_s_name_in_narrow_windows(anna, width):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    print_report(console, anna, Messages.load("en"))
    lines = console.file.getvalue().splitlines()
    assert max(len(line) for line in lines) <= width
    words = " ".join(" ".join(lines).split())
    for name in ("Only you in", "Head size", "Eyes open", "Sharp picture", "Come a little closer"):
        assert name in words
    assert "not compliant" in words
