"""Where the lens sees the eyes, what follows from it, and who moves what when: pure decisions, and the keeper before a station of its own."""

from __future__ import annotations

import asyncio
import math
import time
from types import SimpleNamespace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from booth.guidance import CAMERA_MOVES, HOLD_STILL, SEAT_DOWN, SEAT_UP, Guidance, advise, interrupted
from booth.height import HeightKeeper, Wish, open_height, optics_of
from booth.kiosk import Cancel, Help, Resume
from capture.height import (
    ELEVATION_LIMIT_DEG,
    EYE_LINE,
    EYE_LINE_SLACK,
    Aim,
    AxisRoom,
    EyeLine,
    HeightSection,
    Optics,
    Step,
    decide,
    elevation_deg,
)
from hardware.controls import CameraControlState
from hardware.errors import ControlTimeoutError, LiftObstructedError
from hardware.lift_codec import LiftLimits, LiftReading
from tests.runner_rig import open_stage, report

OPTICS = Optics(24.0, 1.5, 0.0, 100.0)
BASE = Aim(0.0, 1.5)
ROOM = AxisRoom(500.0, 0.0, 1000.0)
# Above the lens, in cm at 1 m.
heights = st.floats(-60, 60)
angles = st.floats(-3, 3)


def seen(above_cm, aim, optics):
    """Where a picture shows eyes so far above the lens, at a metre; None when it does not."""
    angle = math.degrees(math.atan(above_cm / 100)) - optics.pitch_zero_deg - aim.tilt_deg
    y = 0.5 - math.tan(math.radians(angle)) / (2 * optics.half_picture(aim.zoom_ratio))
    return EyeLine(y, 6.3 / 200 / optics.half_picture(aim.zoom_ratio))


@given(heights, angles, st.floats(-20, 20), st.floats(1, 2))
def test_the_elevation_does_not_depend_on_how_the_lens_is_turned(above_cm, pitch_zero, tilt, zoom):
    optics = Optics(24.0, 1.5, pitch_zero)
    wanted = math.degrees(math.atan(above_cm / 100))
    assume(abs(wanted - pitch_zero - tilt) < 60)
    aim = Aim(tilt, zoom)
    assert elevation_deg(seen(above_cm, aim, optics), aim, optics) == pytest.approx(wanted, abs=1e-6)
    assert optics.distance_to_cm(seen(above_cm, aim, optics), zoom) == pytest.approx(100)


@given(heights, angles)
def test_the_axis_ends_where_a_level_lens_shows_the_eyes_at_their_place(above_cm, pitch_zero):
    optics = Optics(24.0, 1.5, pitch_zero, 100.0)
    found = decide(seen(above_cm, BASE, optics), BASE, BASE, optics, ROOM, can_tilt=True)
    elevation = math.degrees(math.atan(above_cm / 100))
    if found.step is Step.DRIVE:
        assert abs(elevation) > ELEVATION_LIMIT_DEG
        assert ROOM.low_mm <= found.target <= ROOM.high_mm
        left_cm = above_cm - (found.target - ROOM.position_mm) / 10
        if ROOM.low_mm < found.target < ROOM.high_mm:
            level = Aim(-pitch_zero, 1.5)
            assert seen(left_cm, level, optics).y == pytest.approx(EYE_LINE, abs=0.01)
        again = decide(
            *(seen(left_cm, Aim(-pitch_zero, 1.5), optics), Aim(-pitch_zero, 1.5), Aim(-pitch_zero, 1.5), optics),
            *(AxisRoom(found.target, 0, 1000),),
            can_tilt=True,
        )
        assert again.step is not Step.DRIVE
    else:
        assert abs(elevation) <= ELEVATION_LIMIT_DEG
        tilted = Aim(found.target, 1.5) if found.step is Step.TILT else BASE
        assert seen(above_cm, tilted, optics).y == pytest.approx(EYE_LINE, abs=EYE_LINE_SLACK + 0.001)


@given(heights)
def test_without_an_axis_the_seat_is_told_and_never_within_the_limit(above_cm):
    elevation = math.degrees(math.atan(above_cm / 100))
    assume(abs(abs(elevation) - ELEVATION_LIMIT_DEG) > 1e-6)
    found = decide(seen(above_cm, BASE, OPTICS), BASE, BASE, OPTICS, None, can_tilt=True).step
    if abs(elevation) <= ELEVATION_LIMIT_DEG:
        assert found in {Step.FINE, Step.TILT}
    else:
        assert found is (Step.SEAT_DOWN if above_cm > 0 else Step.SEAT_UP)


