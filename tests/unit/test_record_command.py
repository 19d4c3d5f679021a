"""`booth record`: what it shows of every form, converts and wraps, and how it refuses."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from booth.cli import app
from crypto.dg2 import read_dg2, write_dg2
from crypto.face_record import FaceRecord, ImageInformation, Picture, Size
from crypto.face_record_2005 import read_face_record_2005
from crypto.face_record_codes import ImageFormat
from crypto.face_record_der import read_face_record, write_face_record
from crypto.face_record_form import Choices
from tests.records import FULL, OLD, samples


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()


def run(cli: CliRunner, *words: object) -> Any:
    return cli.invoke(app, ["record", *map(str, words)])


def placed(folder: Path, data: bytes, name: str = "face.bin") -> Path:
    file = folder / name
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("name", samples())
def test_every_form_is_recognised_and_every_value_has_its_place(cli: CliRunner, tmp_path: Path, name: str) -> None:
    data = samples()[name]
    file = placed(tmp_path, data)
    answer = run(cli, "show", file, "--json")
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert told["bytes"] == len(data)
    assert told["form"].startswith("ICAO LDS DG2 with ISO/IEC" if name.startswith("DG2") else "ISO/IEC")
    places = [field["offset"] for field in told["fields"]]
    assert places == sorted(places)
    assert max(places) < len(data)
    assert run(cli, "show", file).exit_code == 0


def test_values_are_told_in_words(cli: CliRunner, tmp_path: Path) -> None:
    shown = run(cli, "show", placed(tmp_path, write_face_record(FULL))).stdout
    for words in (
        "ICAO application profile for eMRTDs",
        "jpeg2000 lossy (3)",
        "EyesOpen of ISO/IEC 29794-5 (77)",
        "ISO/IEC JTC 1/SC 37 (257)",
        "failureToAssess",
        "MPEG-4 point 9.3: tip of the nose",
        "572 px",
        "-180°",
        "unattended (4)",
        "65 A1 30 A2 80",
    ):
        assert words in shown, words
    shown = run(cli, "show", placed(tmp_path, write_dg2(OLD.to_bytes()), "old")).stdout
    for words in (
        "face image of ISO/IEC 19794-5 (0008)",
        "glasses, mouth open (0x000043)",
        "yaw 0° (1), pitch -2° (180), roll 4° (3)",
        "full frontal (1)",
        "MPEG-4 point 12.1: centre of the left eye at x 260, y 200",
        "female (2)",
    ):
        assert words in shown, words


def test_places_count_from_the_beginning_of_the_file(cli: CliRunner, tmp_path: Path) -> None:
    data = write_dg2(write_face_record(FULL))
    told = json.loads(run(cli, "show", placed(tmp_path, data), "--json").stdout)
    year = next(field for field in told["fields"] if field["name"] == "captureDateTimeBlock.year")
    assert data[year["offset"] : year["offset"] + 4] == bytes.fromhex("800207E8")


def test_the_picture_is_taken_out_and_looked_at(cli: CliRunner, tmp_path: Path) -> None:
    done, jpeg = cv2.imencode(".jpg", np.full((48, 32, 3), 90, np.uint8))
    assert done
    picture = Picture(jpeg.tobytes(), ImageInformation(ImageFormat.JPEG, size=Size(32, 48)))
    file = placed(tmp_path, write_face_record(FaceRecord(picture)))
    out = tmp_path / "face.jpg"
    answer = run(cli, "show", file, "--image", out)
    assert answer.exit_code == 0
    assert "JPEG, 32 x 48 pixels" in answer.stdout
    assert out.read_bytes() == jpeg.tobytes()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    bare = json.loads(run(cli, "show", out, "--json").stdout)
    assert (bare["form"], bare["fields"]) == ("JPEG picture, no record", [])


def test_convert_there_and_back(cli: CliRunner, tmp_path: Path) -> None:
    old = placed(tmp_path, OLD.to_bytes(), "old")
    assert run(cli, "convert", old, "--to", "39794-5", "--out", tmp_path / "new").exit_code == 0
    record = read_face_record((tmp_path / "new").read_bytes())
    assert record.landmarks == OLD.points
    assert run(cli, "convert", tmp_path / "new", "--to", "39794-5-base", "--out", tmp_path / "base").exit_code == 0
    assert (tmp_path / "base").read_bytes() == write_face_record(record, Choices.ISO)
    back = tmp_path / "back"
    assert run(cli, "convert", tmp_path / "base", "--to", "19794-5:2005", "--out", back).exit_code == 0
    assert read_face_record_2005(back.read_bytes()).points == OLD.points
    assert read_face_record_2005(back.read_bytes()).picture == OLD.picture


@pytest.mark.parametrize("created", [True, False])
def test_dg2_wraps_the_record_as_it_is(cli: CliRunner, tmp_path: Path, created: bool) -> None:
    data = write_face_record(FULL)
    words = ("dg2", placed(tmp_path, data), "--out", tmp_path / "dg2", "--json", *(["--created"] if created else []))
    answer = run(cli, *words)
    assert json.loads(answer.stdout)["bytes"] == (tmp_path / "dg2").stat().st_size
    group = read_dg2((tmp_path / "dg2").read_bytes())
    assert group.record == data
    assert (0x83 in dict(group.header)) is created


def test_refusals_say_why_and_leave_nothing(cli: CliRunner, tmp_path: Path) -> None:
    good = placed(tmp_path, write_face_record(FULL))
    bad = placed(tmp_path, write_face_record(FULL)[:-3], "bad")
    other = placed(tmp_path, b"GIF89a", "other")
    empty = placed(tmp_path, b"", "empty")
    jpeg = placed(tmp_path, b"\xff\xd8\xff\xe0", "picture.jpg")
    out = tmp_path / "out"
    for status, words, says in (
        (1, ("show", bad), "cut off"),
        (1, ("show", other), "neither a face record"),
        (1, ("show", empty), "neither a face record"),
        (1, ("convert", jpeg, "--to", "39794-5", "--out", out), "nothing to convert"),
        (1, ("dg2", jpeg, "--out", out), "make a record of it first"),
        (1, ("convert", bad, "--to", "39794-5", "--out", out), "cut off"),
        (2, ("show", tmp_path / "missing"), "is not a file"),
        (2, ("show", tmp_path), "is not a file"),
        (2, ("dg2", good, "--out", bad), "cannot be written"),
        (2, ("dg2", good, "--out", tmp_path / "no" / "out"), "cannot be made"),
    ):
        answer = run(cli, *words)
        assert (answer.exit_code, says in answer.stderr) == (status, True), (words, answer.output)
        told = json.loads(run(cli, *words, "--json").stdout)
        assert told["verdict"] == ("refused" if status == 1 else "unreadable")
        assert says in told["reason"]
    assert not out.exists()
    assert bad.read_bytes() == write_face_record(FULL)[:-3]
    assert {file.name for file in tmp_path.iterdir()} == {"face.bin", "bad", "other", "empty", "picture.jpg"}


def test_a_narrow_terminal_keeps_names_whole_and_leaves_the_tags_out(
    cli: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = placed(tmp_path, write_face_record(FULL))
    monkeypatch.setenv("COLUMNS", "80")
    shown = run(cli, "show", file).stdout
    assert "imageRepresentation / imageInformation2DBlock / postAcquisitionProcessingBlock\n" in shown
    assert "superResolutionProcessed " in shown
    assert "65 A1 30 A2 80" not in shown
    assert "--json" in shown
    monkeypatch.setenv("COLUMNS", "110")
    assert "65 A1 30 A2 80" in run(cli, "show", file).stdout


def test_help_shows_examples(cli: CliRunner) -> None:
    for words in ((), ("show",), ("convert",), ("dg2",)):
        answer = run(cli, *words, "--help")
        assert answer.exit_code == 0
        assert "booth record" in answer.stdout
