"""The booth's self-tests: the table of all checks, and how they are run.

The table says of each check what it measures, within which limits and why those, and which causes it can tell; docs/diagnostics.md is made from it.
`run_checks` performs a choice of them one after another; checks that share a measurement share its test, which then runs once. A device that does not answer is
a finding, never an end of the run. Attended checks need the test card in its holder and somebody who hangs it there: they come last, after
one question.

Used by booth/maintenance.py (page, socket, nightly run) and by `booth diagnose` on a booth whose controller does not run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from booth import self_tests_camera as camera
from booth import self_tests_card as card
from booth import self_tests_lamps as lamps
from booth import self_tests_machine as machine
from booth.bench import Bench
from booth.config import Config
from booth.errors import LampsTakenBackError, UnknownCheckError
from booth.self_test import CheckFinding, Limits, Measured, judge
from capture.lamp_comparison import STRONG, WEAK
from hardware.errors import CameraError, ControlError, HardwareError, LiftError, LightsError
from hardware.lights import CHANNELS

log = logging.getLogger(__name__)

Test = Callable[[Bench], Awaitable[Mapping[str, Measured]]]
Prompt = Literal["card"]
Tell = Callable[["Progress"], None]
Ask = Callable[[Prompt], Awaitable[None]]

# What it means when a device fails during a test.
SILENT: Mapping[type[Exception], str] = MappingProxyType(
    {
        LightsError: "lamps.silent",
        CameraError: "camera.silent",
        ControlError: "controls.silent",
        LiftError: "lift.silent",
    }
)
DEFECT, INTERRUPTED, RESTLESS = "software.defect", "lamps.interrupted", "lamps.restless"
# Why nothing can be said of lamps.
UNMEASURED = ("absent.lamps", "absent.calibration", "lamps.unmeasurable", "lamps.obstructed")
EVERYWHERE = (DEFECT, INTERRUPTED, RESTLESS, *SILENT.values())


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table."""

    id: str
    unit: str
    limits: Limits
    causes: tuple[str, ...]  # that its own test can tell; the first one is that of a value beyond the limit
    test: Test
    attended: bool = False

    def concerns(self, config: Config) -> bool:
        """Whether the booth has what is tested; an absent device's check says so only when it is asked for by name."""
        section = DEVICES.get(self.id)
        return section is None or getattr(config, section) is not None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    done: int
    total: int
    current: str | None
    findings: tuple[CheckFinding, ...]


def one(check_id: str, measure: Callable[[Bench], Awaitable[Measured]]) -> Test:
    """A test of one check alone."""

    async def test(bench: Bench) -> Mapping[str, Measured]:
        return {check_id: await measure(bench)}

    return test


def _check(
    check_id: str, unit: str, limits: Limits, causes: tuple[str, ...], measure: Callable[[Bench], Awaitable[Measured]]
) -> Check:
    return Check(check_id, unit, limits, causes, one(check_id, measure))


