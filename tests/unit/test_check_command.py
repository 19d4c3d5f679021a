"""`booth check` as a user meets it: tables, JSON, exit codes, and hostile files."""

from __future__ import annotations

import csv
import json
import os
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from multiprocessing import resource_tracker
from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
import pytest
import skimage.data
import typer
from PIL import Image
from typer.testing import CliRunner

from booth.check import _profiles, check_command
from booth.check_files import PORTRAIT_SUFFIX, portrait_targets, wanted, whole_file
from booth.check_table import remedy
from booth.messages import Messages
from validation.profile import profile_names
from validation.report import Finding, Level, Limit, Report, Verdict

# The command in its own process, which tells its peak memory in kB.
# VmHWM is this program's own peak; ru_maxrss would start at the size of the test process that forked it.
MEASURED_RUN = """
import pathlib, sys, typer
from booth.check import _profiles, check_command
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
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": None})  # xdist sets one


@pytest.fixture(scope="module", autouse=True)
def _tracker():
    resource_tracker.ensure_running()  # multiprocessing's own child, which stays for the whole session


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
    written = tmp_path / "portrait.jpg"
    result = run("--profile", "demo", "--crop", written, people / "anna" / "neutral.jpg")
    assert result.exit_code == 0, result.output
    assert "compliant under profile demo" in result.output
    assert "as the booth would cut it" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["portrait.jpg"]
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
    of_the_file = {"image.compression", "image.colour_space"}
    told = [[f for f in report["findings"] if f["rule"] not in of_the_file] for report in (plain, deep)]
    assert told[0] == told[1]
    assert (turned["width"], turned["height"]) == (960, 1280)
    verdicts = [
        [f["verdict"] for f in report["findings"] if not f["rule"].startswith("image.")] for report in (plain, turned)
    ]
    assert verdicts[0] == verdicts[1]


def test_memory_stays_below_a_gigabyte(people, tmp_path):
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_bomb())
    largest = tmp_path / "largest.jpg"
    photo = cv2.imread(str(people / "anna" / "neutral.jpg"))
    cv2.imwrite(str(largest), cv2.resize(photo, (6900, 9200)))
    done = subprocess.run(
        [sys.executable, "-c", MEASURED_RUN, "--json", "--jobs", "1", str(bomb), str(largest)],
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
    result = run("--crop", tmp_path / "portrait.jpg", "--profile", "demo", small)
    assert result.exit_code == 2
    assert "needs 800 pixels of height" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["small.png"]


@pytest.mark.parametrize("option", ["--crop", "--html", "--ofiq"])
def test_the_photo_itself_is_never_overwritten(people, tmp_path, option):
    photo, linked = tmp_path / "photo.jpg", tmp_path / "linked.jpg"
    photo.write_bytes((people / "anna" / "neutral.jpg").read_bytes())
    linked.symlink_to(photo)
    for target in (photo, linked):
        result = run(option, target, "--profile", "demo", photo)
        assert result.exit_code == 2
        assert "would be overwritten" in result.output
    assert photo.read_bytes() == (people / "anna" / "neutral.jpg").read_bytes()


def test_outputs_that_cannot_be_written_are_told_before_anything_is_judged(people, tmp_path):
    photo = people / "anna" / "neutral.jpg"
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for arguments, word in (
        (("--html", tmp_path), "is a folder"),
        (("--html", tmp_path / "pipe"), "not an ordinary file"),
        (("--ofiq", tmp_path / "missing" / "out.csv"), "no folder"),
        (("--crop", tmp_path / "portrait.png"), "should end in .jpg"),
        (("--crop", tmp_path / "file", people / "mei" / "neutral.jpg"), "is a file"),
        (("--html", tmp_path / "out", "--ofiq", tmp_path / "out"), "same file"),
    ):
        result = run(*arguments, photo)
        assert result.exit_code == 2
        assert word in result.output.replace("\n", " ")
        assert "Traceback" not in result.output
    assert {path.name for path in tmp_path.iterdir()} == {"file", "pipe"}


def test_an_output_keeps_its_old_content_when_writing_it_fails(tmp_path):
    target = tmp_path / "report.html"
    target.write_text("old")
    with suppress(RuntimeError), whole_file(target) as file:
        file.write(b"half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    with whole_file(target) as file:
        file.write(b"new")
    assert target.read_text() == "new"


def test_a_folder_stands_for_its_pictures_and_those_below(people, tmp_path):
    for name in ("10.jpg", "9.JPG", "sub/b.jpeg", "sub/.hidden.jpg", ".away/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((people / "anna" / "neutral.jpg").read_bytes())
    (tmp_path / "notes.txt").write_text("no picture")
    found = [str(one.path.relative_to(tmp_path)) for one in wanted([tmp_path, tmp_path / "10.jpg"])]
    assert found == ["9.JPG", "10.jpg", "sub/b.jpeg"]
    result = run("--profile", "demo", "--crop", tmp_path / "cut", tmp_path)
    assert result.exit_code == 0, result.output
    assert "3 photos: 3 compliant" in result.output
    written = sorted(str(path.relative_to(tmp_path / "cut")) for path in (tmp_path / "cut").rglob("*.jpg"))
    assert written == [f"10.jpg{PORTRAIT_SUFFIX}", f"9.JPG{PORTRAIT_SUFFIX}", f"sub/b.jpeg{PORTRAIT_SUFFIX}"]


def test_a_folder_without_pictures_is_an_error_in_plain_words(tmp_path):
    result = run("--json", tmp_path)
    assert result.exit_code == 2
    (told,) = json.loads(result.stdout)["photos"]
    assert told["error"]["code"] == "check.no_picture"
    assert "no picture in this folder" in told["error"]["message"]


def test_portraits_of_photos_with_one_name_lie_as_the_photos_do(people, tmp_path):
    photos = [people / "mei" / ".." / "anna" / "neutral.jpg", people / "mei" / "neutral.jpg"]
    targets = portrait_targets(tmp_path, wanted(photos), folder=True)
    assert [str(path.relative_to(tmp_path)) for path in targets] == [
        f"anna/neutral.jpg{PORTRAIT_SUFFIX}",
        f"mei/neutral.jpg{PORTRAIT_SUFFIX}",
    ]


def test_photos_that_lie_the_wrong_way_are_named_in_one_breath(people, tmp_path):
    upright = cv2.imread(str(people / "anna" / "neutral.jpg"))
    cv2.imwrite(str(tmp_path / "down.png"), cv2.rotate(upright, cv2.ROTATE_180))
    cv2.imwrite(str(tmp_path / "side.png"), cv2.rotate(upright, cv2.ROTATE_90_CLOCKWISE))
    down, side, _ = run(tmp_path).stdout.splitlines()
    assert "upside down" in down
    assert "on its side" in side
    assert max(len(line) for line in (down, side)) < 400


def test_many_photos_get_a_line_each_and_whole_tables_when_asked(people, tmp_path):
    photos = [people / name / "neutral.jpg" for name in ("mei", "anna")] + [tmp_path / "missing.jpg"]
    lines = run("--profile", "demo", *photos).stdout.splitlines()
    assert len(lines) == 4
    assert "mei" in lines[0]
    assert "Head size" in lines[0]
    assert "anna" in lines[1]
    assert "could not be judged" in lines[2]
    assert lines[3] == "3 photos: 2 not compliant, 1 could not be judged"
    full = run("--profile", "demo", "--full", *photos).stdout
    assert full.count("Head pose") == 2


def test_what_to_do_stands_below_the_table_and_advice_is_named(people):
    capped = people.parent / "variations" / "kwame_cap.jpg"
    table = run(capped).stdout
    end = table[table.index("not compliant under profile icao") :].strip().splitlines()
    assert "Head size" in end[1]
    assert "Come a little closer" in end[1]
    assert "borderline: Forehead visible" in end[-1]
    line = run(capped, people / "anna" / "neutral.jpg").stdout.splitlines()[0]
    assert "borderline: Forehead visible" in line


@pytest.mark.parametrize(
    ("rule", "advice", "told"),
    [
        ("image.size", "advice.camera_problem", "Use a picture with more pixels"),
        ("face.single", "advice.no_face", "Use a photo that shows one face from the front"),
        ("image.motion", "advice.hold_still", "Take the photo again without movement"),
        ("geometry.head_inside", "advice.back", "Show the whole head with room around it"),
    ],
)
def test_advice_on_a_file_does_not_speak_of_the_booth(rule, advice, told):
    found = Finding(
        rule=rule,
        value=0,
        unit="%",
        limit=Limit(low=1),
        verdict=Verdict.FAIL,
        level=Level.REJECT,
        source="x",
        advice=advice,
    )
    assert remedy(Messages.load("en"), found) == told


def test_ofiq_columns_hold_what_was_measured_and_failures_for_what_could_not(people, tmp_path):
    out = tmp_path / "out.csv"
    photo = people / "anna" / "neutral.jpg"
    assert run("--ofiq", out, photo, tmp_path / "missing.jpg").exit_code == 2
    header, judged, missing = out.read_text("utf-8").splitlines()
    assert header.startswith("Filename;UnifiedQualityScore;BackgroundUniformity;")
    assert header.endswith(";NoHeadCoverings.scalar;")
    assert header.count(";") == judged.count(";") == missing.count(";") == 57
    (first, second) = csv.DictReader(out.read_text("utf-8").splitlines(), delimiter=";")
    assert first["Filename"] == str(photo)
    assert float(first["InterEyeDistance"]) > 150
    assert first["Sharpness.scalar"] == ""
    assert (second["EyesOpen"], second["EyesOpen.scalar"]) == ("0", "-1")


def test_the_file_s_own_rules_are_judged_on_a_submitted_file(people):
    report = json.loads(run("--json", people / "anna" / "neutral.jpg").stdout)["photos"][0]["report"]
    assert {f["reason"] for f in report["findings"]} & {"needs the file"} == set()


def test_help_lists_the_profiles_that_are_installed():
    assert _profiles() == ", ".join(profile_names())


# Interrupts itself, as Ctrl-C would, once the first line is printed.
INTERRUPTED = """
import os, signal, sys, typer
from booth import check
take = check._Printer.take
def interrupt(self, one):
    take(self, one)
    os.kill(os.getpid(), signal.SIGINT)
