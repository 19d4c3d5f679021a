"""Profiles are data: every limit says where it comes from, and what the booth cuts under a profile lies inside that profile's own bands."""

from __future__ import annotations

import re
import tomllib
from importlib import resources

import cv2
import pytest

from capture.portrait import crop_facts, cut, plan_crop
from validation import profile as profiles
from validation.check import check
from validation.errors import ProfileInvalidError, ProfileUnknownError
from validation.report import Level
from validation.rules import RULES, load_profile, profile_names

TABLE = {rule.id for rule in RULES}
# A document, a site, or an honest word.
DOCUMENT = re.compile(
    r"ISO/IEC|BSI TR-|ICAO|Doc 9303|FICV|NIST|BioGaze|www\.gov\.uk|travel\.state\.gov|Order 785|German sample sheet|assumed|calibrated"
)
PLACE = ("geometry.", "image.size", "image.aspect")


def tables(name: str) -> dict[str, dict[str, object]]:
    """The rules as the profile's own file has them, without what it extends."""
    text = resources.files("validation").joinpath("profiles", f"{name}.toml").read_text("utf-8")
    return tomllib.loads(text)["rules"]


def test_the_profiles_that_are_promised_are_there():
    assert set(profile_names()) >= {"icao", "demo", "de-gid-6.0", "eu-ees", "us", "uk", "ru", "child-under-6"}


def test_the_base_limits_every_row_of_the_table():
    assert set(load_profile("icao").rules) == TABLE


@pytest.mark.parametrize("name", profile_names())
def test_every_rule_of_a_profile_is_in_the_table_and_says_its_source(name):
    loaded = load_profile(name)
    assert loaded.name == name
    assert set(loaded.rules) <= TABLE
    for rule, limits in loaded.rules.items():
        assert DOCUMENT.search(limits.source), (rule, limits.source)
    assert DOCUMENT.search(loaded.size_source)
    assert DOCUMENT.search(loaded.chip.source)


@pytest.mark.parametrize("name", profile_names())
def test_a_band_that_warns_lies_inside_the_band_that_refuses(name):
    for rule, limits in load_profile(name).rules.items():
        if limits.low is not None and limits.warn_low is not None:
            assert limits.low <= limits.warn_low, rule
        if limits.high is not None and limits.warn_high is not None:
            assert limits.high >= limits.warn_high, rule


@pytest.mark.parametrize("name", profile_names())
def test_the_delivered_size_meets_the_size_rule(name):
    loaded = load_profile(name)
    assert loaded.rules["image.size"].limit.holds(loaded.height_px)


@pytest.mark.parametrize("name", profile_names())
def test_a_person_cut_under_a_profile_lies_inside_all_its_bands(name, applicant, face_model):
    loaded = load_profile(name)
    # A wall on both sides, so that a square picture fits as well.
    source = cv2.copyMakeBorder(applicant("stills/anna/neutral"), 0, 0, 400, 400, cv2.BORDER_REPLICATE)
    face = face_model.scene(source, mask=False).face
    plan = plan_crop(face.landmarks, (face.width, face.height), (loaded.width_px, loaded.height_px), loaded.crop)
    report = check(cut(source, plan), loaded, face_model, judged="crop", crop=crop_facts(plan))
    outside = [f for f in report.blocking if f.rule.startswith(PLACE)]
    assert outside == []
    # And not at the edge of a band: the recipe aims at the middle.
    for rule in ("geometry.head_height", "geometry.vertical"):
        finding = report.finding(rule)
        span = finding.limit.high - finding.limit.low
        assert finding.limit.low + span / 8 < finding.value < finding.limit.high - span / 8, finding


def test_a_policy_on_glasses_is_one_level():
    if "eyes.glasses" in TABLE:
        assert load_profile("us").rules["eyes.glasses"].level is Level.REJECT
        assert load_profile("icao").rules["eyes.glasses"].level is Level.WARN
        assert load_profile("us").rules["eyes.glasses"].limit == load_profile("icao").rules["eyes.glasses"].limit


@pytest.mark.parametrize("name", profile_names())
def test_a_rule_that_a_profile_changes_names_its_own_source(name):
    assert all("source" in table for table in tables(name).values())