def test_an_axis_at_its_end_leaves_the_seat_and_a_camera_that_cannot_tilt_leaves_the_rules():
    top = AxisRoom(1000.0, 0.0, 1000.0)
    assert decide(seen(30, BASE, OPTICS), BASE, BASE, OPTICS, top, can_tilt=True).step is Step.SEAT_DOWN
    low = seen(-8, BASE, OPTICS)
    assert decide(low, BASE, BASE, OPTICS, None, can_tilt=True).step is Step.TILT
    assert decide(low, BASE, BASE, OPTICS, None, can_tilt=False).step is Step.FINE


def test_the_calibration_in_force_counts_before_the_settings():
    section = HeightSection(vertical_fov_deg=20, pitch_zero_deg=1)
    assert optics_of(None)(1.5) is None
    assert optics_of(section)(1.5) == Optics(20, 1.5, 1, None)
    measured = SimpleNamespace(controls=None, vertical_fov_deg=23.0, pitch_zero_deg=0.5, card_distance_cm=98.0)
    assert optics_of(section, lambda: measured)(1.5) == Optics(23.0, 1.0, 0.5, 98.0)


def test_what_the_keeper_says_comes_before_everything_else_and_stops_the_wait():
    right = Guidance()
    for frame in range(20):
        right = advise(right, report(), 0.01, frame * 60_000_000)
    assert right.key == HOLD_STILL
    assert right.held_s > 0.5
    told = advise(right, report(), 0.01, 21 * 60_000_000, SEAT_UP)
    assert told.held_s == 0
    assert told.wanted == SEAT_UP
    moved = interrupted(right, CAMERA_MOVES)
    assert (moved.key, moved.held_s) == (CAMERA_MOVES, 0)
    seat = advise(moved, report(), 0.01, 22 * 60_000_000, SEAT_DOWN)
    assert (seat.instruction.key, seat.instruction.arrow) == (SEAT_DOWN, "down")


class Station:
    """A camera on an axis; somebody's eyes stand somewhere above the floor, and frames show them where they must be."""

    def __init__(self, eyes_cm, *, lift=True, controls=True):
        self.eyes_cm = eyes_cm
        self.control_state = CameraControlState(powered=True, tilt_deg=0.0, zoom_ratio=1.5) if controls else None
        self.settled_ns = 0
        self.lift_limits = LiftLimits(0, 1000, 40) if lift else None
        self.lift_reading = LiftReading(350.0) if lift else None
        self.lift_home_mm = 500.0 if lift else None
        self.aims, self.moves = [], []
        self.stopped = 0
        self.go = asyncio.Event()
        self.go.set()
        self.failure = self.aim_failure = self.read_failure = None

    @property
    def lens_cm(self):
        return 90 + self.lift_reading.position_mm / 10 if self.lift_reading else None

    async def read_controls(self):
        if self.read_failure is not None:
            raise self.read_failure
        return self.control_state

    async def set_camera(self, settings):
        if self.aim_failure is not None:
            raise self.aim_failure
        self.aims.append((settings.tilt_deg, settings.zoom_ratio))
        self.control_state = self.control_state.model_copy(update=settings.model_dump(exclude_none=True))
        self.settled_ns = time.monotonic_ns() - 1_000_000_000
        return self.control_state

    async def move_lift(self, position_mm):
        self.moves.append(position_mm)
        try:
            await self.go.wait()
            if self.failure is not None:
                raise self.failure
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        self.lift_reading = LiftReading(position_mm)

    def eyes(self):
        if self.eyes_cm is None:
            return None
        state = self.control_state
        aim = BASE if state is None else Aim(state.tilt_deg, state.zoom_ratio)
        line = seen(self.eyes_cm - (self.lens_cm or 125.0), aim, OPTICS)
        return line if 0.1 < line.y < 0.9 else None


class Stage:
    """The keeper, shown a frame every 100 ms of the frames' own clock."""

    def __init__(self, keeper, station, troubles):
        self.keeper, self.station, self.troubles = keeper, station, troubles
        self.at_ns = time.monotonic_ns()

    async def frames(self, count=1, until=lambda: False):
        for _ in range(count):
            if until():
                return True
            self.at_ns += 100_000_000
            self.keeper.saw(self.station.eyes(), self.at_ns)
            for _ in range(20):
                await asyncio.sleep(0)
        return until()


