"""After CLEARING nothing of a visit is held: a real booth with its pages, models and camera, and every object that was personal.

Three things are looked at, over all holders (record, attempts, frames, checker, live assessor, models, sealing, pages):
  - no instance of a personal type is alive (the collector knows them all);
  - every array of pixels or landmarks that the visit made was overwritten in place, where it is ours to overwrite, and nobody holds it;
  - nobody holds the encoded pictures, texts and packets, which cannot be overwritten (docs/reliability.md names that limit).
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import weakref
from typing import Any

import httpx2
import numpy as np
import pytest

import booth.attempt
import booth.pad_part
import booth.sealing
import capture.probe
from booth.attempt import Attempt, Burst, Candidate
from booth.checker import Live
from booth.demo_visit import Kiosk
from booth.events import Application, Happening
from booth.kiosk import Identify, KioskFinding, KioskState, Overlay, PreviewFrame
from booth.pad_part import PadEvidence
from booth.record import VisitRecord
from booth.screen import Scenery
from booth.sealing import SealedVisit
from booth.web import open_pages
from capture.frames import Frame
from capture.portrait import ChipImage
from capture.probe import Film, Shot
from capture.station import Station
from crypto.face_record import FaceRecord
from crypto.keys import make_development_pki
from crypto.package import Package
from hardware.camera import CameraImage
from tests.booth_rig import Simulator, booth_config, running_booth
from tests.fake_intake import FakeIntake
from validation.expression import Expression
from validation.face import Face, FaceModel, Scene
from validation.pad_cues import PadFrame
from validation.report import Finding, Report, Series

NUMBER = "CNRY-MEMORY-17E"
GONE = (
    *(
        Application,
        Identify,
        VisitRecord,
        Attempt,
        Burst,
        Candidate,
        Live,
        PreviewFrame,
        KioskFinding,
        Overlay,
        SealedVisit,
    ),
    *(Film, Shot, PadEvidence, PadFrame),
    *(ChipImage, FaceRecord, Package, Expression, Face, Scene, Finding, Report, Series),
)
TOLD = (Happening, KioskState, Scenery)
OF_THE_CAMERA = (Frame, CameraImage)  # the camera goes on: only those of before count

pytestmark = pytest.mark.timeout(300)


class Held:
    """Everything that a visit made and Python's collector does not see: held here, so that who else holds it can be counted."""

    def __init__(self, patch) -> None:
        self.ours: list[np.ndarray] = []  # must be overwritten
        self.ghosts: list[weakref.ref] = []  # must be gone
        self.encoded: list[bytes | str] = []  # must be held by nobody else
        self._spy(patch, booth.attempt, "cut", self.ours.append)
        self._spy(patch, booth.attempt, "encode_jpeg", self.encoded.append)
        self._spy(patch, booth.sealing, "build_package", lambda package: self.encoded.append(package.data))
        self._spy(patch, booth.sealing, "encode_chip", lambda chip: self.encoded.append(chip.data))
        self._spy(patch, VisitRecord, "visit_json", self.encoded.append)
        self._spy(patch, VisitRecord, "attempts_json", self.encoded.append)
        self._spy(patch, FaceModel, "scene", self._scene)
        self._spy(patch, capture.probe, "_small", self.ours.append)
        self._spy(patch, booth.pad_part, "cut_face", lambda cut: self.ours.extend((cut.pixels, cut.landmarks)))
        self._spy(patch, booth.sealing, "pad_parts", lambda parts: self.encoded.extend(parts.values()))
        burst, add = Station.burst, VisitRecord.add

        async def spied_burst(station, count):
            frames = await burst(station, count)
            self.ours += [frame.pixels for frame in frames]
            return frames

        def spied_add(record, attempt, turn):
            self.ours += [each.landmarks for each in attempt.candidates if each.landmarks is not None]
            return add(record, attempt, turn)

        patch.setattr(Station, "burst", spied_burst)
        patch.setattr(VisitRecord, "add", spied_add)

    @staticmethod
    def _spy(patch, owner, name, see):
        function = getattr(owner, name)

        def spied(*arguments, **options):
            result = function(*arguments, **options)
            see(result)
            return result

        patch.setattr(owner, name, spied)

    def _scene(self, scene):
        arrays = [face.landmarks for face in scene.faces]
        self.ghosts += [weakref.ref(each) for each in (*arrays, scene.person_mask) if each is not None]


