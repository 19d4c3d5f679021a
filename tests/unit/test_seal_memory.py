"""Memory of the largest package: each step (making and sealing, opening) in a fresh process, the peak of its resident pages against what it held before.

The kernel's high-water mark counts what OpenSSL and Rust take, which tracemalloc does not see. It is the peak of the process's whole life, so the
difference to the pages held before the step may tell too much, never too little. (`ru_maxrss` begins with the memory of whoever started the
process, here pytest with all its tests.)
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
LIMIT_BYTES = 100_000_000

SCRIPT = """
import os
import sys
from pathlib import Path

from crypto.keys import RecipientKey
from crypto.package import MAX_PACKAGE_BYTES, build_package
from crypto.seal import open_packet, sign_and_seal
from tests.packets import NOW, fields_for, make_world

step, count, file = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
world = make_world()
keys = [RecipientKey(bytes([n]) * 32) for n in range(count)]
fields = fields_for(*(one.key_id for one in keys))
public = [one.public for one in keys]


def pages(name):
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(name + ":")]
    return int(line.split()[1]) * 1024


def held():
    return pages("VmRSS")


def peak():
    return pages("VmHWM")


parts = {"portrait.jpg": bytes(range(250)) * ((MAX_PACKAGE_BYTES - 10_000) // 250)}
if step == "seal":
    before = held()
    packet = sign_and_seal(build_package(fields, parts), world.booth, public, NOW)
    print(peak() - before)
else:
    if not os.fork():  # so that what sealing took is not in this process
        file.write_bytes(sign_and_seal(build_package(fields, parts), world.booth, public, NOW))
        os._exit(0)
    assert os.wait()[1] == 0
    packet = file.read_bytes()
    before = held()
    opened = open_packet(packet, keys[-1:], world.trust)
    print(peak() - before)
    assert opened.parts == parts
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc: resident pages cannot be read here")
@pytest.mark.parametrize("recipients", [1, 2])
@pytest.mark.parametrize("step", ["seal", "open"])
def test_twenty_megabytes_stay_below_a_hundred_of_extra_memory(tmp_path, step, recipients, record_property):
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, step, str(recipients), tmp_path / "visit.packet"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    extra = int(run.stdout)
    record_property("extra_bytes", extra)
    print(f"\n{step} 20 MB for {recipients}: {extra / 1e6:.0f} MB extra")
    assert 20_000_000 < extra < LIMIT_BYTES
