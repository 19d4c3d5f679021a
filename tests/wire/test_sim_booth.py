"""The virtual booth as a program: real serial ports, a real HTTP camera, faults on the control socket, and nothing left behind.

The clients here are the libraries the product uses (pyserial, `cv2.VideoCapture`), not the product's own drivers.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
import serial

LIMIT_S = 10.0
# A frame is on the client's side within three frame times of its exposure, also on a busy machine (4 ms on an idle one).
LATENCY_LIMIT_MS = 100.0


class Booth:
    """A running simulator and a connection to its control socket."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hardware.sim", *arguments, "--json", "--with-parent"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
        )
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.told = json.loads(line)
        self.control = socket.socket(socket.AF_UNIX)
        self.control.settimeout(LIMIT_S)
        self.control.connect(self.told["control"])
        self._file = self.control.makefile("rw")

    def order(self, **orders):
        self._file.write(json.dumps(orders) + "\n")
        self._file.flush()
        return json.loads(self._file.readline())

    def state(self):
        return self.order(state=True)

    def fault(self, name, *, on=True, **more):
        assert self.order(fault=name, on=on, **more)["ok"]

    @contextlib.contextmanager
    def faulty(self, name, **more):
        self.fault(name, **more)
        try:
            yield
        finally:
            self.fault(name, on=False)

    def close(self, number=signal.SIGTERM):
        self._file.close()
        self.control.close()
        self.process.send_signal(number)
        try:
            return self.process.wait(LIMIT_S)
        finally:
            self.process.kill()
            self.process.stdout.close()
            self.process.stderr.close()


@pytest.fixture(scope="module")
def booth():
    running = Booth("seated")
    yield running
    assert running.close() == 0


@pytest.fixture
def lamps(booth):
    with serial.Serial(booth.told["lights"], 115200, timeout=LIMIT_S) as port:
        port.reset_input_buffer()
        yield port


@pytest.fixture
def head(booth):
    with serial.Serial(booth.told["visca"], 9600, timeout=LIMIT_S) as port:
        port.reset_input_buffer()
        yield port


def set_lamps(port, bri):
    lamps = [{"id": number, "bri": bri, "on": bri > 0} for number in range(4)]
    port.write(json.dumps({"on": True, "bri": 255, "tt": 0, "seg": lamps, "v": True}).encode())
    return json.loads(port.readline())


@contextlib.contextmanager
def preview(booth):
    capture = cv2.VideoCapture(booth.told["camera_url"], cv2.CAP_FFMPEG)
    try:
        assert capture.isOpened()
        yield capture
    finally:
        capture.release()


