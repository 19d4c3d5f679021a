"""The registry of applications: which states follow each other, what an upload and a decision change, what is forgotten and when."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.application import application_digest, check_character
from crypto.status_token import make_status_token, status_digest
from server.application_errors import ApplicationUndecidableError, ApplicationUnknownError
from server.application_rows import (
    NO_LINKS,
    Imported,
    Links,
    Registry,
    Status,
    applications,
    captures,
    decide_capture,
    note_captures,
)
from server.applications import (
    AFTER_CAPTURE,
    MAX_REASONS,
    REASONS,
    Application,
    NewApplication,
    Objection,
    Outcome,
    State,
    are_reasons_right,
    decided,
    objection,
    settled,
)
from server.store import open_store

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
TODAY = NOW.date()


def number(serial: int) -> str:
    body = f"AB{serial:06}"
    return body + check_character(body)


def filed(serial: int, *, centre: str = "centre-07", days: int = 30) -> NewApplication:
    return NewApplication(number(serial), centre, TODAY + timedelta(days=days))


def links_of(serial: int, token: str | None = None) -> Links:
    status = None if token is None else status_digest(token).hex()
    return Links(application_digest(number(serial)).hex(), status)


def packet(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


# --- the rules ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["capture", Outcome.ACCEPTED, Outcome.RETAKE]), max_size=12))
def test_an_application_is_accepted_or_asked_for_again_only_after_a_portrait_and_accepted_for_good(steps):
    state, captured, accepted = State.FILED, False, False
    for step in steps:
        if step == "capture":
            state, captured = AFTER_CAPTURE[state], True
        else:
            after = decided(state, step)
            assert after is None or captured
            state = after or state
        accepted = accepted or state is State.ACCEPTED
        assert captured or state is State.FILED
        assert not accepted or state is State.ACCEPTED


@pytest.mark.parametrize(
    ("state", "days", "told"),
    [
        (State.FILED, 1, None),
        (State.FILED, 0, None),
        (State.FILED, -1, Objection.EXPIRED),
        (State.RETAKE, 0, None),
        (State.RETAKE, -1, Objection.EXPIRED),
        (State.CAPTURED, 1, Objection.CAPTURED),
        (State.CAPTURED, -1, Objection.CAPTURED),
        (State.ACCEPTED, 1, Objection.CAPTURED),
    ],
)
def test_when_a_visit_may_begin(state, days, told):
    assert objection(Application(number(1), "c", TODAY + timedelta(days=days), state, ()), TODAY) is told


def test_a_retake_has_one_to_three_known_reasons_and_acceptance_none():
    assert all(are_reasons_right(Outcome.RETAKE, (reason,)) for reason in REASONS)
    assert are_reasons_right(Outcome.RETAKE, REASONS[:MAX_REASONS])
    for wrong in ((), ("",), ("Eyes",), ("nose",), ("eyes", "eyes"), ("eyes", "nose"), REASONS[: MAX_REASONS + 1]):
        assert not are_reasons_right(Outcome.RETAKE, wrong)
    assert are_reasons_right(Outcome.ACCEPTED, ())
    assert not are_reasons_right(Outcome.ACCEPTED, ("eyes",))


def test_the_column_has_room_for_the_longest_reasons():
    longest = sorted(REASONS, key=len)[-MAX_REASONS:]
    assert len(" ".join(longest)) <= captures.c.reason.type.length == applications.c.reason.type.length


RECEIVED, ACCEPTED = (Outcome.RECEIVED, ()), (Outcome.ACCEPTED, ())
EYES, LIGHT = (Outcome.RETAKE, ("eyes",)), (Outcome.RETAKE, ("light", "pose"))


@pytest.mark.parametrize(
    ("portraits", "state", "reasons"),
    [
        ([], State.FILED, ()),
        ([RECEIVED], State.CAPTURED, ()),
        ([EYES], State.RETAKE, ("eyes",)),
        ([EYES, RECEIVED], State.CAPTURED, ()),
        ([RECEIVED, EYES], State.RETAKE, ("eyes",)),
        ([EYES, LIGHT], State.RETAKE, ("light", "pose")),
        ([EYES, ACCEPTED], State.ACCEPTED, ()),
        ([ACCEPTED, EYES], State.ACCEPTED, ()),
        ([ACCEPTED, RECEIVED], State.ACCEPTED, ()),
    ],
)
def test_an_application_follows_all_its_portraits(portraits, state, reasons):
    assert settled(State.FILED, portraits) == (state, reasons)
    assert settled(State.ACCEPTED, portraits) == (State.ACCEPTED, ()), "and is accepted for good"


def test_a_number_is_in_no_repr():
    for one in (filed(1), Application(number(1), "c", TODAY, State.FILED, None)):
        assert number(1) not in repr(one)


# --- the rows ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def sqlite_url(tmp_path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'data' / 'intake.sqlite3'}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request) -> str:
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
async def store(url):
    async with open_store(url) as opened:
        yield opened


@pytest.fixture
def registry(store):
    return Registry(store, lambda: NOW)


async def capture(store, name: str, links: Links, at: datetime = NOW) -> None:
    async with store.writing() as connection:
        await note_captures(connection, [(packet(name), links)], lambda: at)


async def test_the_course_of_an_application_with_a_retake(registry, store):
    first, second = make_status_token(), make_status_token()
    seen = [(await registry.find(number(1)))]
    await registry.file([filed(1), filed(2)])
    seen.append((await registry.find(number(1))).state)
    await capture(store, "one", links_of(1, first))
    seen.append((await registry.find(number(1))).state)
    refused = await registry.decide(number(1), Outcome.RETAKE, ("eyes",))
    assert (refused.state, refused.reasons) == (State.RETAKE, ("eyes",))
    await capture(store, "two", links_of(1, second))
    assert await registry.status(status_digest(first).hex()) == Status(Outcome.RETAKE, ("eyes",)), "his own portrait's"
    seen.append((await registry.find(number(1))).state)
    await registry.decide(number(1), Outcome.ACCEPTED, ())
    seen.append((await registry.find(number(1))).state)
    assert seen == [None, State.FILED, State.CAPTURED, State.CAPTURED, State.ACCEPTED]
    assert await registry.status(status_digest(second).hex()) == Status(Outcome.ACCEPTED, ())
    assert await registry.status(status_digest(first).hex()) == Status(Outcome.ACCEPTED, ()), "nothing is asked for"
    assert await registry.status(status_digest(make_status_token()).hex()) is None
    assert [one.packet_sha256 for one in await registry.captures_of(number(1))] == [packet("one"), packet("two")]
    found = await registry.outcomes([packet("one"), packet("two"), packet("three")])
    assert found == {packet("one"): Outcome.RETAKE, packet("two"): Outcome.ACCEPTED}
    assert (await registry.find(number(2))).state is State.FILED
    assert await registry.counts() == {State.FILED: 1, State.CAPTURED: 0, State.ACCEPTED: 1, State.RETAKE: 0}


async def test_what_cannot_be_decided_changes_nothing(registry, store):
    await registry.file([filed(1)])
    with pytest.raises(ApplicationUndecidableError, match="filed"):
        await registry.decide(number(1), Outcome.ACCEPTED, ())
    await capture(store, "one", links_of(1))
    for outcome, reasons in ((Outcome.RETAKE, ()), (Outcome.RETAKE, ("nose",)), (Outcome.ACCEPTED, ("eyes",))):
        with pytest.raises(ApplicationUndecidableError, match="reason"):
            await registry.decide(number(1), outcome, reasons)
    with pytest.raises(ApplicationUnknownError):
        await registry.decide(number(2), Outcome.ACCEPTED, ())
    assert (await registry.find(number(1))).state is State.CAPTURED
    await registry.decide(number(1), Outcome.ACCEPTED, ())
    with pytest.raises(ApplicationUndecidableError, match="accepted"):
        await registry.decide(number(1), Outcome.RETAKE, ("eyes",))
    assert (await registry.decide(number(1), Outcome.ACCEPTED, ())).state is State.ACCEPTED


async def test_uploads_need_no_registry_and_an_accepted_application_stays_accepted(registry, store):
    token = make_status_token()
    await capture(store, "early", links_of(1, token))
    await capture(store, "bare", NO_LINKS)
    await capture(store, "status only", Links(None, status_digest(make_status_token()).hex()))
    assert await registry.status(status_digest(token).hex()) == Status(Outcome.RECEIVED, ())
    assert await registry.file([filed(1), filed(2)]) == Imported(added=2)
    assert (await registry.find(number(1))).state is State.CAPTURED, "it was captured before it was imported"
    await registry.decide(number(1), Outcome.ACCEPTED, ())
    await capture(store, "late", links_of(1))
    assert (await registry.decide(number(1), Outcome.ACCEPTED, ())).state is State.ACCEPTED
    outcomes = [one.outcome for one in await registry.captures_of(number(1))]
    assert outcomes == [Outcome.ACCEPTED, Outcome.RECEIVED], "the late portrait was looked at by nobody"
    assert await registry.settle() == 0


async def test_a_decision_of_the_desk_reaches_the_applicant_in_its_own_transaction(registry, store):
    first, second = make_status_token(), make_status_token()
    await registry.file([filed(1)])
    await capture(store, "one", links_of(1, first))

    async def decided_at_desk(name: str, outcome: Outcome, *reasons: str) -> None:
        async with store.writing() as connection:
            await decide_capture(connection, packet(name), outcome, reasons, NOW)

    with contextlib.suppress(ZeroDivisionError):
        async with store.writing() as connection:
            await decide_capture(connection, packet("one"), Outcome.RETAKE, ("eyes",), NOW)
            raise ZeroDivisionError
    assert await registry.status(status_digest(first).hex()) == Status(Outcome.RECEIVED, ())
    await decided_at_desk("one", Outcome.RETAKE, "light", "eyes")
    assert await registry.status(status_digest(first).hex()) == Status(Outcome.RETAKE, ("light", "eyes"))
    assert (await registry.find(number(1))).reasons == ("light", "eyes")
    await capture(store, "two", links_of(1, second))
    await decided_at_desk("two", Outcome.ACCEPTED)
    assert (await registry.find(number(1))) == Application(number(1), "centre-07", filed(1).expires, State.ACCEPTED, ())
    await decided_at_desk("never captured", Outcome.RETAKE, "eyes")


async def test_what_the_desk_decided_before_an_import_counts_after_it(registry, store):
    for name, links in (("a", links_of(1)), ("b", links_of(2)), ("c", links_of(3)), ("d", links_of(3))):
        await capture(store, name, links)
    async with store.writing() as connection:
        await decide_capture(connection, packet("a"), Outcome.ACCEPTED, (), NOW)
        for name in ("b", "c"):
            await decide_capture(connection, packet(name), Outcome.RETAKE, ("pose", "eyes"), NOW)
    await registry.file([filed(1), filed(2), filed(3), filed(4)])
    found = [await registry.find(number(n)) for n in (1, 2, 3, 4)]
    assert [one.state for one in found] == [State.ACCEPTED, State.RETAKE, State.CAPTURED, State.FILED]
    assert [one.reasons for one in found] == [(), ("pose", "eyes"), (), ()]


async def test_an_import_adds_changes_and_leaves(registry):
    assert await registry.file([filed(n) for n in range(1200)], dry_run=True) == Imported(added=1200)
    assert await registry.is_empty()
    steps = []
    assert await registry.file([filed(n) for n in range(1200)], progress=steps.append) == Imported(added=1200)
    assert steps == [500, 1000, 1200]
    again = [filed(0), filed(1, days=60), filed(2, centre="centre-08"), filed(5000)]
    assert await registry.file(again) == Imported(added=1, changed=2, unchanged=1)
    assert (await registry.find(number(1))).expires == TODAY + timedelta(days=60)
    assert len(await registry.listed(None, "centre-08", 10)) == 1
    assert [one.number for one in await registry.listed(State.FILED, None, 2)] == [number(0), number(1)]


async def test_imports_at_once_follow_each_other(registry):
    files = [[filed(n, centre=centre) for n in range(800)] for centre in ("c-1", "c-2", "c-3")]
    done = await asyncio.gather(*(registry.file(file) for file in files))
    assert sorted(one.added for one in done) == [0, 0, 800]
    assert sum(one.changed for one in done) == 1600


async def test_uploads_and_an_import_at_once_leave_no_application_behind(registry, store):
    """Whichever commits first, the application that was captured is captured."""
    numbers = range(60)
    work = [capture(store, f"packet {n}", links_of(n)) for n in numbers]
    await asyncio.gather(registry.file([filed(n) for n in numbers]), *work)
    await registry.settle()
    assert (await registry.counts())[State.CAPTURED] == len(numbers)


async def test_a_decision_about_a_portrait_that_is_not_the_newest_any_more_is_refused(registry, store):
    await registry.file([filed(1)])
    await capture(store, "seen", links_of(1))
    await capture(store, "newer", links_of(1))
    with pytest.raises(ApplicationUndecidableError, match="another one"):
        await registry.decide(number(1), Outcome.ACCEPTED, (), packet("seen")[:12])
    assert (await registry.find(number(1))).state is State.CAPTURED
    await registry.decide(number(1), Outcome.ACCEPTED, (), packet("newer")[:12])
    outcomes = [one.outcome for one in await registry.captures_of(number(1))]
    assert outcomes == [Outcome.RECEIVED, Outcome.ACCEPTED]


async def test_a_portrait_on_its_way_is_missed_by_no_decision_and_no_import(registry, store):
    await registry.file([filed(1)])
    await capture(store, "one", links_of(1))
    async with store.writing() as connection:
        await note_captures(connection, [(packet("two"), links_of(1)), (packet("three"), links_of(2))], lambda: NOW)
        beside = [registry.decide(number(1), Outcome.RETAKE, ("eyes",)), registry.file([filed(2)])]
        running = {asyncio.create_task(work) for work in beside}
        await asyncio.wait(running, timeout=0.3)  # both wait for the commit, or are done without it
    await asyncio.gather(*running)
    outcomes = [one.outcome for one in await registry.captures_of(number(1))]
    assert outcomes == [Outcome.RECEIVED, Outcome.RETAKE], "the newest portrait was decided"
    assert (await registry.find(number(2))).state is State.CAPTURED


async def test_what_is_old_is_forgotten_with_its_captures(registry, store):
    tokens = {name: make_status_token() for name in ("old", "fresh", "alone old", "alone new")}
    await registry.file([filed(1, days=-91), filed(2, days=-90), filed(3, days=10)])
    long_ago = NOW - timedelta(days=100)
    await capture(store, "old", links_of(1, tokens["old"]), long_ago)
    await capture(store, "fresh", links_of(3, tokens["fresh"]), long_ago)
    await capture(store, "alone old", links_of(7, tokens["alone old"]), long_ago)
    await capture(store, "alone new", Links(None, status_digest(tokens["alone new"]).hex()))
    assert await registry.forget_old(timedelta(days=90)) == 1
    found = {name: await registry.status(status_digest(token).hex()) for name, token in tokens.items()}
    assert {name for name, status in found.items() if status is not None} == {"fresh", "alone new"}
    assert await registry.find(number(1)) is None
    assert await registry.find(number(2)) is not None
    assert await registry.remove([number(3), number(9)]) == 1
    assert await registry.status(status_digest(tokens["fresh"]).hex()) is None


async def test_the_same_packet_is_captured_once(registry, store):
    await registry.file([filed(1)])
    await capture(store, "one", links_of(1))
    await registry.decide(number(1), Outcome.ACCEPTED, ())
    await capture(store, "one", links_of(1))
    assert [one.outcome for one in await registry.captures_of(number(1))] == [Outcome.ACCEPTED]
    assert await registry.forget(date(2026, 1, 1)) == 0
