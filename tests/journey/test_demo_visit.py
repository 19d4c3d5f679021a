"""A whole visit between real programs, and what independent tools say of its packet."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NUMBER = b"DEMO2026000017Q"


def run(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(arguments, capture_output=True, timeout=100, check=False, **options)


@pytest.fixture(scope="module")
def visit(tmp_path_factory) -> Path:
    """Results of one `booth demo --visit --keep`."""
    folder = tmp_path_factory.mktemp("visit")
    done = run(
        sys.executable,
        "-m",
        "booth",
        "demo",
        "--visit",
        "--keep",
        str(folder),
        "--data",
        str(folder / "data"),
        "--json",
    )
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    (folder / "outcome.json").write_bytes(done.stdout)
    return folder


def test_the_desk_opens_exactly_what_the_booth_captured(visit):
    outcome = json.loads((visit / "outcome.json").read_text())
    assert outcome["faults"] == []
    assert outcome["compliant"] is True
    assert outcome["preview_frames"] > 25
    # The sitter looked away once: the guidance must have said so before the picture was taken.
    assert any("turn_head" in key or "look" in key for key in outcome["instructions"]), outcome["instructions"]
    report = json.loads((visit / "report.json").read_text())
    assert [f["rule"] for f in report["findings"]] == [f["rule"] for f in outcome["findings"]]
    assert len(report["findings"]) >= 13


def test_openssl_accepts_the_signature_against_the_demo_authority(visit, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command: apt-get install openssl")
    content = tmp_path / "content.zip"
    accepted = run(
        "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", str(visit / "opened" / "package.cms"),
        "-CAfile", str(visit / "ca.pem"), "-purpose", "any", "-out", str(content),
    )  # fmt: skip
    assert accepted.returncode == 0, accepted.stderr
    assert content.read_bytes() == (visit / "opened" / "package.zip").read_bytes()


def test_unzip_accepts_the_package(visit):
    if shutil.which("unzip") is None:
        pytest.skip("needs the unzip command: apt-get install unzip")
    tested = run("unzip", "-t", str(visit / "opened" / "package.zip"))
    assert tested.returncode == 0, tested.stdout
    for part in ("manifest.json", "portrait.jpg", "chip.jp2", "face.bin", "report.json", "visit.json", "attempts.json"):
        assert part.encode() in tested.stdout


def test_nothing_personal_stays_outside_the_sealed_packet(visit):
    """Number and portrait are in no file and no log of any program but the keys' owner's opened copy."""
    portrait = (visit / "portrait.jpg").read_bytes()
    searched = [path for path in (visit / "data").rglob("*") if path.is_file()]
    assert {"outbox.sqlite3", "intake.sqlite3", "controller.log"} <= {path.name for path in searched}, searched
    for path in searched:
        content = path.read_bytes()
        if not path.name.startswith("intake.sqlite3"):  # the registry of applications has its numbers
            assert NUMBER not in content, path
        assert portrait[2000:2064] not in content, path


def test_the_packet_shows_how_the_number_came(visit):
    facts = json.loads((visit / "opened" / "parts" / "visit.json").read_text())
    application = facts["application"]
    assert {name: application[name] for name in ("number", "source", "verified", "registry", "centre")} == {
        "number": NUMBER.decode(),
        "source": "scanned",
        "verified": True,
        "registry": "filed",
        "centre": "centre-development",
    }
    assert facts["consent"]["answer"] is True
    assert facts["light"]["acknowledged_by"] == "echo"


def test_what_was_kept_can_be_verified_again_and_is_closed_to_others(visit):
    verified = run(sys.executable, "-m", "booth", "packet", "verify", str(visit / "visit.packet"), "--pki", str(visit))
    assert verified.returncode == 0, verified.stderr
    assert {path.stat().st_mode & 0o077 for path in (visit / "opened").rglob("*")} == {0}


def test_a_folder_that_cannot_be_written_is_told_before_anything_starts(tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("")
    done = run(sys.executable, "-m", "booth", "demo", "--visit", "--keep", str(taken))
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"cannot be kept" in done.stderr