def alive(kinds, before_ns=None):
    return [each for each in gc.get_objects() if type(each) in kinds and (before_ns is None or each.at_ns < before_ns)]


async def visit(kiosk, simulator, end):
    await kiosk.until("attract")
    simulator.tell(sitter="still")
    await kiosk.post("start")
    await kiosk.until("language")
    await kiosk.post("language", language="en")
    await kiosk.until("identify")
    await kiosk.post("identify", number=NUMBER)
    await kiosk.until("consent")
    await kiosk.post("consent", answer=True)
    await kiosk.until("framing")
    if end == "framing":
        await kiosk.until("capturing", "checking", "review")
    else:
        await kiosk.until("review")
        assert len(await kiosk.portrait()) > 10_000
    if end == "thanks":
        await kiosk.post("accept")
        await kiosk.until("thanks")
    simulator.tell(sitter="absent")
    await kiosk.post("cancel")
    await kiosk.until("attract")


@pytest.mark.parametrize("end", ["thanks", "review", "framing"])
async def test_nothing_of_a_visit_is_held_after_clearing(end, tmp_path, monkeypatch, no_tasks_left):
    monkeypatch.setenv("PASSBOOTH_VISIT__ACTIVE_LIGHT", str(end == "thanks").lower())
    held = Held(monkeypatch)
    gc.collect()
    standing = {id(each): each for each in alive((*GONE, *TOLD, *OF_THE_CAMERA))}  # of other tests in this process
    pki = make_development_pki(tmp_path / "pki")
    simulator = Simulator(tmp_path / "sim", "visit")
    try:
        config = booth_config(tmp_path, pki, simulator.facts["toml"])
        intake = FakeIntake(pki)
        async with (
            running_booth(config, intake) as watcher,
            open_pages(watcher.booth, 0) as address,
            httpx2.AsyncClient(timeout=30) as client,
        ):
            kiosk = Kiosk(address, client)
            async with kiosk.open():
                await visit(kiosk, simulator, end)
                assert kiosk.preview_frames > 3
                cleared_ns = time.monotonic_ns()
                if end == "thanks":
                    async with asyncio.timeout(30):
                        await intake.came.wait()
                # The camera's next pictures push the last ones of the visit out of its one place.
                rooms = watcher.booth._rooms
                sequence = rooms.station.preview().sequence
                for _ in range(3):
                    sequence = (await rooms.station.next_preview(sequence, 10.0)).sequence
                kiosk.state.clear()
                gc.collect()

                def left(*kinds: type) -> list[Any]:
                    return [each for each in alive(kinds) if id(each) not in standing]

                assert left(*GONE) == []
                assert [each for each in alive(OF_THE_CAMERA, cleared_ns) if id(each) not in standing] == []
                assert [each for each in left(Happening) if each.application is not None] == []
                assert [each for each in left(KioskState) if each.visit is not None or each.findings] == []
                assert [each for each in left(Scenery) if each.report is not None or each.live is not None] == []
                assert len(held.ours) >= {"thanks": 10, "review": 3, "framing": 0}[end]
                assert not [array.shape for array in held.ours if array.any()], "overwritten in place"
                assert [ghost() for ghost in held.ghosts if ghost() is not None] == []
                assert len(held.encoded) >= {"thanks": 6, "review": 1, "framing": 0}[end]
                counted = [sys.getrefcount(held.encoded[at]) for at in range(len(held.encoded))]
                assert counted == [2] * len(counted), "the list's, and the counting's own"
                ghosts = [weakref.ref(array) for array in held.ours]
                held.ours.clear()
                gc.collect()
                assert [ghost() for ghost in ghosts if ghost() is not None] == [], "nobody else holds the arrays"
    finally:
        simulator.stop()
