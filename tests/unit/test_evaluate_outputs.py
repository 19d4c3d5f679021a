"""What `booth evaluate` and the tables of `booth check` write: never over the labels, whole or not at all, and no name that a spreadsheet runs."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from booth.check_files import file_cell, text_cell
from booth.dataset import DatasetError, read_dataset
from booth.evaluate import evaluate_command
from booth.evaluation_files import refuse_folder
from validation.rules import RULES

IDS = [rule.id for rule in RULES]
app = typer.Typer()
app.command()(evaluate_command)


def run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def judges_nothing(monkeypatch):
    def judged(*_):
        raise AssertionError("a photo was judged")

    monkeypatch.setattr("booth.evaluate.judged_photos", judged)


@pytest.mark.usefixtures("judges_nothing")
def test_labels_are_not_overwritten_by_the_results(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    labels = tmp_path / "scores.csv"
    labels.write_text("file,pose.yaw\na.jpg,0\n")
    result = run(tmp_path, "--labels", labels, "--out", tmp_path)
    assert (result.exit_code, "would overwrite the labels" in result.stderr) == (2, True)
    assert labels.read_text() == "file,pose.yaw\na.jpg,0\n"


@pytest.mark.usefixtures("judges_nothing")
def test_a_place_that_cannot_be_written_is_told_before_anything_is_judged(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "labels.csv").write_text("file,pose.yaw\na.jpg,0\n")
    (tmp_path / "out").write_text("a file")
    for out in (tmp_path / "out", tmp_path / "out" / "deeper"):
        result = run(tmp_path, "--out", out)
        assert (result.exit_code, "cannot be written" in result.stderr) == (2, True)


def test_a_folder_that_is_not_there_yet_may_be_written(tmp_path):
    refuse_folder(tmp_path / "new" / "newer", tmp_path / "labels.csv")
    assert not (tmp_path / "new").exists()


def test_no_cell_begins_a_formula(applicants, tmp_path):
    shutil.copy(applicants / "people/anna/neutral.jpg", tmp_path / "=cmd.jpg")
    (tmp_path / "labels.csv").write_text("file,subject,group,pose.yaw\n=cmd.jpg,+1,@x,0\n")
    result = run(tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    for name in ("scores.csv", "summary.csv"):
        rows = list(csv.DictReader((tmp_path / "out" / name).read_text("utf-8").splitlines()))
        names = {row[key] for row in rows for key in ("file", "subject", "group", "name") if key in row}
        assert not [name for name in names if name.startswith(("=", "+", "-", "@"))]
    assert (tmp_path / file_cell("=cmd.jpg")).is_file()
    assert not list((tmp_path / "out").glob(".*.part"))


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@f", "\t=1", "\r=1", "\n=1"])
def test_what_a_spreadsheet_would_run_is_marked_and_nothing_else(text):
    assert (file_cell(text), text_cell(text)) == (f"./{text}", f"'{text}")
    assert (file_cell(f"a{text}"), text_cell(f"a{text}")) == (f"a{text}", f"a{text}")


def test_labels_that_have_no_end_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for source in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DatasetError, match="not an ordinary file"):
            read_dataset(tmp_path, IDS, source)


def test_a_name_longer_than_any_file_has_is_a_missing_file(tmp_path):
    (tmp_path / "labels.csv").write_text(f"file,pose.yaw\n{'a' * 5000}.jpg,0\n")
    with pytest.raises(DatasetError, match="line 2: there is no file 'aaa") as caught:
        read_dataset(tmp_path, IDS)
    assert len(str(caught.value)) < 1000