CHECKS: tuple[Check, ...] = (
    _check(
        "camera.rate",
        "1/s",
        Limits(low=15, source="half of the 30 pictures a second of usual cameras; [camera] fps, where set: three quarters of it"),
        ("camera.slow", "camera.silent"),
        camera.rate,
    ),
    _check(
        "camera.latency",
        "ms",
        Limits(high=400, warn_high=250, source="ITU-T G.114: beyond 400 ms a person cannot act on what comes back; a mirror picture even less"),
        ("camera.delayed", "camera.unseen", "absent.lamps"),
        camera.latency,
    ),
    _check(
        "camera.noise",
        "/255",
        Limits(low=0.02, high=5.5, warn_high=2.7, source="ISO 12232: a signal of 10 times its noise is the first acceptable picture: 5.5 of 255 on a mid grey; below 0.02 the same picture comes again and again"),
        ("camera.noisy", "camera.frozen"),
        camera.noise,
    ),
    _check(
        "camera.exposure_control",
        "%",
        Limits(low=70, high=130, source="half of the time is one stop; shutters have steps of a third to a half, and 8-bit pictures tell a tenth"),
        ("camera.ignores", "camera.unseen", "absent.controls"),
        lamps.exposure_control,
    ),
    *(
        Check(
            lamps.lamp_check(lamp),
            "%",
            Limits(low=WEAK * 100, high=STRONG * 100, source="LED lamps are replaced at 80 % of their light (IES LM-80, L80); more than a quarter too much is another lamp"),
            ("lamp.weak", "lamp.strong", "lamp.all", "lamp.dark", "lamp.swapped", "lamp.misaddressed", *UNMEASURED),
            lamps.lamps_seen,
        )
        for lamp in CHANNELS
    ),
    Check(
        lamps.DRIFT,
        "%",
        Limits(high=100, source="100 % is the largest change that is allowed since the baseline (docs/calibration.md)"),
        ("calibration.drifted", "calibration.unusable", *UNMEASURED),
        lamps.lamps_seen,
    ),
    _check(
        "lamps.echo",
        "ms",
        Limits(high=1000, warn_high=500, source="hardware/wled.py: a whole answer of 10 kB takes 0.9 s at 115200 baud; the driver gives up after 2 s"),
        ("lamps.slow", "absent.lamps"),
        camera.lamps_echo,
    ),
    _check(
        "controls.echo",
        "ms",
        Limits(high=2000, warn_high=1000, source="some 20 inquiries of 12 bytes at 9600 baud, each answered within two picture times of 17 ms"),
        ("controls.slow", "absent.controls"),
        camera.controls_echo,
    ),
    _check(
        "lift.echo",
        "ms",
        Limits(high=400, warn_high=200, source="hardware/lift.py: an answer that takes 200 ms is asked for again, and after twice that the line is lost"),
        ("lift.slow", "absent.lift"),
        camera.lift_echo,
    ),
    _check(
        "disk.free",
        "MB",
        Limits(low=machine.LEAST_FREE_BYTES / machine.MB, source="[outbox] min_free_bytes, and never less than 64 MB"),
        ("disk.full", "disk.unwritable"),
        machine.free_disk,
    ),
    _check(
        "clock.skew",
        "s",
        Limits(low=-300, high=300, warn_low=-30, warn_high=30, source="the intake refuses requests that are signed 300 s too early or late (crypto/http_signature.py)"),
        ("clock.wrong", "clock.unknown"),
        machine.clock_skew,
    ),
    _check(
        "certificate.days",
        "d",
        Limits(low=0, warn_low=30, source="no intake takes what an expired key signs; a month is enough to renew it"),
        ("certificate.ending", "certificate.expired", "certificate.early", "certificate.unreadable"),
        machine.certificate_days,
    ),
    _check(
        "intake.reachable",
        "ms",
        Limits(high=10_000, warn_high=3000, source="a third of the time after which a delivery is given up ([intake] timeout_s)"),
        ("intake.slow", "intake.silent", "intake.other"),
        machine.intake_reachable,
    ),
    _check(
        "outbox.age",
        "h",
        Limits(high=336, warn_high=24, source="half of [outbox] max_age_days, after which nobody is let in"),
        ("outbox.old", "outbox.refused", "outbox.damaged"),
        machine.outbox_age,
    ),
    _check(
        "calibration.age",
        "d",
        Limits(high=90, source="[calibration] expiry_days; a week before its end it warns"),
        ("calibration.old", "calibration.unusable", "absent.calibration"),
        machine.calibration_age,
    ),
    Check(
        card.FOCUS,
        "1/px",
        Limits(low=card.LEAST_MTF50, source="a fifth less than at the calibration; without one MTF50 of 0.08 cycles per pixel, a blur of 2.3 pixels (ISO 12233)"),
        ("camera.unfocused", "absent.card"),
        card.card_seen,
        attended=True,
    ),
    Check(
        card.TILT,
        "°",
        Limits(low=-card.MOST_TILT_DEG, high=card.MOST_TILT_DEG, source="1° (askew: 1.5°) from where the calibration found it; without one half of the 5° that the eye line may lie off the axis (docs/height.md)"),
        ("camera.tilted", "absent.card"),
        card.card_seen,
        attended=True,
    ),
    Check(
        card.WHITE,
        "C*",
        Limits(high=card.MOST_CHROMA, source="chroma in CIELAB: from 3 on a colour is seen at a glance (CIE 116), above what the calibration left"),
        ("camera.cast", "absent.card"),
        card.card_seen,
        attended=True,
    ),
)  # fmt: skip
BY_ID: Mapping[str, Check] = MappingProxyType({check.id: check for check in CHECKS})
# The section of the settings that makes a booth have the device of a check.
DEVICES: Mapping[str, str] = MappingProxyType(
    {
        "camera.latency": "lights",  # seen by a lamp that changes
        **{lamps.lamp_check(lamp): "lights" for lamp in CHANNELS},
        "lamps.echo": "lights",
        "camera.exposure_control": "controls",
        "controls.echo": "controls",
        "lift.echo": "lift",
    }
)


def chosen(ids: Sequence[str] | None, *, attended: bool, config: Config | None = None) -> tuple[Check, ...]:
    """The checks with these ids, in the order of the table, attended ones only where somebody attends. Raises UnknownCheckError.

    None: all; with `config` all that concern such a booth.
    """
    if unknown := [each for each in ids or () if each not in BY_ID]:
        raise UnknownCheckError(f"There is no check {', '.join(unknown)}; `booth diagnose --list` shows all of them.")
    return tuple(
        check
        for check in CHECKS
        if (attended or not check.attended)
        and (check.id in ids if ids is not None else config is None or check.concerns(config))
    )


async def run_checks(bench: Bench, checks: Sequence[Check], tell: Tell, ask: Ask) -> tuple[CheckFinding, ...]:
    """Performs the checks and returns what they found, in their order; `tell` hears of each step."""
    findings: list[CheckFinding] = []
    asked = False

    def progress(current: str | None) -> None:
        tell(Progress(len(findings), len(checks), current, tuple(findings)))

    groups: list[list[Check]] = []
    for check in checks:
        if groups and groups[-1][0].test is check.test:
            groups[-1].append(check)
        else:
            groups.append([check])
    for group in groups:
        progress(group[0].id)
        if group[0].attended and not asked:
            await ask("card")
            asked = True
        begun = time.perf_counter()
        measured = await _measure(bench, group)
        took_ms = (time.perf_counter() - begun) * 1000 / len(group)
        findings += [
            judge(check.id, check.unit, check.limits, check.causes, measured[check.id], took_ms) for check in group
        ]
    progress(None)
    return tuple(findings)


async def _measure(bench: Bench, group: Sequence[Check]) -> Mapping[str, Measured]:
    """What a test brings back for its checks; its failure is a finding of each of them."""
    try:
        return await group[0].test(bench)
    except HardwareError as error:
        log.info("%s: %s: %s", group[0].id, error.code, error)
        cause = next((cause for kind, cause in SILENT.items() if isinstance(error, kind)), DEFECT)
        failed = Measured(None, cause, "fail")
    except LampsTakenBackError:
        failed = Measured(None, INTERRUPTED, "not_assessed")
    except TimeoutError:
        failed = Measured(None, RESTLESS, "fail")
    except Exception:
        log.exception("defect in the self-test of %s", group[0].id)
        failed = Measured(None, DEFECT, "fail")
    return {check.id: failed for check in group}
