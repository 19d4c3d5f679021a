"""`booth check` as a user meets it: tables, JSON, exit codes, and hostile files."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
import pytest
import skimage.data
import typer
from PIL import Image
from typer.testing import CliRunner

from booth.check import PORTRAIT_SUFFIX, check_command
from validation.report import Report

# The command in its own process, which tells its peak memory in kB.
# VmHWM is this program's own peak; ru_maxrss would start at the size of the test process that forked it.
MEASURED_RUN = """
import pathlib, sys, typer
from booth.check import check_command
app = typer.Typer()
app.command()(check_command)
try:
    app()
finally:
    status = pathlib.Path("/proc/self/status").read_text()
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), file=sys.stderr)
"""

app = typer.Typer()
app.command()(check_command)


def run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def people(applicants) -> Path:
    return applicants / "people"


def png_bomb() -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0))
    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(bytes(60_001)) for _ in range(20_000)) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def hostile(folder: Path, photo: Path) -> dict[str, tuple[Path, str]]:
    """Every hostile file with a word of the sentence that it should get."""
    good = Image.open(photo)
    (folder / "text.jpg").write_text("this is not a photo\n")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "truncated.jpg").write_bytes(photo.read_bytes()[:30_000])
    (folder / "one.png").write_bytes(bytes(cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1]))
    (folder / "bomb.png").write_bytes(png_bomb())
    small = good.resize((96, 128))
    small.save(folder / "animated.gif", save_all=True, append_images=[small.rotate(5)], duration=50)
    good.convert("CMYK").save(folder / "cmyk.jpg")
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    words = {
        "text.jpg": "not a picture",
        "empty.jpg": "empty",
        "truncated.jpg": "damaged or cut off",
        "one.png": "1 x 1",
        "bomb.png": "64 million",
        "animated.gif": "animation",
        "cmyk.jpg": "CMYK",
        "folder.jpg": "folder",
        "pipe.jpg": "not a regular file",
        "missing.jpg": "no such file",
    }
    return {name: (folder / name, word) for name, word in words.items()}


def test_a_portrait_cut_by_the_booth_is_compliant_and_written(people, tmp_path):
    result = run("--profile", "demo", "--crop", "--out", tmp_path, people / "anna" / "neutral.jpg")
    assert result.exit_code == 0, result.output
    assert "compliant under profile demo" in result.output
    assert "as the booth would cut it" in result.output
    written = tmp_path / f"neutral.jpg{PORTRAIT_SUFFIX}"
    assert cv2.imread(str(written)).shape == (800, 622, 3)
    assert run("--profile", "demo", written).exit_code == 0


def test_the_uncut_photo_is_judged_as_it_is(people):
    result = run("--profile", "demo", people / "anna" / "neutral.jpg")
    assert result.exit_code == 1
    assert "as submitted" in result.output
    assert "not compliant" in result.output
    assert "Come a little closer" in result.output.replace("\n", " ")


def test_json_holds_whole_reports(people, tmp_path):
    result = run("--json", "--profile", "demo", people / "mei" / "neutral.jpg", tmp_path / "missing.jpg")
    assert result.exit_code == 2
    first, second = json.loads(result.stdout)["photos"]
    report = Report.model_validate(first["report"])
    assert first["compliant"] is report.compliant is False
    assert report.finding("geometry.head_height").verdict == "fail"
    assert second == {
        "photo": str(tmp_path / "missing.jpg"),
        "error": {"code": "image.unreadable", "message": "There is no such file."},
    }


def test_the_published_schema_is_the_reports(request):
    published = request.config.rootpath / "docs" / "report.schema.json"
    assert json.loads(published.read_text("utf-8")) == Report.model_json_schema()


def test_hostile_files_get_one_sentence_each_and_the_others_are_still_judged(people, tmp_path):
    files = hostile(tmp_path, people / "anna" / "neutral.jpg")
    result = run("--json", *(path for path, _ in files.values()), people / "anna" / "neutral.jpg")
    assert result.exit_code == 2
    told = {Path(p["photo"]).name: p for p in json.loads(result.stdout)["photos"]}
    for name, (_, word) in files.items():
        message = told[name]["error"]["message"]
        assert word in message
        assert "\n" not in message
        assert message.endswith(".")
    assert told["neutral.jpg"]["report"]["findings"][0]["verdict"] == "pass"


def test_unusual_but_sound_files_are_judged_alike(people, tmp_path):
    photo = people / "anna" / "neutral.jpg"
    pixels = cv2.imread(str(photo))
    cv2.imwrite(str(tmp_path / "deep.png"), pixels.astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(pixels)[..., ::-1])).save(
        tmp_path / "turned.jpg", exif=exif.tobytes(), quality=98
    )
    result = run("--json", photo, tmp_path / "deep.png", tmp_path / "turned.jpg")
    plain, deep, turned = (p["report"] for p in json.loads(result.stdout)["photos"])
    assert deep["findings"] == plain["findings"]
    assert (turned["width"], turned["height"]) == (960, 1280)
    assert [f["verdict"] for f in turned["findings"]] == [f["verdict"] for f in plain["findings"]]


def test_memory_stays_below_a_gigabyte(people, tmp_path):
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_bomb())
    largest = tmp_path / "largest.jpg"
    photo = cv2.imread(str(people / "anna" / "neutral.jpg"))
    cv2.imwrite(str(largest), cv2.resize(photo, (6900, 9200)))
    done = subprocess.run(
        [sys.executable, "-c", MEASURED_RUN, "--json", str(bomb), str(largest)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert int(done.stderr) < 1_000_000, f"{done.stderr} kB"  # and nothing but our own line
    _, judged = json.loads(done.stdout)["photos"]
    assert judged["report"]["findings"][0]["verdict"] == "pass"


def test_a_profile_that_does_not_exist_is_told(people):
    result = run("--profile", "atlantis", people / "anna" / "neutral.jpg")
    assert result.exit_code == 2
    assert "no profile 'atlantis'" in result.output


def test_too_few_pixels_for_the_crop_are_told_with_the_arithmetic(people, tmp_path):
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), cv2.resize(cv2.imread(str(people / "anna" / "neutral.jpg")), (480, 640)))
    result = run("--crop", "--profile", "demo", small)
    assert result.exit_code == 2
    assert "needs 800 pixels of height" in result.output
    assert not list(tmp_path.glob(f"*{PORTRAIT_SUFFIX}"))


def test_the_photo_itself_is_never_overwritten(people, tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes((people / "anna" / "neutral.jpg").read_bytes())
    result = run("--crop", "--profile", "demo", "--out", photo, photo)
    assert result.exit_code == 2
    assert photo.read_bytes() == (people / "anna" / "neutral.jpg").read_bytes()


def verdicts(path: Path) -> dict[str, str]:
    return {f["rule"]: f["verdict"] for f in json.loads(run("--json", path).stdout)["photos"][0]["report"]["findings"]}


def test_an_astronaut_gets_the_findings_a_person_would_give(tmp_path):
    """Smiling with teeth, far away, high in the picture, flag and model behind her; eyes open, facing the camera, evenly lit."""
    photo = tmp_path / "astronaut.png"
    Image.fromarray(skimage.data.astronaut()).save(photo)
    found = verdicts(photo)
    broken = {"geometry.inter_eye", "geometry.head_height", "geometry.vertical", "mouth.closed"}
    met = {"face.single", "pose.yaw", "pose.pitch", "pose.roll", "eyes.open", "light.even", "light.sides"}
    met |= {"face.lower_visible", "light.exposure"}
    assert {rule for rule in broken if found[rule] != "fail"} == set()
    assert {rule for rule in met if found[rule] != "pass"} == set()
    assert found["background.one_colour"] == "warn"


def test_an_admiral_gets_the_findings_a_person_would_give():
    """Small in the picture and a flag behind her; mouth closed, eyes open, facing the camera."""
    found = verdicts(Path(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))))
    assert found["geometry.head_height"] == "fail"
    assert found["background.one_colour"] == "warn"
    assert found["background.uniform"] == "warn"
    met = {"face.single", "pose.yaw", "pose.pitch", "pose.roll", "eyes.open", "mouth.closed", "face.lower_visible"}
    assert {rule for rule in met if found[rule] != "pass"} == set()