def own_profile(text: str, tmp_path, monkeypatch):
    folder = tmp_path / "profiles"
    folder.mkdir()
    base = (resources.files("validation") / "profiles" / "icao.toml").read_text("utf-8")
    (folder / "icao.toml").write_text(base, "utf-8")
    (folder / "own.toml").write_text(text, "utf-8")
    monkeypatch.setattr(profiles.resources, "files", lambda _: tmp_path)
    return profiles.load_profile.__wrapped__("own")


def test_a_change_without_a_source_is_refused(tmp_path, monkeypatch):
    text = 'extends = "icao"\nname = "own"\n[rules."pose.yaw"]\nhigh = 20\n'
    with pytest.raises(ProfileInvalidError, match=r"changes 'pose\.yaw' without naming a source"):
        own_profile(text, tmp_path, monkeypatch)


@pytest.mark.parametrize("chip", ["[chip]\nbytes = 20000\n", "chip = 5\n", 'chip = "source"\n'])
def test_a_chip_image_without_a_source_is_refused(chip, tmp_path, monkeypatch):
    with pytest.raises(ProfileInvalidError, match="changes the chip image without naming a source"):
        own_profile('extends = "icao"\nname = "own"\n' + chip, tmp_path, monkeypatch)


def test_the_chip_of_the_german_passport_is_that_of_its_guideline_and_elsewhere_the_smaller_one():
    sizes = {name: load_profile(name).chip for name in profile_names()}
    assert all(
        (chip.width_px, chip.height_px, chip.bytes)
        == ((622, 800, 17_000) if name in {"de-gid-6.0", "demo"} else (413, 531, 15_000))
        for name, chip in sizes.items()
    )
    assert {name for name, chip in sizes.items() if chip.record != "39794-5"} == {"ru"}


BARE = 'name = "own"\nversion = "1"\ntitle = "t"\nwidth_px = 622\nheight_px = 800\nsize_source = "abc"\nretakes = 1\nhold_s = 0.7\n'
CHIP = 'chip = { width_px = 413, height_px = 531, bytes = 15000, record = "39794-5", source = "abc" }\n'
HEAD = BARE + CHIP
YAW = '[rules."pose.yaw"]\nsource = "abc"\n'
SOUND = HEAD + YAW + "high = 1\n"
HOSTILE = {
    "no rules": HEAD + "[rules]\n",
    "rules are a list": HEAD + "rules = [1]\n",
    "a rule is a number": HEAD + '[rules]\n"pose.yaw" = 5\n',
    "no number": HEAD + YAW + "low = nan\n",
    "no end": HEAD + YAW + "high = inf\n",
    "too large": HEAD + YAW + f"high = {'9' * 400}\n",
    "chip of no record": SOUND.replace("39794-5", "39794-4"),
    "chip of no bytes": SOUND.replace("15000", "0"),
    "chip of no size": SOUND.replace("413", "-1"),
    "no chip": BARE + YAW + "high = 1\n",
    "upside down": HEAD + YAW + "low = 2\nhigh = 1\n",
    "warns outside": HEAD + YAW + "low = -1\nhigh = 1\nwarn_low = -5\n",
    "warns always": HEAD + YAW + "warn_low = 2\nwarn_high = 1\n",
    "unknown key": HEAD + YAW + "hihg = 1\nhigh = 1\n",
    "huge picture": HEAD.replace("622", "1" + "0" * 30) + YAW + "high = 1\n",
    "other name": HEAD.replace("own", "icao") + YAW + "high = 1\n",
    "the base's name": 'extends = "icao"\n' + YAW + "high = 1\n",
    "itself": 'extends = "own"\nname = "own"\n',
    "no profile": 'extends = "../../etc/passwd"\nname = "own"\n',
    "deep": "a = " + "[" * 5000 + "]" * 5000,
    "no text": "\x00",
}


def test_the_sound_profile_that_the_wrong_ones_are_made_of(tmp_path, monkeypatch):
    assert own_profile(SOUND, tmp_path, monkeypatch).chip.height_px == 531


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_profile_that_says_nothing_sound_is_refused_in_one_sentence(fault, tmp_path, monkeypatch):
    with pytest.raises((ProfileInvalidError, ProfileUnknownError)):
        own_profile(HOSTILE[fault], tmp_path, monkeypatch)


def test_bytes_that_are_no_text_are_no_profile(tmp_path, monkeypatch):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "own.toml").write_bytes(b"\xff\xfe")
    monkeypatch.setattr(profiles.resources, "files", lambda _: tmp_path)
    with pytest.raises(ProfileInvalidError, match="not valid TOML"):
        profiles.load_profile.__wrapped__("own")
