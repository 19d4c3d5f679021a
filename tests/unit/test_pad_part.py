"""What the packet and the face record get of a probe, and the probe's part of a visit: once, in its time, wiped with the visit."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import asn1tools
import cv2
import numpy as np
import pytest

from booth.errors import LampsTakenBackError
from booth.kiosk import KioskState
from booth.pad_part import (
    MAX_FRAMES,
    MAX_FRAMES_BYTES,
    NOTE,
    PadEvidence,
    attack_block,
    judge_film,
    pad_parts,
    without_score,
)
from booth.probing import WAIT_S, Probing, by_steady_light
from capture.probe import LAMPS, Film, Shot, not_run
from crypto.face_record import Moment
from crypto.face_record_codes import PadDecision
from crypto.face_record_der import read_face_record, write_face_record
from crypto.package import MAX_PAD_BYTES, build_package, read_package
from tests.packets import fields_for
from tests.pad_scenes import LAMPS as SCENE_LAMPS
from tests.pad_scenes import Situation, picture_of, present, weights_of
from tests.records import LEAST
from tests.runner_rig import report
from validation.pad import PadScore, Reason

AT = Moment(2026, 11, 23, 15, 4, 5, 6)


def scored(value, **more):
    return PadEvidence(PadScore(usable=True, score=value, interim={"shape.slope": 1.23456}), begun_ns=1, **more)


def shots(folder="people/kwame", count=12):
    weights = weights_of(dict.fromkeys(SCENE_LAMPS, 1.0), Situation())
    picture = np.rint(picture_of(folder, weights)).astype(np.uint8)
    return tuple(Shot(picture.copy(), 100.0 * number) for number in range(count))


@pytest.fixture(scope="module")
def face(face_model):
    return face_model.scene(shots(count=1)[0].pixels, mask=False)


@pytest.fixture
def model(face):
    return SimpleNamespace(scene=lambda pixels, *, mask: face)


def test_a_film_becomes_a_score_and_small_pictures_and_the_rest_is_overwritten(model):
    _, levels, wall = present(model, "people/kwame", Situation())
    film = Film(5, shots(), levels, wall)
    evidence = judge_film(film, model)
    parts = pad_parts(evidence)
    assert set(parts) == {"pad/score.json", *(f"pad/frame-{n:02d}.jpg" for n in range(1, MAX_FRAMES + 1))}
    pictures = [data for name, data in parts.items() if name.endswith(".jpg")]
    assert sum(map(len, pictures)) <= MAX_FRAMES_BYTES < MAX_PAD_BYTES
    assert {cv2.imdecode(np.frombuffer(data, np.uint8), 1).shape for data in pictures} == {(240, 192, 3)}
    told = json.loads(parts["pad/score.json"])
    assert told["note"] == NOTE == "simulation only, not evaluated to ISO/IEC 30107-3"
    assert [frame["part"] for frame in told["frames"]] == sorted(parts)[:-1]
    assert set(told["levels"]["pct"]) == set(LAMPS)
    assert len(told["interim"]) >= 10
    assert len(told["wall"]["at_ms"]) == len(told["wall"]["light"]) > 20


def test_pictures_that_would_be_too_large_are_made_smaller(model, monkeypatch):
    monkeypatch.setattr("booth.pad_part.MAX_FRAMES_BYTES", 70_000)
    evidence = judge_film(Film(5, shots()), model)
    assert len(evidence.frames) == MAX_FRAMES
    assert sum(len(data) for _, data in evidence.frames) <= 70_000
    monkeypatch.setattr("booth.pad_part.MAX_FRAMES_BYTES", 100)
    assert judge_film(Film(5, shots(count=9)), model).frames == ()


def test_a_film_without_faces_or_without_a_probe_says_so():
    nobody = SimpleNamespace(scene=lambda pixels, *, mask: SimpleNamespace(face=None))
    assert judge_film(Film(5, shots(count=2)), nobody).score.reason is Reason.NO_FACE
    assert judge_film(not_run(Reason.LAMPS_FAILED), nobody).score.reason is Reason.LAMPS_FAILED
    told = json.loads(pad_parts(without_score(Reason.NOT_RUN))["pad/score.json"])
    assert (told["usable"], told["score"], told["reason"], told["suspected"]) == (False, None, "not_run", False)


def test_the_folder_has_a_limit_that_the_reader_knows():
    parts = {"portrait.jpg": b"x", **pad_parts(scored(0.9, frames=((0.0, b"\xff\xd8\xff"),)))}
    assert read_package(build_package(fields_for("ab" * 16), parts).data).parts == parts
    with pytest.raises(Exception, match="400000 is their limit"):
        build_package(fields_for("ab" * 16), {"portrait.jpg": b"x", "pad/frame-01.jpg": b"x" * (MAX_PAD_BYTES + 1)})


@pytest.mark.parametrize(
    ("evidence", "decision", "value"),
    [
        (scored(0.934), PadDecision.NO_ATTACK, 93),
        (scored(0.1), PadDecision.ATTACK, 10),
        (without_score(Reason.MOVED), PadDecision.FAILURE_TO_ASSESS, None),
    ],
)
def test_the_face_record_carries_it_both_ways_and_another_reader_agrees(evidence, decision, value):
    from dataclasses import replace

    block = attack_block(evidence, AT)
    record = replace(LEAST, attack=block)
    data = write_face_record(record)
    assert read_face_record(data) == record
    read = asn1tools.compile_files("crypto/face_image.asn1", "der").decode("FaceImageDataBlock", data)
    told = read["representationBlocks"][0]["padDataBlock"]
    name = {0: "noAttack", 1: "attack", 2: "failureToAssess"}[decision]
    assert told["decision"] == ("extensionBlock", {"fallback": name})
    assert told["captureContext"] == ("extensionBlock", {"fallback": "enrolment"})
    assert told["captureDateTimeBlock"]["millisecond"] == 6
    (score,) = told["scoreBlocks"]
    assert score["mechanismIdBlock"] == {"organization": 65535, "id": 65535}
    expected = ("score", value) if value is not None else ("error", ("extensionBlock", {"fallback": "failureToAssess"}))
    assert score["scoreOrError"] == expected


@pytest.mark.parametrize("reason", [Reason.OFF, Reason.NOT_RUN, Reason.NO_LAMPS])
def test_without_a_probe_the_face_record_says_nothing(reason):
    assert attack_block(without_score(reason), None) is None


def test_nothing_of_it_is_in_what_the_kiosk_is_told():
    schema = json.dumps(KioskState.model_json_schema())
    for word in ("pad", "attack", "suspect", "probe", "evidence"):
        assert f'"{word}' not in schema


def test_the_report_of_moving_light_tells_nobody_of_light():
    plain = report()
    finding = plain.findings[0]
    moved = plain.model_copy(
        update={"findings": (finding, finding.model_copy(update={"rule": "light.even"}))},
    )
    assert by_steady_light(moved).findings == plain.findings


class Lamps:
    """Lends as often as it is told to."""

    def __init__(self, *takes):
        self.takes = list(takes)
        self.entered = asyncio.Event()
        self.go = asyncio.Event()

    @asynccontextmanager
    async def lent(self):
        self.entered.set()
        await self.go.wait()
        yield {}
        if self.takes and self.takes.pop(0):
            raise LampsTakenBackError("wanted elsewhere")


@pytest.fixture
def film(monkeypatch):
    made = Film(5, shots(count=1))

    async def run_probe(station, base):
        return made

    monkeypatch.setattr("booth.probing.run_probe", run_probe)
    return made


STATION = SimpleNamespace(lamps=LAMPS)


async def settle(probing):
    if probing._running is not None:
        await asyncio.wait((probing._running,))
        await asyncio.sleep(0)  # its callbacks


async def test_it_runs_once_and_the_shutter_waits_for_it_and_no_longer(film, monkeypatch):
    probing, lamps = Probing(enabled=True), Lamps()
    probing.begin(STATION, lamps)
    assert not probing.holds_shutter, "the lamps are not lent yet"
    await lamps.entered.wait()
    assert not probing.holds_shutter
    probing._begun_s = asyncio.get_running_loop().time()
    assert probing.holds_shutter
    probing._begun_s -= WAIT_S
    assert not probing.holds_shutter, "a probe that does not end holds nobody up"
    lamps.go.set()
    await settle(probing)
    again = Lamps()
    probing.begin(STATION, again)
    assert not again.entered.is_set()
    assert probing._running is None
    assert (await probing.evidence()).score.reason is Reason.NOT_RUN, "not judged"
    pixels = film.shots[0].pixels
    assert probing.wipe() == ()
    assert not pixels.any()


@pytest.mark.parametrize("reason", [Reason.INTERRUPTED, Reason.LAMPS_FAILED])
async def test_lamps_that_are_taken_back_or_fail_are_asked_for_again_a_few_times(monkeypatch, reason):
    async def run_probe(station, base):
        if reason is Reason.LAMPS_FAILED:
            return not_run(reason)
        raise LampsTakenBackError("wanted elsewhere")

    monkeypatch.setattr("booth.probing.run_probe", run_probe)
    probing = Probing(enabled=True)
    for _ in range(3):
        assert (await probing.evidence()).score.reason is Reason.NOT_RUN
        lamps = Lamps()
        lamps.go.set()
        probing.begin(STATION, lamps)
        await settle(probing)
    assert (await probing.evidence()).score.reason is reason


async def test_a_visit_that_goes_on_gives_the_probe_up(film):
    probing, lamps = Probing(enabled=True), Lamps()
    probing.begin(STATION, lamps)
    await lamps.entered.wait()
    probing.leave()
    await probing.left()
    assert (await probing.evidence()).score.reason is Reason.NOT_RUN


async def test_a_film_that_is_complete_counts_though_its_lamps_are_not_back_yet(film):
    class Slow(Lamps):
        @asynccontextmanager
        async def lent(self):
            yield {}
            self.entered.set()
            await self.go.wait()

    probing, lamps = Probing(enabled=True), Slow()
    probing.begin(STATION, lamps)
    await lamps.entered.wait()
    probing.leave()
    await probing.left()
    assert probing._film is film
    assert film.shots[0].pixels.any()
    probing.wipe()
    probing.begin(STATION, again := Slow())
    await again.entered.wait()
    ended = probing.wipe()
    await asyncio.wait(ended)
    assert probing._film is None, "the next visit starts without it"
    assert not film.shots[0].pixels.any()


@pytest.mark.parametrize(("enabled", "lamps", "reason"), [(False, LAMPS, Reason.OFF), (True, (), Reason.NO_LAMPS)])
async def test_without_lamps_or_switched_off_there_is_a_reason(enabled, lamps, reason):
    probing = Probing(enabled=enabled)
    probing.begin(SimpleNamespace(lamps=lamps), Lamps())
    assert probing._running is None
    assert (await probing.evidence()).score.reason is reason


async def test_a_probe_that_was_given_up_and_fails_says_nothing_of_the_next_visit():
    class Broken(Lamps):
        @asynccontextmanager
        async def lent(self):
            self.entered.set()
            try:
                await self.go.wait()
            finally:
                raise RuntimeError("on the way out")
            yield {}

    probing, lamps = Probing(enabled=True), Broken()
    probing.begin(STATION, lamps)
    await lamps.entered.wait()
    await asyncio.wait(probing.wipe())
    await asyncio.sleep(0)
    assert probing._film is None


@pytest.mark.parametrize("evidence", [scored(float("nan")), scored(0.5, frames=((float("inf"), b""),))])
async def test_what_cannot_be_told_is_a_failure_of_the_probe_and_not_of_the_packet(film, monkeypatch, evidence):
    monkeypatch.setattr("booth.probing.judge_film", lambda film, model: evidence)
    probing, lamps = Probing(enabled=True), Lamps()
    lamps.go.set()
    probing.begin(STATION, lamps)
    await settle(probing)

    async def run(work):
        return work(None)

    probing.judge(SimpleNamespace(run=run))
    assert (await probing.evidence()).score.reason is Reason.FAILED
    assert not film.shots[0].pixels.any()


@pytest.mark.parametrize("broken", [False, True])
async def test_what_is_judged_is_there_for_the_packet_and_a_failure_is_a_reason(film, model, broken, caplog):
    async def run(work):
        if broken:
            raise RuntimeError("the model is gone")
        return work(model)

    probing, lamps = Probing(enabled=True), Lamps()
    lamps.go.set()
    probing.begin(STATION, lamps)
    await settle(probing)
    pixels = film.shots[0].pixels
    probing.judge(SimpleNamespace(run=run))
    probing.judge(None)  # once
    evidence = await probing.evidence()
    assert evidence.score.reason is (Reason.FAILED if broken else Reason.TOO_FEW_FRAMES)
    assert not pixels.any()
    assert ("a probe could not be judged" in caplog.text) is broken
    assert probing.wipe() == ()
