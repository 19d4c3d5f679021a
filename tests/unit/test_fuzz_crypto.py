"""A short run of tests/bench/fuzz_crypto.py: every strict reader on the first mutated inputs; the long run is in docs/packet.md."""

from __future__ import annotations

import random

import pytest

from tests.bench import mutations
from tests.bench.fuzz_crypto import LIMIT_S, judge, run
from tests.bench.fuzz_readers import Material, Reader
from tests.vectors.parties import BOOTH_1, BOOTH_BELOW, ROOT_LIST

COUNT = 1_500
# An input of these costs signatures and encryption.
DEAR = {"packet": 500, "certificate": 500, "http signature": 500}


@pytest.fixture(scope="module")
def readers():
    return Material().readers()


@pytest.mark.parametrize(
    "name",
    [
        *("json", "header", "packet", "manifest", "zip", "cms", "certificate", "list", "lists", "request", "chain"),
        *("receipt", "tree head", "log proof", "http signature", "face 39794-5", "face 19794-5", "dg2"),
    ],
)
def test_a_reader_raises_its_own_errors_alone(readers, name):
    tally = run([readers[name]], range(DEAR.get(name, COUNT)))
    assert tally.failures == []
    assert tally.slowest[0] < LIMIT_S
    ends = {end for _, end in tally.ends}
    assert "accepted" in ends
    assert len(ends) >= 6  # the changes are met in many places, not at the first octet


def test_every_reader_is_run(readers):
    (mark,) = test_a_reader_raises_its_own_errors_alone.pytestmark
    assert set(mark.args[1]) == set(readers)


def test_what_nobody_signed_again_is_accepted_only_as_it_was(readers):
    """No second spelling of anything that is signed or sealed gets through."""
    material = Material()
    good = [material.cms, material.below]
    for name, change, samples in (
        ("cms", mutations.der, good),
        ("packet", mutations.octets, material.packets),
        ("list", mutations.der, [ROOT_LIST]),
        ("certificate", mutations.der, [BOOTH_1.der]),
    ):
        reader, accepted = readers[name], 0
        for number in range(1_000):
            chance = random.Random(f"{name} {number}")
            data = change(chance.choice(samples), chance, samples)
            if judge(reader, (data,) if name == "certificate" else data) == "accepted":
                accepted += 1
                assert data in samples, (name, number)
        assert accepted < 200


def test_what_no_reader_may_do_is_told():
    def broken(data):
        return data[3]

    def willing(data):
        return data

    for read, says in ((broken, "IndexError"), (willing, "promise does not hold")):
        reader = Reader("broken", lambda chance: chance.randbytes(3), read, (), lambda data, value: False)
        tally = run([reader], range(2))
        assert len(tally.failures) == 2
        assert says in tally.failures[0][2]
    with pytest.raises(ZeroDivisionError):
        judge(Reader("x", lambda chance: b"", lambda data: 1 // 0, ()), b"")


def test_an_input_that_takes_too_long_is_told():
    def endless(_data):
        while True:
            pass

    tally = run([Reader("endless", lambda chance: b"", endless, ())], range(1))
    assert "TooSlowError" in tally.failures[0][2]


def test_der_is_taken_apart_and_written_again_as_it_was():
    for data in (BOOTH_BELOW.der, ROOT_LIST):
        nodes = mutations.read_nodes(data)
        assert b"".join(node.write() for node in nodes) == data
    assert mutations.der(BOOTH_BELOW.der, random.Random(1)) == mutations.der(BOOTH_BELOW.der, random.Random(1))
