"""The support bundle: what helps is in it, nothing of anybody is, and a new setting is withheld until somebody allows it."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from booth.config import Config
from booth.kiosk import EventView
from booth.maintenance import TestRun
from booth.outbox_quota import OutboxStatus
from booth.support_bundle import ALLOWED, FIRST, BundleFacts, config_told, make_bundle
from hardware.link import DeviceState, DeviceStatus
from tests.calibrations import calibration
from tests.canaries import text_needles
from tests.unit.test_history import finding

NOW = datetime(2026, 11, 23, 3, 30, tzinfo=UTC)
NUMBER, TOKEN, PERSON = "KD48213377", "kq7w-m3zx-p9tc-4hvb", "annacanary"
SECRET, PACKET = "hunter2canary", "9f" * 32
PIXELS = np.random.default_rng(3).integers(0, 255, 90, np.uint8).tobytes().hex()


@pytest.fixture
def facts(tmp_path):
    """Facts of a booth that has met a person, in all the wrong places."""
    home = tmp_path / PERSON
    (home / "outbox" / "packets").mkdir(parents=True)
    (home / "outbox" / "packets" / f"{PACKET}.packet").write_bytes(PIXELS.encode())
    config = Config(
        booth={"id": "booth-0001", "site": "hall", "centre": "c-7", "data_dir": home},
        camera={"url": f"http://{PERSON}:{SECRET}@10.1.2.3/{NUMBER}", "still_url": f"http://cam/{TOKEN}.png"},
        lights={
            "url": f"wled+serial:///dev/{PERSON}",
            "channels": {n: {"segment": i} for i, n in enumerate(("key_left", "key_right", "fill_top", "background"))},
        },
        profile={"name": "demo"},
        intake={"url": f"https://{PERSON}:{SECRET}@intake.example:8443/{TOKEN}", "trust": home / f"{PERSON}.pem"},
        keys={"signer": f"file:/home/{PERSON}/booth.key", "recipients": [home / "desk.pub"],
              "passphrase_file": home / SECRET},
        technician={"passphrase_hash": home / f"{SECRET}.argon2id"},
        visit={"language": "de"},
    )  # fmt: skip
    events = (
        EventView(at="2026-11-23T03:00:00Z", level="warning", text=f"a number was not taken: {NUMBER} code={TOKEN}"),
        EventView(
            at="2026-11-23T02:00:00Z", level="info", text=f"/home/{PERSON}/{PACKET}.packet holds b'{PIXELS[:40]}'"
        ),
        EventView(
            at="2026-11-23T01:30:00Z", level="info", text="a staff code was used: override (medical)", of_visit=True
        ),
        EventView(at="2026-11-23T01:29:00Z", level="error", text="capture_failed: camera.lost: gone", of_visit=True),
        EventView(at="2026-11-23T01:28:00Z", level="error", text="capture_failed: camera.lost: gone", of_visit=True),
        EventView(
            at="2026-11-23T01:00:00Z", level="error", text="lights: lights.timeout: The lamp controller is silent."
        ),
    )
    devices = (
        DeviceStatus(
            "camera", f"http://{PERSON}:{SECRET}@10.1.2.3/{NUMBER}", DeviceState.LOST, 0,
            f"no answer from http://{PERSON}:{SECRET}@10.1.2.3/{NUMBER}",
            {"fps": "30", "name": f"camera of {PERSON}", "firmware": "1.2", "format": f"x\n{SECRET}"},
        ),
    )  # fmt: skip
    return BundleFacts(
        config=config,
        events=events,
        devices=devices,
        outbox=OutboxStatus(waiting=2, oldest_at=NOW.timestamp() - 86_400, refusal=f"full because of {NUMBER}"),
        tests=TestRun(started_at="2026-11-23T03:30:00Z", total=1, done=1, findings=(finding(60.0, "fail"),)),
        history=[{"at": NOW.timestamp(), "check": "lamp.key_left", "value": 60.0}],
        calibration=calibration(),
        now=NOW,
    )


def members(data):
    with zipfile.ZipFile(io.BytesIO(data)) as bundle:
        assert bundle.testzip() is None
        return {name: bundle.read(name) for name in bundle.namelist()}


def test_nothing_of_anybody_is_in_it(facts):
    data = make_bundle(facts)
    found = members(data)
    searched = b"\0".join([data, *(name.encode() for name in found), *found.values()])
    for what, text in (("number", NUMBER), ("token", TOKEN), ("person", PERSON), ("secret", SECRET), ("packet", PACKET),
                       ("pixels", PIXELS[:40])):  # fmt: skip
        for needle in text_needles(what, text):
            assert needle.data not in searched, needle.name


def test_what_helps_is_in_it(facts):
    found = {name: content.decode() for name, content in members(make_bundle(facts)).items()}
    assert set(found) == {
        "bundle.json", "config.json", "events.txt", "findings.json", "history.json", "devices.json", "outbox.json",
        "calibration.json",
    }  # fmt: skip
    told = {name: json.loads(text) for name, text in found.items() if name.endswith(".json")}
    settings = told["config.json"]["settings"]
    assert settings["intake.url"] == "https://intake.example:8443"
    assert settings["camera.url"] == "http"
    assert settings["lights.url"] == "wled+serial"
    assert settings["lights.channels.fill_top.segment"] == 2
    assert settings["keys.recipients"] == 1
    assert settings["outbox.min_free_bytes"] == 500 * 1024 * 1024
    assert settings["visit.language"] == "de"
    assert {"booth.data_dir", "keys.passphrase_file", "intake.trust"} <= set(told["config.json"]["withheld"])
    assert told["findings.json"]["findings"][0]["cause"] == "cause.lamp.weak"
    assert told["devices.json"][0]["info"] == {"fps": "30", "firmware": "1.2"}
    assert told["outbox.json"]["waiting"] == 2
    assert told["outbox.json"]["oldest_age_days"] == 1
    assert told["calibration.json"]["white_balance"]["neutral_error"] == pytest.approx(0.4)
    assert told["bundle.json"]["packages"]["mediapipe"]
    lines = found["events.txt"].splitlines()
    assert lines[0].endswith("error lights: lights.timeout: The lamp controller is silent.")


def test_no_line_tells_when_somebody_was_here(facts):
    text = members(make_bundle(facts))["events.txt"].decode()
    assert text.splitlines()[-1] == "2026-11-23 error capture_failed: camera.lost: gone"
    assert text.count("capture_failed") == 1
    assert "medical" not in text
    assert "T01:2" not in text


def test_without_tests_calibration_or_history_there_is_a_bundle_too(facts):
    bare = BundleFacts(facts.config, (), (), OutboxStatus(), None, (), None, NOW)
    assert json.loads(members(make_bundle(bare))["calibration.json"]) is None


def test_every_setting_is_told_or_withheld_and_none_is_both(facts):
    told = config_told(facts.config)
    assert set(told["settings"]) & set(told["withheld"]) == set()
    assert len(told["settings"]) > 25
    # Whatever is a path, and whatever is not named, stays here.
    for value in told["settings"].values():
        assert not isinstance(value, str) or "/" not in value or value.startswith(("http://", "https://"))
        assert not isinstance(value, str) or not Path(value).is_absolute()


def test_a_value_of_another_shape_is_withheld_even_where_its_key_is_allowed(facts):
    odd = facts.config.model_copy(update={"profile": facts.config.profile.model_copy(update={"name": f"x {SECRET}"})})
    told = config_told(odd)
    assert "profile.name" in told["withheld"]
    assert set(FIRST) & set(ALLOWED) == set()
