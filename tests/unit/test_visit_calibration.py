"""A booth works with its newest calibration, and a packet names the one that its photo was taken with."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from booth.calibrations import SOURCE, CalibrationInUse, CalibrationStore
from booth.events import Application
from booth.record import Place, VisitRecord
from crypto.errors import CalibrationRefusedError
from crypto.keys import TrustStore
from hardware.controls import CameraControlSettings
from tests.calibrations import MADE_AT, calibration
from tests.packets import make_authority, make_signer
from tests.runner_rig import NUMBER, attempt, open_stage
from validation.report import Verdict


class Camera:
    """Takes what was learnt."""

    learnt = CameraControlSettings()

    def learn(self, settings):
        self.learnt = settings


@pytest.fixture
def worker():
    with ThreadPoolExecutor(1) as worker:
        yield worker


@pytest.fixture(scope="module")
def root():
    return make_authority()


def visit_of(known, at):
    record = VisitRecord("8f4a2c61", Place("booth-0001", "s", "c", "0.1.0"), lambda: at, lambda: 0)
    record.calibration = known
    record.note_state("capturing", 1)
    assert record.add(attempt(Verdict.PASS), 1)
    return json.loads(record.visit_json(Application(NUMBER, "typed"), "en", None, 0, {}))["calibration"]


def test_a_packet_names_the_calibration_and_says_when_it_had_expired():
    known = calibration()
    named = {"id": known.id, "made_at": "2026-11-20T08:30:00+00:00"}
    assert visit_of(known, MADE_AT + timedelta(days=3)) == {**named, "expired": False}
    assert visit_of(known, MADE_AT + timedelta(days=100)) == {**named, "expired": True}
    assert visit_of(None, MADE_AT) is None


async def test_a_new_calibration_ends_the_trouble_of_one_that_could_not_be_believed(tmp_path):
    async with open_stage(tmp_path) as stage:
        booth, camera = stage.booth, Camera()
        object.__setattr__(booth._rooms, "station", camera)
        booth.senses.on_trouble(SOURCE, CalibrationRefusedError("changed"))
        assert booth._health.worst.code == CalibrationRefusedError.code
        booth.adopt(calibration())
        assert booth._health.worst is None
        assert booth.calibration.value == calibration()
        assert camera.learnt.red_gain == 128


async def test_a_booth_takes_the_newest_and_tells_one_that_expired_or_cannot_be_believed(
    tmp_path, root, worker, caplog
):
    store = CalibrationStore(tmp_path, "booth-0001", lambda: TrustStore((root.certificate,)))
    signer = make_signer(root, "booth-0001")
    camera, in_use = Camera(), CalibrationInUse()
    assert await in_use.load(store, worker, camera) is None
    assert (in_use.value, in_use.lamps) == (None, None)

    newest = calibration(made_at=datetime.now(UTC).replace(microsecond=0) - timedelta(days=91))
    path = store.save(newest, signer)
    assert await in_use.load(store, worker, camera) is None
    assert in_use.value == newest
    assert in_use.lamps == newest.lamps
    assert (camera.learnt.red_gain, camera.learnt.focus_position) == (128, 0x6000)
    assert "91 days old: it has expired" in caplog.text

    path.write_bytes(path.read_bytes()[:-1])
    other = CalibrationInUse()
    error = await other.load(store, worker, camera)
    assert isinstance(error, CalibrationRefusedError)
    assert other.value is None
