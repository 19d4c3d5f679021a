"""`booth evaluate` as a user meets it: figures on labelled photos, files to read later, and labels that are wrong."""

from __future__ import annotations

import csv
import json
import shutil
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from multiprocessing import resource_tracker
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from booth.cli import app as booth
from booth.dataset import DatasetError, Labelled, read_dataset
from booth.det_plot import det_svg, page
from booth.evaluate import evaluate_command
from booth.evaluation import Band, curve
from booth.evaluation_summary import Answer, Scored, claimed, figures, summarise
from validation.profile import load_profile
from validation.report import Verdict
from validation.rules import RULES

IDS = [rule.id for rule in RULES]
app = typer.Typer()
app.command()(evaluate_command)

PHOTOS = {
    "people/anna/neutral.jpg": ("anna", 0, 0),
    "people/kwame/neutral.jpg": ("kwame", 0, 0),
    "people/mei/neutral.jpg": ("mei", 0, 0),
    "people/jorge/neutral.jpg": ("jorge", 0, 0),
    "variations/anna_yaw+25.jpg": ("anna", 1, 0),
    "variations/anna_yaw-25.jpg": ("anna", 1, 0),
    "variations/jorge_eyes_closed.jpg": ("jorge", 0, 1),
    "variations/anna_eyes_closed.jpg": ("anna", 0, 1),
    "variations/kwame_cap.jpg": ("kwame", 0, 0),
    "variations/mei_roll+15.jpg": ("mei", 0, 0),
}


@pytest.fixture(scope="module", autouse=True)
def _tracker():
    resource_tracker.ensure_running()  # multiprocessing's own child, which stays for the whole session


def run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def read(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(table.read_text("utf-8").splitlines()))


