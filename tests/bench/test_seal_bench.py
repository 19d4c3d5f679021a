"""Sealing and opening 1 MB against the floor: the bare primitives that nobody can do without, in the same run.

Floor: SHA-384 twice and one P-384 signature and verification, HPKE encryption and decryption of 1 MB. What our code adds is one
SHA-256 and one CRC-32 when the parts are read, headers, manifest, ASN.1 and three copies. The signature of the authority under the
booth's certificate is verified once and remembered (crypto.trust), so it does not count after the first packet of a booth.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from crypto.keys import RecipientPublicKey, generate_recipient_key
from crypto.package import Package, build_package
from crypto.seal import open_packet, sign_and_seal
from tests.packets import NOW, World, fields_for, make_world

ROUNDS = 100
# Other work on the machine can only raise a smallest time: when a series misses the bound, the next one may come closer to the truth.
SERIES = 5
# The bound. Measured in thread time on a shared machine with two cores (2026-11-23):
# 1.40 to 1.43, with eight busy processes beside it up to 1.52 in single series.
LIMIT = 1.5
# Two recipients cost one more key encapsulation than the floor has: 1.49 to 1.52.
SHARED_LIMIT = 1.6


@pytest.fixture(scope="module")
def world() -> World:
    # A booth and a desk have handled pictures before the first packet: glibc then keeps freed megabytes for itself. In a process
    # that never held more than 1 MB every buffer is given back to the kernel, and what is measured is page faults.
    bytearray(32_000_000)
    return make_world()


@pytest.fixture(scope="module")
def parts() -> dict[str, bytes]:
    # Noise, as encoded pictures are.
    return {"portrait.jpg": hashlib.shake_256(b"portrait").digest(1_000_000)}


@pytest.fixture(scope="module")
def package(world, parts) -> Package:
    return build_package(fields_for(world.desk.key_id), parts)


def floor(world: World, package: Package) -> None:
    key, prehashed = world.booth._key, ec.ECDSA(utils.Prehashed(hashes.SHA384()))
    signature = key.sign(hashlib.sha384(package.data).digest(), prehashed)
    sealed = world.desk.public.encrypt(package.data, b"info")
    opened = world.desk.decrypt(sealed, b"info")
    assert opened is not None
    key.public_key().verify(signature, hashlib.sha384(opened).digest(), prehashed)


def whole(world: World, package: Package, *others: RecipientPublicKey) -> None:
    packet = sign_and_seal(package, world.booth, [world.desk.public, *others], NOW)
    assert open_packet(packet, [world.desk], world.trust).manifest == package.manifest


def best_ms(enough: Callable[[dict[str, float]], bool], **works: Callable[[], object]) -> dict[str, float]:
    """CPU time, taken in turns, the best of many: other work on the machine counts for none or for all."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(SERIES):
        for _ in range(ROUNDS):
            for name, work in works.items():
                start = time.thread_time_ns()
                work()
                best[name] = min(best[name], (time.thread_time_ns() - start) / 1e6)
        if enough(best):
            break
    return best


def within_limits(best: dict[str, float]) -> bool:
    return best["one"] <= LIMIT * best["floor"] and best["two"] <= SHARED_LIMIT * best["floor"]


def test_sealing_and_opening_stay_near_the_primitives(world, package, parts, record_property):
    other = generate_recipient_key().public
    fields = fields_for(world.desk.key_id, other.key_id)
    shared = build_package(fields, parts)
    best = best_ms(
        within_limits,
        floor=lambda: floor(world, package),
        one=lambda: whole(world, package),
        two=lambda: whole(world, shared, other),
        build=lambda: build_package(fields, parts),
    )
    one, two, build = (best[name] / best["floor"] for name in ("one", "two", "build"))
    for name, ratio in (("one", one), ("two", two), ("build", build)):
        record_property(f"ratio_{name}", round(ratio, 2))
    print(
        f"\nseal+open 1 MB: {best['one']:.2f} ms, primitives {best['floor']:.2f} ms: ratio {one:.2f}; "
        f"two recipients {two:.2f}; building the package adds {build:.2f}"
    )
    assert one <= LIMIT
    assert two <= SHARED_LIMIT


def test_seal_and_open_one_megabyte(benchmark, world, package):
    benchmark(whole, world, package)


def test_primitives_alone(benchmark, world, package):
    benchmark(floor, world, package)