@pytest.fixture
def staged(monkeypatch):
    monkeypatch.setattr("booth.height.GLIMPSE_S", 0.02)
    monkeypatch.setattr("booth.height.SEARCH_PAUSE_S", 0.01)

    class Opened:
        def __init__(self, station, optics=lambda _: OPTICS):
            self.station, self.troubles = station, []
            self._opening = open_height(station, optics, lambda source, error: self.troubles.append((source, error)))

        async def __aenter__(self):
            keeper: HeightKeeper = await self._opening.__aenter__()
            return Stage(keeper, self.station, self.troubles)

        async def __aexit__(self, *error):
            await self._opening.__aexit__(*error)

    return Opened


async def search(stage, until):
    """Frames until the keeper has searched for whoever is not in the picture."""
    async with asyncio.timeout(5):
        while not await stage.frames(1, until):  # noqa: ASYNC110 - how long a glimpse lasts is told by the real clock
            await asyncio.sleep(0.001)


async def test_nothing_of_a_visit_waits_for_a_slow_lens_to_be_forgotten(staged):
    async with staged(Station(112, lift=False, controls=False)) as stage:
        keeper = stage.keeper
        keeper.want(Wish.FRAME)
        assert await stage.frames(20, lambda: keeper.advice == SEAT_UP)
        assert keeper.as_record()["how"] == ["seat"]
        stage.station.control_state = CameraControlState(powered=True, tilt_deg=3.0, zoom_ratio=1.0)
        keeper._aim_known = False
        stage.station.set_camera = lambda settings: asyncio.Event().wait()
        keeper.want(Wish.REST)
        for _ in range(5):
            await asyncio.sleep(0)
        assert (keeper.advice, keeper.elevation_deg) == (None, None)
        keeper.want(Wish.FRAME)
        for _ in range(5):
            await asyncio.sleep(0)
        assert keeper.as_record()["how"] == []


async def test_whoever_sits_at_the_lens_is_left_alone(staged):
    async with staged(Station(127)) as stage:
        stage.keeper.want(Wish.FRAME)
        assert not stage.keeper.settled
        assert not stage.keeper.aiming  # nobody was seen yet
        await stage.frames(1)
        assert stage.keeper.aiming
        assert await stage.frames(20, lambda: stage.keeper.settled)
        await stage.frames(1)
        assert not stage.keeper.aiming
        assert stage.keeper.elevation_deg == pytest.approx(1.1, abs=0.1)
        assert (stage.station.moves, stage.station.aims) == ([], [])
        assert stage.keeper.as_record() == {
            "elevation_deg": 1.1,
            "lens_cm": 125.0,
            "lift_mm": 350.0,
            "tilt_deg": 0.0,
            "zoom_ratio": 1.5,
            "how": [],
        }


async def test_a_child_is_found_the_axis_goes_there_and_the_lens_comes_back_for_the_photo(staged):
    async with staged(Station(85)) as stage:
        stage.keeper.want(Wish.FRAME)
        await search(stage, lambda: stage.keeper.settled)
        assert stage.station.moves == [pytest.approx(0.0)]
        assert stage.station.aims[-1] == pytest.approx((stage.keeper.as_record()["tilt_deg"], 1.5), abs=0.01)
        assert abs(stage.keeper.elevation_deg) <= ELEVATION_LIMIT_DEG
        assert "lift" in stage.keeper.as_record()["how"]
        stage.keeper.want(Wish.HOLD)
        async with asyncio.timeout(1):
            await stage.keeper.still()
        stage.keeper.want(Wish.REST)
        await stage.frames(3)
        assert stage.station.aims[-1] == (0.0, 1.5)
        assert stage.station.moves == [pytest.approx(0.0)]  # the axis stays


async def test_a_camera_that_cannot_be_asked_is_told_and_not_turned(staged):
    async with staged(Station(118)) as stage:
        stage.station.read_failure = ControlTimeoutError("nothing")
        stage.keeper.want(Wish.FRAME)
        assert await stage.frames(30, lambda: stage.keeper.settled)
        assert (stage.troubles, stage.station.aims) == ([("camera aim", stage.station.read_failure)], [])


