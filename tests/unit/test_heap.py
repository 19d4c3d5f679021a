"""Freed pictures leave the process, also when small things that stay lie between them."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import subprocess
import sys
import threading
from unittest import mock

import pytest

from booth.checker import open_checker
from crypto.heap import return_freed_memory, trim_heap
from server import listener
from tests.booth_rig import PROJECT
from validation.profile import load_profile

GLIBC = pytest.mark.skipif("glibc" not in platform.libc_ver()[0], reason="orders to glibc's malloc")

PICTURES = """
import os, threading
import numpy as np
if {orders}:
    from crypto.heap import return_freed_memory
    assert return_freed_memory()

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

kept = []

def shoot():
    np.ones(20 * 2**20, np.uint8)  # freed at once: from here on glibc keeps large blocks, unless told
    pictures = []
    for _ in range(10):
        pictures.append(np.ones(6 * 2**20, np.uint8))
        kept.append([bytes(100_000) for _ in range(3)])

before = resident()
threads = [threading.Thread(target=shoot) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(resident() - before)
"""

BETWEEN = """
from crypto.heap import trim_heap
before, texts = resident(), [bytes(50_000) for _ in range(2_000)]
del texts[::2], texts[1::2]
print(resident() - before, end=" ")
trim_heap()
print(resident() - before - 50_000 * len(texts) / 2**20)
"""


def grown_mb(*, orders: bool) -> float:
    code = PICTURES.format(orders=orders)
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, check=True, timeout=60)
    return float(done.stdout)


@GLIBC
def test_freed_pictures_go_back_to_the_system():
    assert grown_mb(orders=True) < 30, "ten small things of 0.3 MB on three threads stay"
    assert grown_mb(orders=False) > 60, "without the orders the freed pictures stay, or this test shows nothing"


@GLIBC
def test_what_lies_between_things_that_stay_goes_back_too():
    code = PICTURES[: PICTURES.index("kept = []")].format(orders=True) + BETWEEN
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, check=True, timeout=60)
    freed, trimmed = map(float, done.stdout.split())
    assert freed > 30, "between things that stay it is kept, or this test shows nothing"
    assert trimmed < 10


async def test_the_checking_thread_gives_memory_back_when_it_forgets(monkeypatch):
    done = []
    monkeypatch.setattr("booth.checker.FaceModel", lambda **_: contextlib.nullcontext(mock.Mock()))
    monkeypatch.setattr("booth.checker.LiveAssessor", lambda *_: mock.Mock())
    monkeypatch.setattr("booth.checker.trim_heap", lambda: done.append(threading.current_thread()))
    async with open_checker(load_profile("demo"), *[lambda *_: None] * 3) as checker:
        await checker.forget()
        assert done == [checker.thread]


async def test_a_server_gives_memory_back_every_few_seconds(monkeypatch):
    done, loop = asyncio.Event(), asyncio.get_running_loop()
    monkeypatch.setattr("server.listener.trim_heap", lambda: loop.call_soon_threadsafe(done.set))
    monkeypatch.setattr("server.listener.TRIM_S", 0.01)
    trimming = asyncio.create_task(listener._trim())
    await asyncio.wait_for(done.wait(), 10)
    trimming.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await trimming


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr("crypto.heap._LIBRARY", object())
    assert return_freed_memory() is False
    assert trim_heap() is False
