"""The scripted sitter shows the right recorded frame at the right time."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.sim.scenarios import PEOPLE
from hardware.sim.sitter import ABSENT, PORTRAIT, SESSION_ACTIONS, Sitter, UnknownActionError


def test_arriving_plays_the_recorded_frames_and_ends_sitting_still():
    sitter = Sitter("anna", "absent", 0).told("arrive", 1000)
    assert [sitter.at(1000 + 250 * step)[1] for step in range(12)] == list(range(12))
    assert sitter.at(1000 + 12 * 250) == ("still", 21)


def test_a_blink_closes_the_eyes_once_and_ends_still():
    sitter = Sitter("anna", "blink", 0)
    assert [sitter.at(at)[1] for at in (0, 60, 180, 240)] == [12, 13, 14, 21]


def test_sitting_still_moves_slowly_for_ever():
    sitter = Sitter("anna", "still", 0)
    assert [sitter.at(900 * step)[1] for step in range(7)] == [21, 22, 23, 21, 22, 23, 21]


def test_smiling_and_looking_away_last_until_told_otherwise():
    for action, frames in (("smile", {17, 18}), ("look_away", {6, 7, 8})):
        assert {Sitter("anna", action, 0).at(60_000 + 100 * step)[1] for step in range(40)} == frames


def test_frames_and_times_are_those_of_the_recorded_session(applicants):
    session = json.loads((applicants / "session.json").read_text())["frames"]
    for name in ("blink", "still"):
        action = SESSION_ACTIONS[name]
        for shot in (*action.once, *action.forever):
            assert session[shot.frame]["hold_ms"] == shot.hold_ms
    assert session[13]["eye_open_left"] == 0
    assert {session[n]["phase"] for n in (21, 22, 23)} == {"holds_still"}
    assert all(session[n]["smile"] >= 0.7 for n in (17, 18))
    assert all(abs(session[n]["yaw"]) >= 15 for n in (6, 7, 8))


def test_a_person_with_one_picture_says_what_he_can_do():
    kwame = Sitter("anna", "smile", 0).replaced_by("kwame", 5)
    assert kwame.at(5) == ("still", PORTRAIT)
    assert kwame.told("arrive", 10).at(10) == ("arrive", ABSENT)
    assert kwame.told("arrive", 10).at(300) == ("still", PORTRAIT)
    with pytest.raises(UnknownActionError, match="kwame cannot 'blink'; possible: absent, arrive, still"):
        kwame.told("blink", 0)
    with pytest.raises(UnknownActionError, match="there is no 'nobody'"):
        kwame.replaced_by("nobody", 0)


@given(st.sampled_from(PEOPLE), st.data(), st.floats(0, 1e9), st.floats(-1e3, 1e9))
def test_every_moment_of_every_action_has_a_picture(person, data, since, after):
    sitter = Sitter(person, "absent", 0)
    sitter = sitter.told(data.draw(st.sampled_from(sorted(sitter.actions))), since)
    action, frame = sitter.at(since + after)
    assert action in sitter.actions
    assert frame in {ABSENT, PORTRAIT, *range(24)}