def write(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text(text, "utf-8")
    return folder


@pytest.fixture(scope="module")
def dataset(applicants, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    lines = ["file,subject,group,pose.yaw,eyes.open"]
    for name, (subject, yaw, closed) in PHOTOS.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(applicants / name, target)
        lines.append(f"{name},{subject},{name.split('/', maxsplit=1)[0]},{yaw},{closed}")
    (folder / "odd, <name>.jpg").write_text("no photo")
    lines.append('"odd, <name>.jpg",nobody,,0,')
    return write(folder, "\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def evaluated(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "report"
    return run(dataset, "--out", out, "--jobs", "2"), out


def test_it_is_a_command_of_the_booth():
    shown = CliRunner().invoke(booth, ["evaluate", "--help"])
    assert shown.exit_code == 0
    assert "labels.csv" in shown.output


def test_the_table_tells_counts_and_rates(evaluated):
    result, _ = evaluated
    assert result.exit_code == 0, result.output
    line = next(text for text in result.output.splitlines() if "pose.yaw" in text)
    assert line.split()[1:5] == ["9", "2", "0", "0"]
    assert "1 + 0" in line
    assert "EER over 2 rules with both classes" in result.output
    assert "n < 20" in result.output
    assert "Could not be judged, counted as not assessed: 1" in result.output
    assert "odd, <name>.jpg: The file is not a picture" in result.output


def test_every_score_of_every_photo_is_written(evaluated):
    _, out = evaluated
    rows = read(out / "scores.csv")
    judged = [rule for rule in IDS if rule in load_profile("icao").rules]
    assert len(rows) == (len(PHOTOS) + 1) * len(judged)
    turned = next(r for r in rows if r["file"].endswith("yaw+25.jpg") and r["rule"] == "pose.yaw")
    assert (turned["label"], turned["verdict"], turned["unit"]) == ("1", "fail", "°")
    assert float(turned["value"]) == pytest.approx(25, abs=4)
    assert float(turned["score"]) > 0
    unread = next(r for r in rows if r["file"] == "odd, <name>.jpg")
    assert (unread["value"], unread["score"], unread["verdict"]) == ("", "inf", "not_assessed")
    assert "not a picture" in unread["reason"]
    frames = next(r for r in rows if r["rule"] == "expression.change")
    assert (frames["verdict"], frames["reason"]) == ("not_assessed", "needs frames")


def test_the_summary_is_written_for_people_and_programs(evaluated):
    _, out = evaluated
    told = json.loads((out / "summary.json").read_text("utf-8"))
    assert told["photos"] == len(PHOTOS) + 1
    assert told["not_judged"][0]["file"] == "odd, <name>.jpg"
    assert told["bootstrap"]["units"] == "subjects"
    whole = {f["rule"]: f for f in told["figures"] if f["kind"] == "all"}
    assert whole["eyes.open"]["eer"] == 0
    assert whole["pose.yaw"]["not_assessed_compliant"] == 1
    assert whole["pose.yaw"]["eer"] > whole["pose.yaw"]["eer_judged_only"] == 0
    groups = {f["name"] for f in told["figures"] if f["kind"] == "group"}
    assert groups == {"people", "variations"}
    assert {f["claim"] for f in told["figures"] if f["kind"] == "skin_tone"} == {"n < 20"}
    rows = read(out / "summary.csv")
    assert [r["rule"] for r in rows] == [f["rule"] for f in told["figures"]]


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.found += [value for key, value in attrs if key in {"href", "src"} and value]


def test_the_page_links_a_plot_per_rule_and_needs_nothing_else(evaluated):
    _, out = evaluated
    links = Links()
    links.feed((out / "index.html").read_text("utf-8"))
    assert links.found == ["det-pose.yaw.svg", "det-eyes.open.svg"]
    assert not links.tags & {"script", "img", "link", "iframe"}
    for name in links.found:
        drawn = ET.parse(out / name).getroot()  # own file
        assert drawn.tag.endswith("svg")


def test_json_alone_on_standard_output(dataset):
    result = run(dataset, "--json", "--jobs", "1")
    assert result.exit_code == 0
    assert {f["rule"] for f in json.loads(result.stdout)["figures"]} == {"pose.yaw", "eyes.open"}


def test_labels_may_stand_elsewhere_and_be_written_by_a_spreadsheet(dataset, tmp_path):
    """Byte order mark, semicolons, empty lines at the end."""
    labels = tmp_path / "mine.csv"
    labels.write_bytes("﻿file;eyes.open;\r\npeople/anna/neutral.jpg;0\r\n;\r\n".replace(";\r", "\r").encode())
    (photo,) = read_dataset(dataset, IDS, labels)
    assert photo == Labelled(
        "people/anna/neutral.jpg", (dataset / "people/anna/neutral.jpg").resolve(), None, None, {"eyes.open": False}
    )


WRONG = {
    "file,pose.yow\n": "the column 'pose.yow' is no rule; the nearest is 'pose.yaw'.",
    "file,zzz\n": "the column 'zzz' is no rule.",
    "file,subject\n": "no column is a rule.",
    "subject,pose.yaw\n": "the column 'file' is missing.",
    "file,pose.yaw,pose.yaw\n": "the column 'pose.yaw' is there twice.",
    "": "is empty",
    "file,pose.yaw\n": "names no photo.",
    "file,pose.yaw\na.jpg,2\n": "line 2: pose.yaw is '2', not 0, 1 or empty.",
    "file,pose.yaw\na.jpg,0\n\na.jpg,1\n": "line 4: 'a.jpg' stands in line 2 already.",
    "file,pose.yaw\na.jpg,0\nx/../a.jpg,1\n": "line 3: 'x/../a.jpg' stands in line 2 already.",
    "file,pose.yaw\nb.jpg,0\n": "line 2: there is no file 'b.jpg'.",
    "file,pose.yaw\n../secret.jpg,0\n": "line 2: '../secret.jpg' leads out of the folder.",
    "file,pose.yaw\n/etc/passwd,0\n": "line 2: '/etc/passwd' leads out of the folder.",
    "file,pose.yaw\nlink.jpg,0\n": "line 2: 'link.jpg' leads out of the folder.",
    "file,pose.yaw\na.jpg,0,1\n": "line 2: 3 cells for 2 columns.",
    "file,pose.yaw\n,0\n": "line 2: no file is named.",
    'file,pose.yaw\n"a.jpg,0\n': "line 2: unexpected end of data.",
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_labels_are_told_with_their_line(text, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"x")
    (folder / "x").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(DatasetError) as caught:
        read_dataset(write(folder, text), IDS)
    assert WRONG[text] in str(caught.value)


def test_all_problems_are_told_at_once_but_not_thousands(tmp_path):
    lines = "".join(f"missing-{n}.jpg,0\n" for n in range(50))
    result = run(write(tmp_path, "file,pose.yaw\n" + lines))
    assert result.exit_code == 2
    assert "line 2: there is no file 'missing-0.jpg'" in result.stderr
    assert "and 30 more problems" in result.stderr
    assert result.stderr.count("\n") == 21


def test_wrong_columns_do_not_hide_wrong_rows(tmp_path):
    (tmp_path / "labels.csv").write_text("file,pose.yow,pose.roll\na.jpg,x,2\nb.jpg,0,0\n")
    told = run(tmp_path).stderr
    assert "'pose.yow' is no rule" in told
    assert "line 2: pose.roll is '2'" in told
    assert "line 3: there is no file 'b.jpg'" in told


def test_columns_parted_by_something_else_are_told(tmp_path):
    (tmp_path / "labels.csv").write_text("file\tpose.yaw\na.jpg\t0\n")
    assert "parted by commas or semicolons" in run(tmp_path).stderr


def test_names_cannot_steer_the_terminal(tmp_path):
    result = run(write(tmp_path, "file,pose.yaw\n\x1b[31mred.jpg,0\n"))
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr


def test_no_labels_no_folder_no_utf8_no_profile(tmp_path):
    assert "cannot be read (No such file" in run(tmp_path).stderr
    assert "is not a folder" in run(tmp_path / "none").stderr
    (tmp_path / "labels.csv").write_bytes(b"file,pose.yaw\n\xff.jpg,0\n")
    assert "is not UTF-8 text" in run(tmp_path).stderr
    result = run(tmp_path, "--profile", "atlantis")
    assert (result.exit_code, "no profile 'atlantis'" in result.stderr) == (2, True)


def test_a_folder_without_one_readable_photo_is_not_evaluated(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    result = run(write(tmp_path, "file,pose.yaw\na.jpg,0\n"), "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "None of the 1 photos could be judged" in result.stderr
    assert not (tmp_path / "out").exists()


def test_results_that_cannot_be_written_are_told(dataset, tmp_path):
    labels = tmp_path / "one.csv"
    labels.write_text("file,pose.yaw\npeople/anna/neutral.jpg,0\n")
    (tmp_path / "out").write_text("a file")
    result = run(dataset, "--labels", labels, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def test_an_interruption_writes_nothing_and_says_so(dataset, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("booth.evaluate.judged_photos", interrupted)
    result = run(dataset, "--out", tmp_path / "out")
    assert result.exit_code == 130
    assert "interrupted; nothing was written" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_rule_that_the_profile_does_not_judge_is_told(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((200, 200, 3), 128, np.uint8))
    result = run(write(tmp_path, f"file,{','.join(IDS)}\na.png{',0' * len(IDS)}\n"), "--json")
    told = json.loads(result.stdout)
    judged = load_profile("icao").rules
    assert told["ignored_rules"] == [rule for rule in IDS if rule not in judged]
    assert told["eer"] is None


def labelled(name: str, *, bad: bool, subject: str | None = None) -> Labelled:
    return Labelled(name, Path(name), subject, None, {"pose.yaw": bad})


def said(value: float | None, verdict: Verdict) -> Answer:
    return Answer({"pose.yaw": Scored(value, verdict, None)}, skin="tan", ita_deg=20.0)


def test_what_was_not_assessed_counts_as_not_compliant_and_is_also_left_out():
    """Of four compliant photos one was not assessed; of two others one passed."""
    pairs = [(labelled(f"good-{n}", bad=False), said(n, Verdict.PASS)) for n in range(3)]
    pairs += [(labelled("dark", bad=False), said(None, Verdict.NOT_ASSESSED))]
    pairs += [
        (labelled("turned", bad=True), said(20, Verdict.FAIL)),
        (labelled("missed", bad=True), said(1.5, Verdict.PASS)),
    ]
    found = figures("pose.yaw", Band(-5, 5, None, None), pairs, with_interval=True)
    assert (found.compliant, found.others, found.false_rejects, found.false_accepts) == (4, 2, 0, 1)
    assert (found.unassessed_compliant, found.unassessed_others) == (1, 0)
    assert found.eer == 0.5
    assert found.eer_judged == pytest.approx(1 / 6)
    assert found.interval is not None
    assert found.interval.resamples > 900


def test_a_rule_that_judged_no_photo_was_not_evaluated():
    pairs = [(labelled(f"{n}", bad=n > 3), said(None, Verdict.NOT_ASSESSED)) for n in range(6)]
    found = figures("pose.yaw", Band(-5, 5, None, None), pairs, with_interval=True)
    assert (found.unassessed, found.eer, found.eer_judged, found.interval) == (6, None, None, None)


def test_skin_tones_are_told_from_light_to_dark_and_claim_nothing_on_few_photos():
    photos = [labelled(f"{n}", bad=False) for n in range(25)]
    answers = [said(0, Verdict.PASS)] * 22 + [Answer({}, "very light", 60.0)] * 2 + [Answer(error="not a picture")]
    told = summarise(photos, answers, load_profile("icao"))
    assert [(part.name, part.photos) for part in told.skin] == [("very light", 2), ("tan", 22), ("unknown", 1)]
    assert (claimed(1, 19), claimed(1, 20), claimed(0, 0)) == ("n < 20", "5.0 %", "-")


def test_plots_and_pages_escape_what_they_are_given():
    drawn = det_svg("<b>&", [("</text><script>", curve([0.0, 1.0], [0.5, 2.0]))])
    assert "<script" not in drawn
    ET.fromstring(drawn)  # own text
    html = page("<i>", ["<u>"], ["<s>"], [('"><script>', ["<script>"])])
    assert "<script" not in html
