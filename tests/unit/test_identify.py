"""Whose number it is: slips verified without a network, typed numbers checked, the registry's answers, and codes that stay before the camera."""

from __future__ import annotations

import json
from types import MappingProxyType

import pytest

from booth.events import Application, Given, Notice
from booth.identify import AWAY_S, MAX_REPEATS, MAX_SHOWN, MISTYPED, OTHER_CODE, Identifier, ShownCodes
from booth.registry import UNREACHED
from crypto.slip import centre_of
from tests.vectors.make_slips import INDEX, LONG, NORTH, NUMBER, TODAY, slip

BAD = json.loads(INDEX.read_text(encoding="utf-8"))["bad"]
WORDS = {
    "Malformed": "identify.unreadable",
    "UnknownCentre": "identify.unconfirmed",
    "Forged": "identify.unconfirmed",
    "Expired": "identify.expired",
}
CAPTURED = Notice("application.captured", "identify.captured")


class Centres:
    """Knows the north; the centre with the long name comes when it is looked for again."""

    def __init__(self):
        self.looked = 0
        self.known = self._of(NORTH)

    @staticmethod
    def _of(*parties):
        return MappingProxyType({one.key_id: one for one in (centre_of(party.certificate) for party in parties)})

    async def look_again(self):
        self.looked += 1
        self.known = self._of(NORTH, LONG)


class Registry:
    """Says what it was told to."""

    def __init__(self):
        self.answer = "filed"
        self.asked = []

    async def look_up(self, number):
        self.asked.append(number)
        return self.answer


@pytest.fixture
def centres():
    return Centres()


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def identifier(centres, registry):
    return Identifier(centres, registry, lambda: TODAY)


def scanned(text):
    return Given(text, "scanned")


async def test_a_slip_is_verified_and_its_number_looked_up(identifier, registry, centres):
    assert await identifier.identify(scanned(slip())) == Application(
        NUMBER, "scanned", verified=True, registry="filed", centre="centre-north", expires="2027-02-28"
    )
    assert (registry.asked, centres.looked) == ([NUMBER], 0)


async def test_without_a_network_a_slip_is_verified_all_the_same(identifier, registry):
    registry.answer = UNREACHED
    application = await identifier.identify(scanned(slip()))
    assert (application.verified, application.registry) == (True, "unreached")


@pytest.mark.parametrize("case", [case for case in BAD if case["text"].startswith("PB1")], ids=lambda case: case["id"])
async def test_a_bad_slip_is_refused_before_anybody_is_asked(identifier, registry, case):
    answer = await identifier.identify(scanned(case["text"]))
    assert answer.message == WORDS[case["error"]]
    assert registry.asked == []


async def test_a_centre_that_came_since_is_fetched_once(identifier, centres):
    application = await identifier.identify(scanned(slip(LONG)))
    assert (application.verified, application.centre[:4], centres.looked) == (True, "c-12", 1)


@pytest.mark.parametrize("source", ["scanned", "typed"])
async def test_a_number_without_a_signature_is_not_verified(identifier, source):
    typed = Given(f" {NUMBER[:4].lower()}-{NUMBER[4:]}", source)
    assert await identifier.identify(typed) == Application(NUMBER, source, registry="filed")


async def test_what_is_no_number_is_told_by_how_it_came(identifier, registry):
    assert await identifier.identify(Given(NUMBER[:-1] + "0", "typed")) == MISTYPED
    assert await identifier.identify(Given(slip(), "typed")) == MISTYPED  # nobody types a slip
    assert await identifier.identify(scanned("https://example.org/menu")) == OTHER_CODE
    assert registry.asked == []


async def test_what_the_registry_refuses_is_refused_however_good_the_slip_is(identifier, registry):
    registry.answer = CAPTURED
    assert await identifier.identify(scanned(slip())) == CAPTURED
    assert await identifier.identify(Given(NUMBER, "typed")) == CAPTURED


def test_nothing_of_a_number_is_in_what_may_be_logged():
    for one in (Given(NUMBER, "typed"), Application(NUMBER, "typed")):
        assert NUMBER not in repr(one)


def test_a_code_that_stays_before_the_camera_counts_once():
    shown = ShownCodes()
    assert shown.counts("A", 10.0, 1, free=True)
    assert not any(shown.counts("A", 10.0 + 0.2 * n, 1, free=True) for n in range(1, 60))
    assert shown.counts("B", 22.0, 1, free=True)
    assert shown.counts("A", 22.2, 1, free=True)
    assert shown.counts("A", 22.4, 2, free=True), "another visit"


def test_a_code_that_was_taken_away_counts_again_a_few_times():
    shown = ShownCodes()
    counted = [shown.counts("A", n * (AWAY_S + 0.1), 1, free=True) for n in range(10)]
    assert counted == [True] * (1 + MAX_REPEATS) + [False] * (9 - MAX_REPEATS)


def test_a_code_shown_while_another_is_looked_up_counts_afterwards():
    shown = ShownCodes()
    assert shown.counts("A", 10.0, 1, free=True)
    assert not shown.counts("B", 10.2, 1, free=False)
    assert shown.counts("B", 10.4, 1, free=True)


def test_two_codes_in_turn_do_not_ask_for_ever():
    shown = ShownCodes()
    assert sum(shown.counts("AB"[n % 2], 10.0 + n / 5, 1, free=True) for n in range(500)) == MAX_SHOWN
