"""Application numbers: what is read, what is forgiven, what the check character notices, and what an error tells."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crypto.application import (
    ALPHABET,
    MAX_LENGTH,
    MAX_TEXT,
    MIN_LENGTH,
    application_digest,
    check_character,
    grouped_number,
    parse_number,
)
from crypto.errors import ApplicationNumberError

DEMO = "DEMO2026000017Q"
bodies = st.text(ALPHABET, min_size=MIN_LENGTH - 1, max_size=MAX_LENGTH - 1)


def refusal(text):
    with pytest.raises(ApplicationNumberError) as caught:
        parse_number(text)
    assert len(text) < 6 or text not in str(caught.value)
    return caught.value.reason


def noticed(text):
    try:
        parse_number(text)
    except ApplicationNumberError:
        return True
    return False


@pytest.mark.parametrize(
    ("body", "check"),
    [("A12425GABC1234002", "M"), ("DEMO2026000017", "Q"), ("AB123456", "T"), ("A1234567", "1")],
)
def test_check_characters_that_are_known(body, check):
    """The first is the published example of the Global Release Identifier, which uses the same system."""
    assert check_character(body) == check
    assert parse_number(body + check) == body + check


@given(bodies, st.data())
def test_what_hands_and_printers_do_is_forgiven(body, data):
    number = body + check_character(body)
    between = st.sampled_from(["", "-", " ", "\t"])
    typed = "".join(data.draw(between) + data.draw(st.sampled_from([sign, sign.lower()])) for sign in number)
    assert parse_number(typed + "\r\n") == number
    assert parse_number(grouped_number(number)) == number


@given(bodies, st.data())
def test_every_wrong_character_is_noticed(body, data):
    number = body + check_character(body)
    at = data.draw(st.integers(0, len(number) - 1))
    wrong = data.draw(st.sampled_from(ALPHABET))
    assume(wrong != number[at])
    assert refusal(number[:at] + wrong + number[at + 1 :]) == "check"


def state_after(body):
    """The calculation's product; 36 states."""
    product = 36
    for sign in body:
        product = ((product + ALPHABET.index(sign)) % 36 or 36) * 2 % 37
    return product


def blind(before, one, other):
    """MOD 37,36 confuses one pair in each state: one character that brings the sum to 18, and the next higher one."""
    low = (18 - state_after(before)) % 36
    return {ALPHABET.index(one), ALPHABET.index(other)} == {low, (low + 1) % 36}


@given(bodies, st.data())
def test_swapped_neighbours_are_noticed_but_for_the_one_pair_that_the_standard_confuses(body, data):
    number = body + check_character(body)
    at = data.draw(st.integers(0, len(number) - 2))
    one, other = number[at], number[at + 1]
    assume(one != other)
    swapped = number[:at] + other + one + number[at + 2 :]
    assert noticed(swapped) is not blind(number[:at], one, other)


def test_how_many_swaps_are_confused():
    """Counted over all states and pairs: docs/application.md names the figure."""
    states = {}
    for one in ALPHABET:
        for other in ALPHABET:
            states.setdefault(state_after(one + other), one + other)
    assert len(states) == 36
    confused = [
        (before, one, other)
        for before in states.values()
        for one in ALPHABET
        for other in ALPHABET
        if one < other and state_after(before + one + other) == state_after(before + other + one)
    ]
    assert len(confused) == 36
    assert all(blind(*each) for each in confused)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "length"),
        ("- - -", "length"),
        (DEMO[:6], "length"),
        ("A" * (MAX_LENGTH + 1), "length"),
        (" " * (MAX_TEXT + 1), "length"),
        (DEMO[:-1] + "R", "check"),
        (DEMO.replace("O", "0", 1), "check"),
        (DEMO + "!", "alphabet"),
        ("DEMO_2026000017Q", "alphabet"),
        (DEMO + "\0", "alphabet"),
        ("\uff24\uff25\uff2d\uff2f2026000017Q", "alphabet"),  # full-width letters
        ("straße2026000017", "alphabet"),
        ("\u0131DEMO2026000017", "alphabet"),  # its capital is an ASCII I
        ("\u0660" * 9, "alphabet"),  # Arabic zeros
    ],
)
def test_what_is_no_number_is_refused_and_not_repeated(text, reason):
    assert refusal(text) == reason


@given(st.text(max_size=80))
def test_any_text_is_a_number_or_refused(text):
    try:
        number = parse_number(text)
    except ApplicationNumberError:
        assert refusal(text) in {"length", "alphabet", "check"}
    else:
        assert MIN_LENGTH <= len(number) <= MAX_LENGTH
        assert set(number) <= set(ALPHABET)
        assert parse_number(number) == number


def test_a_check_character_of_nothing_or_of_small_letters_is_refused():
    for body in ("", "abc", "A B", "Ä"):
        with pytest.raises(ApplicationNumberError):
            check_character(body)


def test_one_number_has_one_digest():
    expected = hashlib.sha256(b"passbooth application v1\0" + DEMO.encode()).digest()
    assert application_digest(DEMO) == application_digest("demo-2026-0000-17q") == expected
    with pytest.raises(ApplicationNumberError):
        application_digest("DEMO2026000017R")


def test_a_number_is_grouped_for_people():
    assert grouped_number(DEMO) == "DEMO-2026-0000-17Q"
