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
from validation.errors import ProfileInvalidError
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


def test_a_change_without_a_source_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "profiles"
    folder.mkdir()
    text = (resources.files("validation") / "profiles" / "icao.toml").read_text("utf-8")
    (folder / "icao.toml").write_text(text, "utf-8")
    (folder / "own.toml").write_text('extends = "icao"\nname = "own"\n[rules."pose.yaw"]\nhigh = 20\n', "utf-8")
    monkeypatch.setattr(profiles.resources, "files", lambda _: tmp_path)
    with pytest.raises(ProfileInvalidError, match=r"changes 'pose\.yaw' without naming a source"):
        profiles.load_profile.__wrapped__("own")
