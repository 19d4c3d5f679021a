"""Every self-test that needs no calibration: what is sound passes, each fault is found under its own cause."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import httpx2
import numpy as np
import pytest

from booth.diagnostics import BY_ID, CHECKS, EVERYWHERE, chosen, run_checks
from booth.errors import UnknownCheckError
from booth.outbox_quota import OutboxStatus
from booth.self_test import Limits, Measured, judge
from booth.self_tests_camera import noise_of
from crypto.errors import KeyUnavailableError
from hardware.errors import CameraLostError, LightsTimeoutError
from tests.bench_rig import NOW, PERIOD_NS, Disk, Intake, Scene, certificate, open_bench


async def nobody(prompt):
    raise AssertionError(prompt)


@pytest.fixture
def found(tmp_path):
    """What one check finds on a bench with these changes."""

    async def run(check_id, **changes):
        told = []
        async with open_bench(tmp_path, **changes) as bench:
            (finding,) = await run_checks(bench, chosen([check_id], attended=False), told.append, nobody)
        assert [each.current for each in told] == [check_id, None]
        assert finding.id == check_id
        assert finding.cause is None or finding.cause[6:] in {*BY_ID[check_id].causes, *EVERYWHERE}
        return finding

    return run


SOUND = ("camera.rate", "camera.noise", "lamps.echo", "disk.free", "clock.skew", "certificate.days", "outbox.age")


@pytest.mark.parametrize("check_id", [*SOUND, "intake.reachable"])
async def test_a_sound_booth_passes(found, check_id):
    finding = await found(check_id)
    assert (finding.verdict, finding.cause, finding.remedy) == ("pass", None, None), finding
    assert finding.value is not None
    assert finding.unit


def scene(**values):
    made = Scene()
    for name, value in values.items():
        setattr(made, name, value)
    return made


async def test_few_pictures_are_found(found):
    finding = await found("camera.rate", scene=scene(period_ns=100_000_000))
    assert (finding.value, finding.verdict, finding.cause) == (10.0, "fail", "cause.camera.slow")
    assert finding.remedy == "remedy.camera.slow"


async def test_the_rate_that_the_settings_ask_for_counts(tmp_path):
    made = scene(period_ns=40_000_000)
    async with open_bench(tmp_path, scene=made) as bench:
        asked = bench.config.model_copy(update={"camera": bench.config.camera.model_copy(update={"fps": 60})})
        findings = await run_checks(replace(bench, config=asked), [BY_ID["camera.rate"]], lambda _: None, nobody)
    assert (findings[0].low, findings[0].verdict) == (45.0, "fail")


@pytest.mark.parametrize("sigma", [0.5, 0.7, 1.5, 3.0, 6.0])
def test_noise_is_told_as_its_standard_deviation(sigma):
    random = np.random.default_rng(1)
    pictures = [np.rint(120 + random.normal(0, sigma, (200, 150))).astype(np.uint8) for _ in range(4)]
    pictures[2][:60] = 9  # something moves through a part of the picture
    assert noise_of(pictures) == pytest.approx(np.hypot(sigma, 0.29), rel=0.2)


async def test_noise_and_a_picture_that_repeats_are_told_apart(found):
    noisy = await found("camera.noise", scene=scene(sigma=7.0))
    assert (noisy.verdict, noisy.cause) == ("fail", "cause.camera.noisy")
    frozen = await found("camera.noise", scene=scene(sigma=0.0))
    assert (frozen.verdict, frozen.cause) == ("fail", "cause.camera.frozen")


async def test_the_delay_of_the_picture_is_found(found, monkeypatch):
    for delay, verdict in ((3, "pass"), (9, "warn"), (14, "fail")):
        made = scene(delay=delay)
        monkeypatch.setattr("booth.self_tests_camera.time.monotonic_ns", lambda made=made: made.at_ns)
        before = dict(made.levels_pct)
        finding = await found("camera.latency", scene=made)
        assert finding.value == pytest.approx((delay + 1) * PERIOD_NS / 1e6)
        assert finding.verdict == verdict
        assert made.levels_pct == before


async def test_a_picture_that_does_not_follow_the_lamps_is_found(found, monkeypatch):
    made = scene(delay=60)
    monkeypatch.setattr("booth.self_tests_camera.time.monotonic_ns", lambda: made.at_ns)
    finding = await found("camera.latency", scene=made)
    assert (finding.value, finding.verdict, finding.cause) == (None, "fail", "cause.camera.unseen")


async def test_devices_that_the_booth_does_not_have_are_not_assessed(found):
    for check_id, cause in (("camera.latency", "lamps"), ("lamps.echo", "lamps"), ("controls.echo", "controls")):
        finding = await found(check_id, scene=scene(lamps=()))
        assert (finding.verdict, finding.cause) == ("not_assessed", f"cause.absent.{cause}")


async def test_a_device_that_does_not_answer_is_a_finding(found):
    made = scene(failure=CameraLostError("gone"))
    assert (await found("camera.rate", scene=made)).cause == "cause.camera.silent"
    made = scene()

    async def deaf():
        raise LightsTimeoutError("no answer")

    made.echo_lamps = deaf
    finding = await found("lamps.echo", scene=made)
    assert (finding.verdict, finding.cause) == ("fail", "cause.lamps.silent")


async def test_a_slow_echo_is_found(found, monkeypatch):
    ticks = iter(np.arange(0, 100, 1.5))
    monkeypatch.setattr("booth.self_tests_camera.time.perf_counter", lambda: next(ticks))
    finding = await found("lamps.echo")
    assert (finding.value, finding.verdict, finding.cause) == (1500.0, "fail", "cause.lamps.slow")


async def test_a_full_disk_and_one_that_refuses_are_told_apart(found, tmp_path):
    full = Disk()
    full.free = 10_000_000
    finding = await found("disk.free", files=full)
    assert (finding.value, finding.low, finding.verdict, finding.cause) == (10.0, 524.288, "fail", "cause.disk.full")
    full.refuses = True
    assert (await found("disk.free", files=full)).cause == "cause.disk.full"
    refusing = Disk()
    refusing.refuses = True
    finding = await found("disk.free", files=refusing)
    assert (finding.verdict, finding.cause) == ("fail", "cause.disk.unwritable")
    assert list(tmp_path.glob("*.probe")) == []


async def test_the_probe_of_a_run_that_was_killed_is_no_obstacle(found, tmp_path):
    (tmp_path / "diagnose.probe").write_bytes(b"old")
    assert (await found("disk.free")).verdict == "pass"
    assert list(tmp_path.glob("*.probe")) == []


def intake(**values):
    made = Intake()
    for name, value in values.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("ahead_s", "verdict"), [(10, "pass"), (-20, "pass"), (90, "warn"), (-90, "warn"), (301, "fail"), (-4000, "fail")]
)
async def test_a_wrong_clock_is_found(found, ahead_s, verdict):
    finding = await found("clock.skew", intake=intake(ahead_s=ahead_s))
    assert finding.value == pytest.approx(ahead_s, abs=1)
    assert (finding.verdict, finding.cause) == (verdict, None if verdict == "pass" else "cause.clock.wrong")


async def test_without_an_answer_the_clock_that_the_uplink_saw_counts(found):
    silent = intake(failure=httpx2.ConnectError("no route"))
    assert (await found("clock.skew", intake=silent)).cause == "cause.clock.unknown"
    finding = await found("clock.skew", intake=silent, known_skew_s=lambda: 3600.0)
    assert (finding.value, finding.verdict) == (3600.0, "fail")


async def test_the_intake_is_silent_or_another(found):
    silent = await found("intake.reachable", intake=intake(failure=httpx2.ConnectError("no route")))
    assert (silent.verdict, silent.cause) == ("fail", "cause.intake.silent")
    other = await found("intake.reachable", intake=intake(status=404))
    assert (other.verdict, other.cause, other.about) == ("fail", "cause.intake.other", {"status": "404"})


@pytest.mark.parametrize(
    ("days", "begun", "verdict", "cause"),
    [
        (31, -10, "pass", None),
        (12, -10, "warn", "cause.certificate.ending"),
        (-2, -10, "fail", "cause.certificate.expired"),
        (300, 3, "fail", "cause.certificate.early"),
    ],
)
async def test_the_days_of_the_certificate_are_told(found, days, begun, verdict, cause):
    finding = await found("certificate.days", certificate=partial(certificate, days, begun))
    assert (finding.value, finding.verdict, finding.cause) == (days, verdict, cause)


async def test_a_certificate_that_cannot_be_read_is_a_finding(found):
    def none():
        raise KeyUnavailableError("no file")

    finding = await found("certificate.days", certificate=none)
    assert (finding.value, finding.verdict, finding.cause) == (None, "fail", "cause.certificate.unreadable")


async def test_what_waits_for_the_intake_is_told(found):
    hour = 3600
    waits = OutboxStatus(waiting=2, oldest_at=NOW.timestamp() - 30 * hour)
    finding = await found("outbox.age", outbox=lambda: waits)
    assert (finding.value, finding.verdict, finding.cause) == (30.0, "warn", "cause.outbox.old")
    assert finding.high == 336
    old = OutboxStatus(waiting=2, oldest_at=NOW.timestamp() - 400 * hour)
    assert (await found("outbox.age", outbox=lambda: old)).verdict == "fail"
    refused = await found("outbox.age", outbox=lambda: OutboxStatus(refused=3))
    assert (refused.verdict, refused.cause, refused.about) == ("fail", "cause.outbox.refused", {"count": "3"})
    damaged = await found("outbox.age", outbox=lambda: OutboxStatus(refused=3, damaged=1))
    assert damaged.cause == "cause.outbox.damaged"


async def test_a_defect_of_a_test_is_a_finding_and_ends_no_run(tmp_path):
    def broken():
        raise ZeroDivisionError

    async with open_bench(tmp_path, outbox=broken) as bench:
        findings = await run_checks(bench, chosen(["outbox.age", "disk.free"], attended=False), lambda _: None, nobody)
    assert [(each.id, each.verdict, each.cause) for each in findings] == [
        ("disk.free", "pass", None),
        ("outbox.age", "fail", "cause.software.defect"),
    ]


async def test_lamps_that_never_come_to_rest_are_a_finding(found, monkeypatch):
    monkeypatch.setattr("booth.bench.LAMPS_REST_S", 0.01)

    class Never:
        async def __aenter__(self):
            await asyncio.Event().wait()

        async def __aexit__(self, *_):
            raise AssertionError

    finding = await found("camera.latency", lend=Never)
    assert (finding.verdict, finding.cause) == ("fail", "cause.lamps.restless")


def test_a_check_that_is_not_there_is_refused_by_name():
    with pytest.raises(UnknownCheckError, match=r"camera\.smell"):
        chosen(["camera.rate", "camera.smell"], attended=False)
    assert chosen(None, attended=True) == CHECKS


def test_verdicts_follow_limits_and_the_graver_word_counts():
    limits = Limits(low=1, high=9, warn_low=3, warn_high=7)
    told = [judge("x", "", limits, ("first",), Measured(value), 1).verdict for value in (0, 2, 5, 8, 10)]
    assert told == ["fail", "warn", "pass", "warn", "fail"]
    worse = judge("x", "", limits, ("first",), Measured(2, "second", "fail"), 1)
    assert (worse.verdict, worse.cause) == ("fail", "cause.second")
    not_better = judge("x", "", limits, ("first",), Measured(0, None, "warn"), 1)
    assert (not_better.verdict, not_better.cause) == ("fail", "cause.first")
    assert judge("x", "", limits, ("first",), Measured(), 1).verdict == "not_assessed"
    for value in (float("nan"), float("inf"), float("-inf")):
        told = judge("x", "", limits, ("first",), Measured(value), 1)
        assert (told.value, told.verdict, told.cause) == (None, "fail", "cause.first")
