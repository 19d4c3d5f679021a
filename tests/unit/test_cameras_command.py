"""`booth cameras`: what is there, in words and as JSON; no camera and no access are told with what to do."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from booth.cli import app
from hardware.v4l2_device import ControlEntry, VideoFormat, VideoInfo

CAMERA = VideoInfo(
    path="/dev/video0",
    by_id="/dev/v4l/by-id/usb-Studio-video-index0",
    name="Studio [red]Cam",
    driver="uvcvideo",
    bus="usb-1.2",
    formats=(
        VideoFormat("MJPG", 1920, 1080, 30.0),
        VideoFormat("MJPG", 640, 480, 60.0),
        VideoFormat("YUYV", 640, 480, 0),
    ),
    controls=(
        ControlEntry("exposure_absolute", 3, 2047, 1, 250, writable=True, active=False),
        ControlEntry("power_line_frequency", 0, 2, 1, 1, writable=True, active=True, menu={0: "Disabled", 1: "50 Hz"}),
        ControlEntry("brightness", -64, 64, 1, 0, writable=False, active=True),
    ),
)


@pytest.fixture
def run(monkeypatch):
    def run(found, *arguments):
        def find(*, tell):
            if isinstance(found, OSError):
                raise found
            return found

        monkeypatch.setattr("hardware.v4l2_device.find_cameras", find)
        monkeypatch.setenv("COLUMNS", "140")
        return CliRunner().invoke(app, ["cameras", *arguments])

    return run


def test_a_camera_is_told_with_its_address_formats_and_controls_and_that_it_is_untested(run):
    told = run((CAMERA,))
    assert told.exit_code == 0
    assert "Studio [red]Cam" in told.stdout
    assert 'url = "v4l2:///dev/v4l/by-id/usb-Studio-video-index0"' in told.stdout
    assert "hardware: untested" in told.stdout
    assert "1920x1080" in told.stdout
    assert "MJPG    640x480" not in told.stdout
    assert "held by an automatic" in told.stdout
    assert "0 Disabled, 1 50 Hz" in told.stdout
    assert "brightness" not in told.stdout
    everything = run((CAMERA,), "--all").stdout
    assert "brightness" in everything
    assert "read only" in everything
    assert "not told" in everything


def test_json_holds_all_of_it(run):
    told = json.loads(run((CAMERA,), "--json").stdout)
    assert told["hardware"] == "untested"
    (camera,) = told["cameras"]
    assert camera["formats"][1] == {"fourcc": "MJPG", "width": 640, "height": 480, "fps": 60.0}
    assert camera["controls"][0]["value"] == 250


def test_no_camera_and_no_access_say_what_to_do(run):
    none = run(())
    assert none.exit_code == 1
    assert "plug one in" in none.stdout
    assert "http://" in none.stdout
    assert json.loads(run((), "--json").stdout)["cameras"] == []
    refused = run(PermissionError(13, "Permission denied"))
    assert refused.exit_code == 2
    assert "group video" in refused.stderr


def test_this_machine_is_looked_at_for_real():
    told = CliRunner().invoke(app, ["cameras", "--json"])
    assert told.exit_code in {0, 1}
    assert isinstance(json.loads(told.stdout)["cameras"], list)
