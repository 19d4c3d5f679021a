"""`booth calibrate`: what it asks for, prints and stores; drift, expiry and refused files under --show; its exit codes."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from booth.calibrations import CalibrationInUse, CalibrationStore
from booth.cli import app
from crypto.keys import TrustStore, load_trust
from tests.bench_rig import BARE_TOML, open_bench
from tests.calibration_booth import CalibrationBooth
from tests.calibrations import calibration
from tests.packets import make_authority, make_signer


@pytest.fixture(scope="module")
def root():
    return make_authority()


@pytest.fixture(scope="module")
def signer(root):
    return make_signer(root, "booth-0001")


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")


@pytest.fixture
def path(tmp_path, root):
    from cryptography.hazmat.primitives.serialization import Encoding

    (tmp_path / "ca.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    found = tmp_path / "booth.toml"
    found.write_text(BARE_TOML, "utf-8")
    return found


@pytest.fixture
def store(tmp_path):
    return CalibrationStore(tmp_path, "booth-0001", lambda: load_trust(tmp_path / "ca.pem"))


@pytest.fixture
def devices(tmp_path, monkeypatch, path, store, signer):
    """No controller runs; the devices are one stand-in whose card hangs when it is asked for."""
    booth = CalibrationBooth()

    @asynccontextmanager
    async def opened(config):
        station, in_use = booth.station(), CalibrationInUse()
        async with open_bench(tmp_path) as bench:

            @asynccontextmanager
            async def lend():
                yield dict(station.levels_pct)

            yield replace(
                bench,
                config=config,
                station=station,
                lend=lend,
                utc=lambda: datetime.now(UTC),
                calibration=store.current,
                baseline=store.baseline,
                calibration_settings=config.calibration,
                save=lambda found: store.save(found, signer),
                adopt=lambda found: in_use.use(found, station),
            )

    async def pressed():
        booth.card = not booth.card
        return True

    async def asked():
        return await booth.pressed()

    booth.pressed = pressed
    monkeypatch.setattr("booth.bench_alone.open_bench_alone", opened)
    monkeypatch.setattr("booth.calibrate_command.wait_for_enter", asked)
    monkeypatch.setattr("capture.station.RAMP_PERIOD_S", 0)
    return booth


def run(*arguments):
    return CliRunner().invoke(app, ["calibrate", *map(str, arguments)])


def kept(store, signer, **changes):
    made_at = changes.pop("made_at", datetime.now(UTC).replace(microsecond=0) - timedelta(days=1))
    one = calibration(made_at=made_at, **changes)
    store.save(one, signer)
    return one


def test_the_card_is_written(tmp_path):
    told = run("--card", tmp_path / "card.svg")
    assert told.exit_code == 0
    assert "print it at 100 %" in told.stdout
    assert (tmp_path / "card.svg").read_text("utf-8").startswith("<?xml")
    told = run("--card", tmp_path / "no" / "card.svg")
    assert told.exit_code == 2
    assert "cannot be written" in told.stderr


def test_a_calibration_asks_for_card_and_empty_booth_and_is_stored_signed(devices, path, store):
    told = run("--config", path, "--json")
    assert told.exit_code == 0, told.output
    assert told.stderr.count("press Enter") == 2
    assert told.stderr.index("Hang the test card") < told.stderr.index("Take the card down")
    printed = json.loads(told.stdout)
    found = store.current()
    assert printed["current"]["id"] == found.id
    assert found.baseline_id is None
    assert (found.booth, found.card_distance_cm) == ("booth-0001", pytest.approx(98.8, rel=0.005))


def test_drift_against_the_baseline_is_a_table_and_an_exit_code(devices, path, store, signer):
    first = kept(store, signer, pitch_zero_deg=4.0)
    told = run("--config", path)
    assert told.exit_code == 1, told.output
    assert store.current().baseline_id == first.id
    line = next(line for line in told.stdout.splitlines() if "geometry.pitch_zero" in line)
    assert "BEYOND" in line
    assert "values drifted beyond their limit" in told.stdout


def test_nobody_at_standard_input_ends_it_and_nothing_is_stored(devices, path, store):
    async def nobody():
        return False

    devices.pressed = nobody
    told = run("--config", path)
    assert told.exit_code == 2
    assert "Nobody answers" in told.stderr
    assert store.ids() == ()
    assert set(devices.levels_pct.values()) == {15.0}


def test_a_failure_is_told_in_a_sentence(devices, path, store):
    devices.cast[2] = 0.2
    told = run("--config", path)
    assert told.exit_code == 2
    assert "is a grey card fixed on the field" in told.stderr
    assert store.ids() == ()


def test_show_tells_age_expiry_and_drift(path, store, signer):
    told = run("--config", path, "--show")
    assert (told.exit_code, "never calibrated" in told.stdout) == (1, True)
    first = kept(store, signer, made_at=datetime(2026, 6, 1, tzinfo=UTC))
    told = run("--config", path, "--show")
    assert told.exit_code == 1
    assert "expired on 2026-08-30" in told.stdout
    assert "It is a baseline" in told.stdout
    kept(store, signer, baseline_id=first.id)
    told = run("--config", path, "--show")
    assert told.exit_code == 0, told.output
    assert "1 days old" in told.stdout or "made today" in told.stdout
    assert "Nothing drifted beyond its limit." in told.stdout


def test_a_file_that_cannot_be_believed_is_refused_with_the_reason(path, store, signer):
    one = kept(store, signer)
    file = store._path(one.id)
    file.write_bytes(file.read_bytes().replace(b'"roll_deg":-0.2', b'"roll_deg":-0.9'))
    told = run("--config", path, "--show", "--json")
    assert told.exit_code == 2
    assert "cannot be believed" in told.stderr
    assert one.id in told.stderr
    other = CalibrationStore(store._folder.parent, "booth-0001", lambda: TrustStore(()))
    with pytest.raises(Exception, match="cannot be believed"):
        other.current()