check._Printer.take = interrupt
app = typer.Typer()
app.command()(check.check_command)
if __name__ == "__main__":
    app()
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_ends_everything_quietly(people, tmp_path, jobs):
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    html = tmp_path / "report.html"
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(20):
        (photos / f"{number}.jpg").symlink_to(people / "anna" / "neutral.jpg")
    done = subprocess.run(
        [sys.executable, str(script), "--jobs", jobs, "--html", str(html), str(photos)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    assert "interrupted" in done.stderr
    assert "Traceback" not in done.stderr
    assert not html.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["interrupted.py", "photos"]


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
    assert found["background.uniform"] in {"warn", "fail"}
    met = {"face.single", "pose.yaw", "pose.pitch", "pose.roll", "eyes.open", "mouth.closed", "face.lower_visible"}
    assert {rule for rule in met if found[rule] != "pass"} == set()


def test_the_checker_starts_without_plotting_and_sound(people):
    loaded = (
        "import sys, typer\n"
        "from validation.face import FaceModel\n"
        "with FaceModel(): pass\n"
        "print([m for m in sys.modules if m.partition('.')[0] in {'matplotlib', 'sounddevice'}])\n"
        "import matplotlib.pyplot\n"
        "print(callable(matplotlib.pyplot.plot))\n"
    )
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "True"]


def test_a_picture_larger_than_the_profile_s_is_to_be_cut(applicants):
    told = run("--profile", "de-gid-6.0", applicants / "stills" / "kwame" / "neutral.jpg").stdout
    assert "Picture size: 2560 px, limit 1600 - Cut the picture to the size" in " ".join(told.split())
