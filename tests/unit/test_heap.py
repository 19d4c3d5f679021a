"""Freed pictures leave the process, also when small things that stay lie between them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from crypto.heap import return_freed_memory
from tests.booth_rig import PROJECT

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


def grown_mb(*, orders: bool) -> float:
    code = PICTURES.format(orders=orders)
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, check=True, timeout=60)
    return float(done.stdout)


@pytest.mark.skipif("glibc" not in __import__("platform").libc_ver()[0], reason="orders to glibc's malloc")
def test_freed_pictures_go_back_to_the_system():
    assert grown_mb(orders=True) < 30, "ten small things of 0.3 MB on three threads stay"
    assert grown_mb(orders=False) > 60, "without the orders the freed pictures stay, or this test shows nothing"


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr("crypto.heap.ctypes.CDLL", lambda _: object())
    assert return_freed_memory() is False
