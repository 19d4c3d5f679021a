"""Shared test rules: no test leaves a task, a thread or a file descriptor behind.

The check compares before and after each test, after every longer-lived fixture was set up, so a session's model or server does not count.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from pathlib import Path

import hypothesis
import pytest

from tests.postgres_rig import postgres_socket, postgres_url  # noqa: F401 - fixtures
from tests.s3_rig import s3_endpoint, s3_place  # noqa: F401 - fixtures

PROJECT = Path(__file__).resolve().parent.parent
APPLICANTS = PROJECT / "hardware" / "sim" / "applicants"
# How long a thread or descriptor that is already being closed may take to go; nothing waits this long when all is well.
GRACE_S = 15.0


def pytest_addoption(parser):
    group = parser.getgroup("devices")
    group.addoption("--device", metavar="URL", help="run the fault matrix (tests/wire) against this real device")
    group.addoption(
        "--heal-times", metavar="PATH", help="append what the fault matrix measured to this file (JSON lines)"
    )


def open_descriptors() -> dict[str, str]:
    """The process's descriptors and what they point at."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except OSError:
            continue  # the descriptor of the listing itself
    return found


def leaks(threads_before: set[threading.Thread], descriptors_before: dict[str, str]) -> list[str]:
    """What is alive now and was not before."""
    threads = [f"thread {t.name}" for t in threading.enumerate() if t not in threads_before and t.is_alive()]
    descriptors = [
        f"descriptor {n} -> {target}" for n, target in open_descriptors().items() if n not in descriptors_before
    ]
    return threads + descriptors


@pytest.fixture(autouse=True)
def _no_leaks():
    threads_before = set(threading.enumerate())
    descriptors_before = open_descriptors()
    yield
    deadline = time.monotonic() + GRACE_S
    pause = threading.Event()
    while (left := leaks(threads_before, descriptors_before)) and time.monotonic() < deadline:
        gc.collect()  # only now: a collection over mediapipe's and hypothesis's objects takes half a second
        pause.wait(0.02)
    assert not left, f"the test leaves behind: {left}"


@pytest.fixture
async def no_tasks_left():
    """For asynchronous tests that open devices or servers: no task outlives the test body."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"tasks left behind: {left}"


@pytest.fixture(scope="session")
def applicants() -> Path:
    """The folder of rendered applicants that the virtual booth shows."""
    return APPLICANTS


# These machines are shared and noisy: an example's time says nothing.
hypothesis.settings.register_profile(
    "passbooth", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("passbooth")
# A booth that a test starts does not spend its time on six hundred prompts.
os.environ.setdefault("PASSBOOTH_VOICE__ENABLED", "false")
# Two seconds of every visit; what tests the probe switches it on.
os.environ.setdefault("PASSBOOTH_VISIT__ACTIVE_LIGHT", "false")
os.environ.setdefault("GLOG_minloglevel", "2")  # mediapipe's graph chatter is not a test result
