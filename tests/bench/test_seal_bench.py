"""Sealing and opening 1 MB against the floor: the bare primitives that nobody can do without, in the same run.

Floor: SHA-384 twice and one P-384 signature and verification, HPKE encryption and decryption of 1 MB. What our code adds is the
package's SHA-256 and CRC-32 (twice each), ASN.1, and the certificate's path (one more P-384 verification).
"""

from __future__ import annotations

import hashlib
import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from crypto.package import Package, build_package
from crypto.seal import open_packet, sign_and_seal
from tests.packets import NOW, World, fields_for, make_world

ROUNDS = 40
# Measured 1.9 to 2.3 in thread time on a shared machine with two cores (2026-11-22); twice that means that something heavy crept in.
LIMIT = 4.5


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def package(world) -> Package:
    # Noise, as encoded pictures are.
    noise = hashlib.shake_256(b"portrait").digest(1_000_000)
    return build_package(fields_for(world.desk.key_id), {"portrait.jpg": noise})


def floor(world: World, package: Package) -> None:
    key, prehashed = world.booth._key, ec.ECDSA(utils.Prehashed(hashes.SHA384()))
    signature = key.sign(hashlib.sha384(package.data).digest(), prehashed)
    sealed = world.desk.public.encrypt(package.data, b"info")
    opened = world.desk.decrypt(sealed, b"info")
    key.public_key().verify(signature, hashlib.sha384(opened).digest(), prehashed)


def whole(world: World, package: Package) -> None:
    packet = sign_and_seal(package, world.booth, [world.desk.public], NOW)
    assert open_packet(packet, [world.desk], world.trust).package_bytes == package.data


def test_sealing_and_opening_stay_near_the_primitives(world, package, record_property):
    """CPU time, taken in turns, the best of many: other work on the machine counts for neither or for both."""
    best = {floor: float("inf"), whole: float("inf")}
    for _ in range(ROUNDS):
        for work, least in best.items():
            start = time.thread_time_ns()
            work(world, package)
            best[work] = min(least, (time.thread_time_ns() - start) / 1e6)
    ratio = best[whole] / best[floor]
    record_property("ratio", round(ratio, 2))
    print(f"\nseal+open 1 MB: {best[whole]:.1f} ms, primitives {best[floor]:.1f} ms, ratio {ratio:.2f}")
    assert ratio <= LIMIT


def test_seal_and_open_one_megabyte(benchmark, world, package):
    benchmark(whole, world, package)


def test_primitives_alone(benchmark, world, package):
    benchmark(floor, world, package)
