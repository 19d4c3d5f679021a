"""The probe: what the lamps do while it runs, what is kept of the pictures, and that nothing of them stays."""

from __future__ import annotations

import asyncio
import itertools
import time

import numpy as np
import pytest

from booth.probing import WAIT_S
from capture import probe
from capture.frames import Frame
from capture.probe import (
    KEPT,
    LAMPS,
    PERIOD_S,
    PROBE_S,
    SLOW_STRETCH,
    SWING,
    Film,
    Shot,
    kept_moments,
    level_at,
    run_probe,
)
from hardware.controls import CameraControlState, ExposureMode
from hardware.errors import LightsLostError
from tests.virtual_clock import Clock, running
from validation.pad import Reason

BASE = dict.fromkeys(LAMPS, 62.5)


@pytest.fixture
def runner():
    """Two seconds that pass at once."""
    with running(Clock()) as started:
        yield started


class Station:
    """Lamps that obey at once, and a camera."""

    lamps = LAMPS
    preview_fps = 25.0

    def __init__(self, exposure_mode=ExposureMode.MANUAL):
        self.levels = dict(BASE)
        self.orders, self.pictures = [], []
        self.controls = CameraControlState(powered=True, exposure_mode=exposure_mode)
        self.refuses_after = None

    def frame(self, sequence):
        pixels = np.full((960, 720, 3), round(self.levels["key_left"] * 2), np.uint8)
        pixels.setflags(write=False)
        return Frame(pixels, time.monotonic_ns(), sequence, "MJPG", lossy=True, controls=self.controls)

    def preview(self):
        return self.frame(1)

    async def next_preview(self, after_sequence):
        await asyncio.sleep(1 / self.preview_fps)
        frame = self.frame(after_sequence + 1)
        self.pictures.append(frame)
        return frame

    async def set_levels(self, levels_pct, *, seen, ramped):
        assert not seen
        assert not ramped
        if self.refuses_after is not None and len(self.orders) >= self.refuses_after:
            raise LightsLostError("The lamps are gone.")
        self.levels |= levels_pct
        self.orders.append(dict(levels_pct))
        return dict(self.levels)


def test_the_lamps_stay_within_the_loan_move_slowly_and_come_back():
    moments = np.arange(0, PROBE_S, 0.01)
    for lamp, base in itertools.product(LAMPS, (20.0, 62.5, 83.0, 95.0, 100.0)):
        levels = np.array([level_at(lamp, at, base) for at in moments])
        assert levels.max() <= min(base * (1 + SWING) + 1e-9, 100)
        assert levels.min() >= base * (1 - SWING) - 1e-9
        assert np.ptp(levels) > base * 0.19
        assert np.abs(np.diff(levels)).max() / 0.01 < 100 / 0.3, "no step faster than a soft one"
        assert level_at(lamp, 0.0, base) == level_at(lamp, PROBE_S, base) == base
    assert 1 / PERIOD_S < 1, "WCAG 2.3.1"


def test_the_three_lamps_come_apart():
    moves = np.array([[level_at(lamp, at, 50.0) - 50 for at in kept_moments()] for lamp in LAMPS])
    table = np.corrcoef(moves)
    assert np.abs(table - np.eye(3)).max() < 0.2


def test_a_film_holds_small_pictures_the_acknowledged_levels_and_the_wall(runner):
    station = Station()
    film = runner.run(run_probe(station, BASE))
    assert film.reason is None
    assert set(film.levels) == set(LAMPS)
    for course in film.levels.values():
        assert max(course.values) == pytest.approx(62.5 * (1 + SWING), rel=0.01)
        assert min(course.values) == pytest.approx(62.5 * (1 - SWING), rel=0.01)
    assert len(film.wall.at_ms) == len(station.pictures) == 55
    assert max(film.wall.values) > 1.2 * min(film.wall.values)
    assert len(film.shots) == KEPT
    assert [shot.at_ms / 1000 for shot in film.shots] == pytest.approx(kept_moments(), abs=0.05)
    assert {shot.pixels.shape for shot in film.shots} == {(640, 480, 3)}
    assert station.orders[-1] == BASE
    film.wipe()
    assert not any(shot.pixels.any() for shot in film.shots)
    assert all(picture.pixels.any() for picture in station.pictures), "the preview's own pictures are not ours"


def test_a_slow_camera_gets_more_time_and_nearly_as_many_pictures(runner):
    station = Station()
    station.preview_fps = 3.0
    film = runner.run(run_probe(station, BASE))
    assert film.levels["fill_top"].at_ms[-1] == pytest.approx(PROBE_S * SLOW_STRETCH * 1000, abs=60)
    assert PROBE_S * SLOW_STRETCH < WAIT_S
    assert len(film.shots) >= 9
    film.wipe()


async def test_what_is_judged_is_overwritten_by_the_thread_that_judges_it():
    shot = Shot(np.full((4, 4, 3), 9, np.uint8), 0.0)
    film = Film(0, (shot,))
    assert film.begin()
    film.wipe()
    assert shot.pixels.all(), "the thread still looks at it"
    assert not film.end(), "nobody wants the result any more"
    assert not shot.pixels.any()
    assert not film.begin()


def test_a_lamp_that_fails_leaves_a_reason_and_no_picture(runner):
    station = Station()
    station.refuses_after = 30
    film = runner.run(run_probe(station, BASE))
    assert film.reason is Reason.LAMPS_FAILED
    assert film.shots == ()


@pytest.mark.parametrize(
    ("base", "mode", "reason"),
    [
        ({}, ExposureMode.MANUAL, Reason.NO_LAMPS),
        ({"key_left": 62.5, "background": 62.5, "key_right": 2.0}, ExposureMode.MANUAL, Reason.TOO_FEW_LAMPS),
        (BASE, ExposureMode.AUTO, Reason.AUTO_EXPOSURE),
    ],
)
async def test_no_lamp_moves_where_nothing_could_be_judged(base, mode, reason):
    station = Station(mode)
    film = await run_probe(station, base)
    assert film.reason is reason
    assert station.orders == []


def test_a_probe_that_is_given_up_overwrites_its_pictures_and_leaves_no_task(runner, monkeypatch):
    kept = []
    small = probe._small
    monkeypatch.setattr(probe, "_small", lambda frame: kept.append(small(frame)) or kept[-1])

    async def given_up():
        running = asyncio.create_task(run_probe(Station(), BASE))
        await asyncio.wait((running,), timeout=1.0)
        assert len(kept) > 3
        assert kept[0].all()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return asyncio.all_tasks() == {asyncio.current_task()}

    assert runner.run(given_up())
    assert not any(pixels.any() for pixels in kept)