async def test_who_is_out_of_sight_is_looked_for_from_the_axis_home_position(staged):
    async with staged(Station(90)) as stage:
        stage.station.lift_reading = LiftReading(1000.0)
        stage.keeper.want(Wish.FRAME)
        await search(stage, lambda: stage.keeper.settled)
        assert stage.station.moves[0] == 500.0
        assert abs(stage.station.lens_cm - 90) < 9


@pytest.mark.parametrize("wish", [Wish.HOLD, Wish.REST])
async def test_the_end_of_framing_stops_the_axis_at_once(staged, wish):
    async with staged(Station(139)) as stage:
        stage.station.go.clear()
        stage.keeper.want(Wish.FRAME)
        assert await stage.frames(20, lambda: bool(stage.station.moves))
        assert stage.keeper.moving
        assert stage.keeper.instruction == CAMERA_MOVES
        stage.keeper.want(wish)
        for _ in range(5):
            await asyncio.sleep(0)
        assert stage.station.stopped == 1
        assert not stage.keeper.moving
        await stage.frames(20)
        assert len(stage.station.moves) == 1


async def test_closing_stops_the_axis(staged):
    station = Station(139)
    async with staged(station) as stage:
        station.go.clear()
        stage.keeper.want(Wish.FRAME)
        assert await stage.frames(20, lambda: bool(station.moves))
    assert station.stopped == 1


async def test_without_an_axis_the_seat_is_told_until_it_is_right(staged):
    async with staged(Station(112, lift=False)) as stage:
        stage.keeper.want(Wish.FRAME)
        await search(stage, lambda: stage.keeper.instruction == SEAT_UP)
        assert not stage.keeper.settled
        stage.station.eyes_cm = 119
        await search(stage, lambda: stage.keeper.settled)
        assert stage.keeper.instruction is None
        assert stage.station.control_state.zoom_ratio == 1.5
        stage.station.eyes_cm = 139
        await search(stage, lambda: stage.keeper.instruction == SEAT_DOWN)


async def test_an_obstructed_axis_is_told_and_not_used_again_in_this_visit_but_in_the_next(staged):
    async with staged(Station(139)) as stage:
        stage.station.failure = LiftObstructedError("an obstacle")
        stage.keeper.want(Wish.FRAME)
        await search(stage, lambda: stage.keeper.instruction == SEAT_DOWN)
        assert stage.troubles[-1] == ("height axis", stage.station.failure)
        assert len(stage.station.moves) == 1
        stage.keeper.want(Wish.REST)
        await stage.frames(2)
        stage.station.failure = None
        stage.keeper.want(Wish.FRAME)
        await search(stage, lambda: stage.keeper.settled)
        assert ("height axis", None) in stage.troubles


async def test_a_camera_that_does_not_turn_is_told_and_framing_goes_on_without(staged):
    async with staged(Station(118, lift=False)) as stage:
        stage.station.aim_failure = ControlTimeoutError("nothing")
        stage.keeper.want(Wish.FRAME)
        assert await stage.frames(30, lambda: stage.keeper.settled)
        assert stage.troubles == [("camera aim", stage.station.aim_failure)]


async def test_where_no_angle_is_known_nothing_moves_and_nothing_waits(staged):
    async with staged(Station(160), lambda _: None) as stage:
        stage.keeper.want(Wish.FRAME)
        await stage.frames(30)
        assert stage.keeper.settled
        assert (stage.station.moves, stage.station.aims, stage.keeper.as_record()) == ([], [], None)
        stage.keeper.want(Wish.HOLD)
        async with asyncio.timeout(1):
            await stage.keeper.still()


async def test_the_visit_frames_holds_for_help_and_rests_at_its_end(tmp_path):
    async with open_stage(tmp_path) as stage:
        wishes = stage.rooms.height.wishes
        await stage.framing()
        assert wishes[-1] is Wish.FRAME
        stage.booth.post(Help())
        assert wishes[-1] is Wish.HOLD
        stage.booth.post(Resume())
        assert wishes[-1] is Wish.FRAME
        stage.booth.post(Cancel())
        assert wishes[-1] is Wish.REST
        await stage.until("attract")
        assert Wish.FRAME not in wishes[wishes.index(Wish.REST, 3) :]
