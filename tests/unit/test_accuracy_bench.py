"""The bench behind docs/accuracy.md: labels that say what was rendered, and a document that it can rewrite."""

from __future__ import annotations

import csv
import json

import pytest

from tests.bench import accuracy, render_labels
from validation.rules import RULES

IDS = {rule.id for rule in RULES}


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    target = tmp_path_factory.mktemp("labels") / "labels.csv"
    render_labels.main(target)
    return {row["file"]: row for row in csv.DictReader(target.read_text("utf-8").splitlines())}


def test_every_render_has_its_row(labels, applicants):
    images = json.loads((applicants / "labels.json").read_text("utf-8"))["images"]
    frames = json.loads((applicants / "session.json").read_text("utf-8"))["frames"]
    assert list(labels) == [one["file"] for one in (*images, *frames)]
    assert {cell for row in labels.values() for rule, cell in row.items() if rule in IDS} == {"", "0", "1"}


def test_labels_say_what_was_rendered(labels):
    expected = {
        "people/anna/neutral.jpg": {"pose.yaw": "0", "geometry.head_height": "1", "eyes.open": "0"},
        "variations/anna_yaw+10.jpg": {"pose.yaw": "1", "pose.pitch": "0"},
        "variations/mei_roll+5.jpg": {"pose.roll": ""},
        "variations/mei_too_far.jpg": {"geometry.inter_eye": "1"},
        "variations/kwame_sunglasses.jpg": {"eyes.dark_lenses": "1", "eyes.open": "", "eyes.glasses": "1"},
        "variations/ingrid_mask.jpg": {"face.lower_visible": "1", "mouth.closed": ""},
        "variations/anna_smile_teeth.jpg": {"mouth.teeth": "1", "expression.smile": "1"},
        "session/frame_13.jpg": {"eyes.open": "1"},
        "session/frame_14.jpg": {"eyes.open": ""},
        "session/frame_00.jpg": {"geometry.head_inside": "1", "eyes.open": ""},
    }
    for file, cells in expected.items():
        assert {rule: labels[file][rule] for rule in cells} == cells, file


def test_every_fault_breaks_a_rule_or_leaves_one_open():
    for name, (broken, unsure) in render_labels.FAULTS.items():
        assert broken or unsure, name
        assert set(broken) | set(unsure) <= set(render_labels.RULES), name


def test_the_document_has_the_marks_of_every_part():
    text = accuracy.DOCUMENT.read_text("utf-8")
    for mark in ("pose", "courses", *accuracy.NAMES, *(f"{part}-overview" for part in accuracy.NAMES)):
        changed = accuracy.replaced(text, mark, "new figures \\1")
        assert "new figures \\1" in changed
        assert changed.count("<!--") == text.count("<!--")
    with pytest.raises(SystemExit, match="no marks"):
        accuracy.replaced(text, "nonsense", "")