def frames_until(capture, wanted):
    """Reads frames until one is as wanted; returns it."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        ok, frame = capture.read()
        assert ok
        if wanted(frame):
            return frame
    raise AssertionError("no such frame came")


class Stream:
    """The raw multipart stream: headers and bytes of each part."""

    def __init__(self, booth):
        self._answer = urllib.request.urlopen(booth.told["camera_url"], timeout=LIMIT_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._answer.close()

    def part(self):
        headers = {}
        while (line := self._answer.readline().strip()) or not headers:
            if b":" in line:
                name, _, value = line.partition(b":")
                headers[name.decode()] = value.strip().decode()
        size = int(headers["Content-Length"])
        body = self._answer.read(size)
        return headers, body, time.monotonic_ns()


def still(booth):
    with urllib.request.urlopen(booth.told["still_url"], timeout=LIMIT_S) as answer:
        return answer.headers, cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)


def test_it_tells_a_configuration_that_fits(booth):
    config = tomllib.loads(booth.told["toml"])
    assert config["camera"] == {"url": booth.told["camera_url"], "still_url": booth.told["still_url"], "rotate_deg": 0}
    assert config["controls"]["url"] == f"visca+serial://{booth.told['visca']}"
    assert config["lights"]["url"] == booth.told["lights_url"] == f"wled+serial://{booth.told['lights']}"
    assert config["lights"]["channels"]["background"] == {"segment": 3}


def test_preview_opens_in_opencv_at_full_rate_with_small_latency(booth):
    with preview(booth) as capture:
        start = time.monotonic()
        shapes = {capture.read()[1].shape for _ in range(45)}
        rate = 45 / (time.monotonic() - start)
    assert shapes == {(800, 600, 3)}
    assert rate > 15, f"{rate:.1f} frames per second"
    with Stream(booth) as stream:
        ages = []
        for _ in range(20):
            headers, _, arrived_ns = stream.part()
            ages.append((arrived_ns - int(headers["X-Timestamp-Ns"])) / 1e6)
    assert sorted(ages)[10] < LATENCY_LIMIT_MS, f"median {sorted(ages)[10]:.1f} ms"


def test_a_slow_chain_delivers_every_picture_later_at_the_same_rate(booth):
    assert booth.order(camera={"latency_ms": 150})["ok"]
    try:
        with Stream(booth) as stream:
            parts = [stream.part() for _ in range(6)]
    finally:
        booth.order(camera=None)
    stamps = [int(headers["X-Timestamp-Ns"]) for headers, _, _ in parts]
    assert all(arrived - stamp > 149e6 for stamp, (_, _, arrived) in zip(stamps, parts, strict=True))
    assert (stamps[-1] - stamps[0]) / 5 < 100e6


def test_a_lamp_order_is_seen_by_the_camera(booth, lamps):
    with preview(booth) as capture:
        set_lamps(lamps, 159)
        bright = frames_until(capture, lambda frame: frame.mean() > 100)
        set_lamps(lamps, 0)
        frames_until(capture, lambda frame: frame.mean() < bright.mean() / 2)


def test_the_still_is_exposed_after_the_request_in_full_size_without_loss(booth, lamps):
    set_lamps(lamps, 159)
    asked_ns = time.monotonic_ns()
    headers, first = still(booth)
    assert first.shape == (1280, 960, 3)
    assert int(headers["X-Timestamp-Ns"]) >= asked_ns
    assert "X-Upscaled-From" not in headers
    assert float(headers["X-Cpu-S"]) > 0
    _, second = still(booth)
    assert not np.array_equal(first, second), "two exposures never have the same noise"
    set_lamps(lamps, 0)
    assert still(booth)[1].mean() < first.mean() / 2


def test_an_enlarged_still_says_so(booth):
    booth.order(sitter="smile")
    assert still(booth)[0]["X-Upscaled-From"] == "640x853"
    booth.order(sitter="still")


def test_the_picture_follows_the_camera_control(booth, lamps, head):
    set_lamps(lamps, 159)
    with preview(booth) as capture:
        bright = frames_until(capture, lambda frame: frame.mean() > 100)
        head.write(bytes.fromhex("8101044a0000000cff"))
        assert head.read_until(b"\xff") + head.read_until(b"\xff") == bytes.fromhex("9041ff 9051ff")
        frames_until(capture, lambda frame: frame.mean() < bright.mean() * 0.7)
        head.write(bytes.fromhex("8101044a00000006ff"))
        assert head.read_until(b"\xff") + head.read_until(b"\xff") == bytes.fromhex("9041ff 9051ff")


def test_frames_in_a_row_differ_and_a_frozen_camera_repeats(booth):
    with Stream(booth) as stream:
        bodies = [stream.part()[1] for _ in range(8)]
        assert all(one != other for one, other in itertools.pairwise(bodies))
        with booth.faulty("camera.freeze"):
            stream.part()
            stream.part()
            assert len({stream.part()[1] for _ in range(5)}) == 1


def test_a_covered_camera_is_black(booth):
    with booth.faulty("camera.black"):
        assert still(booth)[1].mean() < 2
    assert still(booth)[1].mean() > 2


def test_a_wrong_size_shows_in_preview_and_still(booth):
    with booth.faulty("camera.wrong_size"):
        assert still(booth)[1].shape == (640, 480, 3)
        with preview(booth) as capture:
            frames_until(capture, lambda frame: frame.shape == (400, 300, 3))


def test_half_rate_halves_the_rate(booth):
    with booth.faulty("camera.half_rate"), Stream(booth) as stream:
        stamps = [int(stream.part()[0]["X-Timestamp-Ns"]) for _ in range(9)]
    assert np.median(np.diff(stamps)) / 1e6 > 55


def test_a_connection_cut_inside_a_jpeg_ends_the_stream_and_a_new_one_works(booth):
    with Stream(booth) as stream:
        deadline = time.monotonic() + LIMIT_S
        while booth.order(state=True)["camera"]["watchers"] > 1:  # an earlier watcher would take the one cut
            assert time.monotonic() < deadline
            stream.part()
        booth.fault("camera.cut", times=1)
        while True:
            headers, body, _ = stream.part()
            if len(body) < int(headers["Content-Length"]):
                break
            assert time.monotonic() < deadline
        assert body.startswith(b"\xff\xd8")
        assert not body.endswith(b"\xff\xd9")
    with preview(booth) as capture:
        assert capture.read()[0]


def test_a_killed_camera_comes_back_on_the_same_port(booth):
    with preview(booth) as capture:
        assert capture.read()[0]
        booth.fault("camera.kill")
        while capture.read()[0]:
            pass
    with pytest.raises(urllib.error.URLError):
        still(booth)
    booth.fault("camera.kill", on=False)
    with preview(booth) as capture:
        assert capture.read()[0]


def test_a_slow_still_comes_late(booth):
    with booth.faulty("camera.slow", ms=300):
        start = time.monotonic()
        still(booth)
        assert time.monotonic() - start >= 0.3


def test_nothing_else_is_served(booth):
    base = booth.told["camera_url"].rsplit("/", 1)[0]
    for method, path, code in (("GET", "/", 404), ("POST", "/still.png", 405)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(base + path, method=method), timeout=LIMIT_S)
        refused.value.close()
        assert refused.value.code == code


@pytest.mark.parametrize("request_bytes", [b"\r\n\r\n", b"GARBAGE\r\n\r\n", b"x" * 100_000, b"\xff" * 10])
def test_what_is_not_http_does_not_hurt_the_camera(booth, request_bytes):
    port = int(re.search(r":(\d+)/", booth.told["camera_url"])[1])
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as client, contextlib.suppress(OSError):
        client.sendall(request_bytes)
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass
    assert still(booth)[1].shape == (1280, 960, 3)


def test_an_unplugged_line_fails_at_the_client_and_comes_back_under_its_name_dark(booth):
    with serial.Serial(booth.told["lights"], 115200, timeout=LIMIT_S) as port:
        set_lamps(port, 159)
        booth.fault("lights.unplug")
        with pytest.raises((serial.SerialException, OSError)):
            port.read(1)
    assert not Path(booth.told["lights"]).exists()
    booth.fault("lights.unplug", on=False)
    with serial.Serial(booth.told["lights"], 115200, timeout=LIMIT_S) as port:
        port.reset_input_buffer()
        port.write(b'{"v":true}')
        assert json.loads(port.readline())["state"]["on"] is False, "the controller has booted"


def test_the_camera_control_line_comes_back_with_its_settings(booth):
    booth.fault("visca.unplug")
    assert not Path(booth.told["visca"]).exists()
    booth.fault("visca.unplug", on=False)
    with serial.Serial(booth.told["visca"], 9600, timeout=LIMIT_S) as port:
        port.reset_input_buffer()
        assert booth.order(visca="network_change")["ok"]
        assert port.read_until(b"\xff") == bytes.fromhex("9038ff")
        port.write(bytes.fromhex("81090447ff"))
        assert port.read_until(b"\xff") == bytes.fromhex("9050 000b0000 ff")


def test_a_muted_device_says_nothing_and_a_dropped_order_does_nothing(booth, lamps):
    lamps.timeout = 0.2
    set_before = booth.state()["lights"]["messages"]
    booth.fault("lights.mute", times=1)
    lamps.write(b"v")
    assert lamps.readline() == b""
    booth.fault("lights.drop", times=1)
    lamps.write(b'{"on":true,"v":true}')
    assert lamps.readline() == b""
    assert booth.state()["lights"]["messages"] == set_before
    lamps.timeout = LIMIT_S
    lamps.write(b"v")
    assert lamps.readline() == b"WLED 2412100\r\n"


def test_garbled_answers_are_wrong_split_ones_complete_delayed_ones_late(booth, lamps):
    booth.fault("lights.garble", times=1)
    lamps.write(b"v")
    assert lamps.read(14) != b"WLED 2412100\r\n"
    booth.fault("lights.split", times=1)
    lamps.write(b"v")
    assert lamps.readline() == b"WLED 2412100\r\n"
    booth.fault("lights.delay", times=1, ms=200)
    start = time.monotonic()
    lamps.write(b"v")
    assert lamps.readline() == b"WLED 2412100\r\n"
    assert time.monotonic() - start >= 0.2


def test_the_control_socket_answers_nonsense_with_a_sentence(booth):
    for orders, part in (
        ({"sitter": "dance"}, "anna cannot 'dance'"),
        ({"person": "nobody"}, "there is no 'nobody'"),
        ({"fault": "camera.explode"}, "there is no fault"),
        ({"lamp": "sun", "dead": True}, "there is no lamp"),
        ({"ambient": -1}, "ambient is"),
        ({"show_code": 5}, "show_code takes"),
        ({"show_code": "x" * 2000}, "modules too small"),
        ({"fly": True}, "there is no order"),
        ({"fault": "camera.slow", "ms": "long"}, "ms is"),
        ({"fault": "camera.slow", "times": 0}, "times is"),
        ({"lamp": "key_left", "dead": "yes"}, "true or false"),
    ):
        answer = booth.order(**orders)
        assert answer["ok"] is False
        assert part in answer["error"]
    for line in (b"hello\n", b"[1]\n", b"{}\n", b"\xff\xfe\n"):
        booth.control.sendall(line)
        assert json.loads(booth._file.readline())["ok"] is False


def test_state_tells_cpu_memory_and_what_is_shown(booth):
    assert booth.order(person="kwame", ambient=0.5)["ok"]
    state = booth.state()
    sits = {"person": "kwame", "told": "still", "phase": "still", "frame": -2}
    assert state["sitter"] == {**sits, "look": None, "place": [0.0, 0.0, 1.0]}
    assert state["levels"]["ambient"] == [0.5, 0.5, 0.5]
    assert state["cpu_s"] > 0
    assert state["rss_mb"] < 256
    assert state["cache_bytes"] <= 64 * 2**20
    assert booth.order(person="anna", ambient=0.35)["ok"]


def test_nothing_is_computed_while_nobody_watches(booth):
    deadline = time.monotonic() + LIMIT_S
    while booth.state()["camera"]["watchers"]:
        assert time.monotonic() < deadline
    before = booth.state()["camera"]["frames"]
    for _ in range(5):
        still(booth)
    assert booth.state()["camera"]["frames"] - before <= 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told_and_leaves_nothing(number):
    running = Booth("dmx-fine", "--still-size", "480x640")
    folder = Path(running.told["control"]).parent
    config = tomllib.loads(running.told["toml"])
    assert config["lights"]["channels"]["key_right"] == {"address": 3, "fine": 4}
    with serial.Serial(running.told["lights"], timeout=LIMIT_S) as port:
        port.write(bytes.fromhex("7e0a0000e7"))
        assert port.read(9) == bytes.fromhex("7e0a040078563402e7")
    assert folder.exists()
    assert running.close(number) == 0
    assert not folder.exists()


def test_a_camera_on_its_side_gives_landscape_pictures_that_a_clockwise_turn_sets_upright(booth):
    running = Booth("sideways", "--sitter", "still", "--ambient", "1.0")
    assert booth.order(ambient=1.0)["ok"]
    try:
        assert tomllib.loads(running.told["toml"])["camera"]["rotate_deg"] == 90
        _, lying = still(running)
        _, upright = still(booth)
        assert lying.shape == (960, 1280, 3)
        turned = cv2.rotate(lying, cv2.ROTATE_90_CLOCKWISE)
        assert np.abs(turned.astype(int) - upright).mean() < 3
    finally:
        assert booth.order(ambient=0.35)["ok"]
        assert running.close() == 0


def test_devices_a_scenario_lacks_are_not_in_its_configuration(tmp_path):
    running = Booth("no-lights", "--run-dir", str(tmp_path / "run"))
    assert "lights" not in tomllib.loads(running.told["toml"])
    assert running.told["lights"] is None
    assert running.close() == 0
    assert list((tmp_path / "run").iterdir()) == []


def test_help_names_the_scenarios_and_gives_examples():
    text = subprocess.run(
        [sys.executable, "-m", "hardware.sim", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "dmx-fine" in text
    assert "examples:" in text
