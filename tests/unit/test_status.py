"""What the technician's page is told of devices: nothing that was measured stands there as if it were true while the device is away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from booth.health import Health
from booth.status import device_view, levels_now
from hardware.link import DeviceState, DeviceStatus

CAMERA = {"size": "600x800", "fps": "30", "picture": "live"}


def status(name, state, info):
    return DeviceStatus(name, "x", state, 0, "", info)


def test_a_camera_that_is_away_keeps_its_name_and_loses_its_figures():
    assert device_view(status("camera", DeviceState.READY, CAMERA)).info == CAMERA
    for state in (DeviceState.LOST, DeviceState.MISSING, DeviceState.CONNECTING):
        assert device_view(status("camera", state, CAMERA)).info == {"size": "600x800"}


def test_levels_are_those_of_lamps_that_answer():
    levels = {"key_left": 15.0}
    camera = status("camera", DeviceState.READY, CAMERA)
    assert levels_now((camera, status("lights", DeviceState.READY, {})), levels) == levels
    assert levels_now((camera, status("lights", DeviceState.LOST, {})), levels) == {}
    assert levels_now((camera,), {}) == {}


def test_a_device_tells_when_it_last_worked():
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    clock = {"now": now}
    health = Health(lambda: clock["now"])
    assert health.last_good("camera") is None, "it never was"
    health.set_device(status("camera", DeviceState.READY, {}))
    clock["now"] = now + timedelta(minutes=5)
    assert health.last_good("camera") == "2026-11-23T12:05:00Z"
    health.set_device(status("camera", DeviceState.LOST, {}))
    clock["now"] = now + timedelta(minutes=9)
    health.set_device(status("camera", DeviceState.CONNECTING, {}))
    assert health.last_good("camera") == "2026-11-23T12:05:00Z"
    assert device_view(status("camera", DeviceState.LOST, {}), "2026-11-23T12:05:00Z").last_good_at is not None
