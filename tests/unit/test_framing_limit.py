"""The way out of framing: the photo when everything held, else after half a minute the best picture so far with its open points."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from booth.kiosk import Cancel, Retake
from hardware.errors import CameraLostError
from tests.runner_rig import FRAME_NS, attempt, frame, open_stage, report
from validation.report import Verdict


@pytest.fixture
def staged(tmp_path):
    return partial(open_stage, tmp_path)


async def test_the_photo_is_taken_when_everything_held_for_seven_tenths_of_a_second_without_a_break(staged):
    async with staged() as stage:
        await stage.framing()
        hold = int(0.7e9 / FRAME_NS) + 1
        for _ in range(4):
            stage.live(report(), frames=hold)
            stage.live(report(Verdict.FAIL, "advice.closer"))
        assert stage.booth.state.state == "framing"
        stage.live(report(), frames=hold + 1)
        assert stage.booth.state.state == "capturing"
        assert stage.booth.state.countdown_s is None


def blocked_for(stage, seconds, motion=0.01, broken="advice.closer"):
    stage.live(report(Verdict.FAIL, broken), motion, frames=round(seconds * 1e9 / FRAME_NS))


async def test_after_half_a_minute_the_best_picture_so_far_is_reviewed_with_its_open_points(staged):
    async with staged(burst=1) as stage:
        spare, last = frame(7), frame(8)
        bursts = [(spare,), (last,)]
        judged = []

        async def burst(count):
            assert count == 1
            return bursts.pop(0)

        async def judge(work):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    "booth.performer.judge_burst", lambda frames, *_: judged.extend(frames) or attempt(Verdict.FAIL)
                )
                return work(None)

        stage.rooms.station.burst, stage.rooms.checker.run = burst, judge
        await stage.framing()
        blocked_for(stage, 1.0)
        await asyncio.sleep(0)
        assert len(bursts) == 2, "whoever sits right at once needs no spare one"
        blocked_for(stage, 5.0)
        await asyncio.sleep(0)
        assert stage.booth._performer._spare._frame is spare
        blocked_for(stage, 23.0)
        assert stage.booth.state.state == "framing"
        assert len(bursts) == 1, "no better one came"
        blocked_for(stage, 2.0)
        assert stage.booth.state.state == "capturing"
        review = await stage.until("review")
        assert (review.compliant, review.tries_left) == (False, 2)
        assert judged == [spare, last]
        assert not spare.pixels.any()
        assert stage.booth._performer.record._shutter == "overdue"
        stage.booth.post(Retake())
        assert stage.booth._performer._spare._frame is None


async def test_nobody_and_a_booth_that_is_not_ready_use_up_no_time(staged):
    async with staged() as stage:
        await stage.framing()
        blocked_for(stage, 40, broken="advice.no_face")
        stage.rooms.lamps.lit.clear()
        blocked_for(stage, 40)
        assert stage.booth.state.state == "framing"


async def test_a_spare_still_is_overwritten_by_a_better_one_and_by_the_photo_and_at_the_end(staged):
    async with staged() as stage:
        stills = [frame(n) for n in range(9)]
        left = list(stills)

        async def burst(count):
            taken, left[:count] = left[:count], []
            return tuple(taken)

        stage.rooms.station.burst = burst
        await stage.framing()
        blocked_for(stage, 4)
        await asyncio.sleep(0)
        two = report().findings[0]
        better = report().model_copy(update={"findings": (two, report(Verdict.FAIL, "advice.left").findings[0])})
        stage.live(better, 0.9, frames=60)
        await asyncio.sleep(0)
        assert len(left) == 8, "a moving sitter would be blurred"
        stage.live(better, frames=60)
        await asyncio.sleep(0)
        assert not stills[0].pixels.any()
        assert stills[1].pixels.all()
        stage.live(report(), frames=60)
        await stage.until("review")
        assert not stills[1].pixels.any()
        stage.booth.post(Retake())
        blocked_for(stage, 4)
        await asyncio.sleep(0)
        stage.booth.post(Cancel())
        await stage.until("attract")
        assert not any(still.pixels.any() for still in stills[:6])


async def test_a_camera_that_gives_no_spare_still_ends_nothing(staged):
    async with staged() as stage:
        stage.rooms.station.failure = CameraLostError("Gone.")
        await stage.framing()
        blocked_for(stage, 8)
        await asyncio.sleep(0)
        stage.rooms.station.failure = None
        stage.live(report(), frames=60)
        assert (await stage.until("review")).compliant
