"""What is proved about one applicant's visit, whatever people, devices and clocks do."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from booth.events import (
    Application,
    CheckStaffCode,
    Event,
    Given,
    Happening,
    Identify,
    Notice,
    Seal,
    StaffRequest,
    StartTimer,
    StopTimer,
    Wipe,
)
from booth.visit import (
    IDLE,
    ON_ENTRY,
    PATIENCE,
    TRANSITIONS,
    WARNING_S,
    State,
    Terms,
    Verdict,
    Visit,
    accepts,
    diagram,
    find_row,
    patience_table,
    step,
)

NOTICE = Notice("camera.lost", "fault.camera")
ANNA = Application("AB123456T", "typed")
PATH = (
    Happening(Event.START, visit_id="v1"),
    Happening(Event.LANGUAGE_CHOSEN, language="de"),
    Happening(Event.IDENTIFIED, application=ANNA),
    Happening(Event.CONSENTED),
    Happening(Event.HELD),
    Happening(Event.CAPTURED),
    Happening(Event.CHECK_PASSED),
    Happening(Event.ACCEPT),
    Happening(Event.SEALED, reference="7F3K-2M9Q"),
    Happening(Event.CANCEL),
    Happening(Event.WIPED),
    Happening(Event.LIMIT),
)


def walk(*happenings: Happening, visit: Visit | None = None) -> Visit:
    visit = visit or Visit()
    for happening in happenings:
        assert find_row(visit, happening), f"{happening.event} is refused in {visit.state}"
        visit, _ = step(visit, happening)
    return visit


def test_a_good_visit_passes_every_state_in_order():
    visit, seen = Visit(), [State.ATTRACT]
    for happening in PATH:
        visit, _ = step(visit, happening)
        seen.append(visit.state)
    assert seen == [
        State.ATTRACT,
        State.LANGUAGE,
        State.IDENTIFY,
        State.CONSENT,
        State.FRAMING,
        State.CAPTURING,
        State.CHECKING,
        State.REVIEW,
        State.SEALING,
        State.THANKS,
        State.CLEARING,
        State.CLEARING,
        State.ATTRACT,
    ]
    assert visit.language == "en"


def test_three_failed_checks_call_staff():
    visit = walk(*PATH[:4])
    for tries_left in (2, 1, 0):
        visit = walk(Happening(Event.HELD), Happening(Event.CAPTURED), Happening(Event.CHECK_FAILED), visit=visit)
        assert visit.tries_left == tries_left
        if visit.state is State.REVIEW:
            assert not accepts(visit, Event.ACCEPT)
            visit = walk(Happening(Event.RETAKE), visit=visit)
    assert visit.state is State.ASSISTANCE
    assert walk(Happening(Event.HELP_GIVEN), visit=visit).state is State.CLEARING


GIVEN = Happening(Event.NUMBER_GIVEN, given=Given("AB123456T", "typed"))


def test_one_number_is_looked_up_at_a_time_and_what_came_of_it_is_told():
    visit, effects = step(walk(*PATH[:2]), GIVEN)
    assert (visit.state, visit.identifying) == (State.IDENTIFY, True)
    assert Identify(GIVEN.given) in effects
    assert not accepts(visit, Event.NUMBER_GIVEN), "one number at a time"
    refused, effects = step(visit, Happening(Event.NUMBER_REFUSED, turn=visit.turn, notice=NOTICE))
    assert (refused.state, refused.identifying, refused.trouble) == (State.IDENTIFY, False, NOTICE)
    assert effects == (StartTimer(Event.SILENCE, 60),)
    again, _ = step(refused, GIVEN)
    assert again.trouble is None
    for way_out, target in ((Event.HELP, State.ASSISTANCE), (Event.CANCEL, State.CLEARING)):
        assert walk(Happening(way_out), visit=again).identifying is False
        assert walk(Happening(way_out), visit=again).state is target
    taken = walk(Happening(Event.IDENTIFIED, turn=again.turn, application=ANNA), visit=again)
    assert (taken.state, taken.application, taken.identifying) == (State.CONSENT, ANNA, False)


ASKED = Happening(Event.STAFF_ASKED, staff=StaffRequest("482103937556211840", "medical", "override"))


def refused_for_good(*, portrait=True):
    visit = walk(*PATH[:4], visit=Visit(terms=Terms(tries=1)))
    failed = Happening(Event.CHECK_FAILED, portrait=portrait)
    return walk(Happening(Event.HELD), Happening(Event.CAPTURED), failed, visit=visit)


def test_a_portrait_that_staff_release_is_kept_by_the_applicant():
    visit, effects = step(refused_for_good(), ASKED)
    assert (visit.state, visit.asking_staff) == (State.ASSISTANCE, True)
    assert CheckStaffCode(ASKED.staff) in effects
    assert not accepts(visit, Event.STAFF_ASKED), "one code at a time"
    visit = walk(Happening(Event.STAFF_RELEASED, turn=visit.turn), visit=visit)
    assert (visit.state, visit.verdict, visit.asking_staff) == (State.REVIEW, Verdict.RELEASED, False)
    assert not accepts(visit, Event.RETAKE), "no try is left"
    visit, effects = step(visit, Happening(Event.ACCEPT))
    assert visit.state is State.SEALING
    assert Seal() in effects


def test_a_code_that_is_refused_changes_nothing_but_what_is_told():
    before = refused_for_good()
    visit = walk(ASKED, Happening(Event.STAFF_REFUSED, turn=before.turn, notice=NOTICE), visit=before)
    assert (visit.state, visit.asking_staff, visit.trouble) == (State.ASSISTANCE, False, NOTICE)
    assert accepts(visit, Event.STAFF_ASKED)
    assert not accepts(visit, Event.ACCEPT)


def test_without_a_face_or_consent_or_a_refusal_there_is_nothing_to_release():
    assert not accepts(refused_for_good(portrait=False), Event.STAFF_RELEASED)
    for story in (PATH[:2], PATH[:3], PATH[:4], PATH[:7]):
        visit = walk(*story, Happening(Event.HELP))
        assert not accepts(visit, Event.STAFF_RELEASED)
        assert accepts(visit, Event.STAFF_RETAKE) == visit.consented
        assert accepts(visit, Event.STAFF_ENDED)


def test_staff_give_all_tries_anew_and_a_released_verdict_does_not_outlive_a_retake():
    visit = walk(Happening(Event.STAFF_RETAKE), visit=refused_for_good())
    assert (visit.state, visit.tries_left, visit.verdict) == (State.FRAMING, 1, None)
    twice = walk(*PATH[:6], Happening(Event.CHECK_FAILED, portrait=True), Happening(Event.HELP))
    released = walk(Happening(Event.STAFF_RELEASED), visit=twice)
    again = walk(Happening(Event.RETAKE), visit=released)
    assert (again.verdict, again.has_portrait) == (None, False)
    assert not accepts(walk(Happening(Event.HELP), visit=again), Event.STAFF_RELEASED)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7])
def test_whoever_only_asked_for_help_goes_on_where_he_was(steps):
    before = walk(*PATH[:steps])
    visit = walk(Happening(Event.HELP), visit=before)
    assert visit.state is State.ASSISTANCE
    after, effects = step(visit, Happening(Event.RESUME))
    assert after == replace(before, turn=before.turn + 2)
    assert effects[1:] == ON_ENTRY[before.state]


def test_a_portrait_that_was_not_saved_is_not_lost():
    for failed in (Event.SEAL_FAILED, Event.LIMIT):
        visit = walk(*PATH[:8], Happening(failed))
        assert (visit.state, visit.came_from) == (State.ASSISTANCE, State.REVIEW)
        again = walk(Happening(Event.RESUME), visit=visit)
        assert (again.state, again.verdict, again.trouble) == (State.REVIEW, Verdict.PASSED, None)
        assert Seal() in step(again, Happening(Event.ACCEPT))[1]


def test_whoever_did_not_ask_for_help_needs_staff_to_go_on():
    for called in (refused_for_good(), walk(Happening(Event.HELP_GIVEN), visit=walk(*PATH[:3], Happening(Event.HELP)))):
        assert not accepts(called, Event.RESUME)
    anew = walk(Happening(Event.HELP), visit=walk(Happening(Event.STAFF_RETAKE), visit=refused_for_good()))
    assert anew.came_from is State.FRAMING


def test_whoever_waits_for_a_person_offers_help_or_a_way_out():
    for state, patience in PATIENCE.items():
        if patience.silence_s is not None:
            ways = {Event.HELP, Event.CANCEL, Event.HELP_GIVEN}
            assert any(accepts(Visit(state=state), way) for way in ways), state


def test_no_code_is_in_any_repr():
    assert "482103937556211840" not in repr(step(refused_for_good(), ASKED)) + repr(ASKED) + repr(ASKED.staff)


def test_a_good_portrait_cannot_be_thrown_away_by_a_retake_when_no_try_is_left():
    visit = walk(*PATH[:7], visit=Visit(terms=Terms(tries=1)))
    assert visit.state is State.REVIEW
    assert not accepts(visit, Event.RETAKE)
    assert accepts(visit, Event.ACCEPT)


def test_a_sitter_who_cannot_keep_every_rule_is_not_kept_for_ever():
    visit = walk(*PATH[:4], Happening(Event.OVERDUE))
    assert (visit.state, visit.overdue) == (State.CAPTURING, True)
    visit = walk(Happening(Event.CAPTURED), Happening(Event.CHECK_FAILED), visit=visit)
    assert visit.state is State.REVIEW
    visit = walk(Happening(Event.RETAKE), Happening(Event.HELD), visit=visit)
    assert not visit.overdue
    assert not accepts(walk(*PATH[:4], Happening(Event.OBSTRUCTED, notice=NOTICE)), Event.OVERDUE)


def test_a_retake_forgets_the_verdict_of_the_try_before():
    assert walk(*PATH[:7], Happening(Event.RETAKE)).verdict is None


def test_silence_warns_first_then_clears_and_more_time_starts_it_anew():
    visit = walk(*PATH[:3])
    visit, effects = step(visit, Happening(Event.SILENCE))
    assert visit.warned
    assert effects == (StartTimer(Event.LIMIT, WARNING_S),)
    visit, effects = step(visit, Happening(Event.MORE_TIME))
    assert not visit.warned
    assert effects == (StartTimer(Event.SILENCE, PATIENCE[State.CONSENT].silence_s),)
    visit = walk(Happening(Event.SILENCE), Happening(Event.LIMIT), visit=visit)
    assert visit.state is State.CLEARING
    assert visit.application is None


def test_a_lost_camera_is_told_holds_the_shutter_and_heals():
    visit = walk(*PATH[:4], Happening(Event.OBSTRUCTED, notice=NOTICE))
    assert (visit.state, visit.fault) == (State.FRAMING, NOTICE)
    assert not accepts(visit, Event.HELD)
    visit = walk(Happening(Event.REPAIRED), visit=visit)
    assert visit.fault is None
    assert accepts(visit, Event.HELD)


def test_a_lost_camera_that_stays_away_ends_in_clearing_then_out_of_service_until_it_is_back():
    visit = walk(
        *PATH[:4],
        Happening(Event.OBSTRUCTED, notice=NOTICE),
        Happening(Event.SILENCE),
        Happening(Event.LIMIT),
        Happening(Event.WIPED),
        Happening(Event.LIMIT),
    )
    assert visit.state is State.OUT_OF_SERVICE
    assert not accepts(visit, Event.START)
    visit = walk(Happening(Event.REPAIRED), Happening(Event.WIPED), Happening(Event.LIMIT), visit=visit)
    assert visit.state is State.ATTRACT


def test_a_fault_of_camera_control_alone_stops_nobody():
    visit = walk(Happening(Event.IMPAIRED, notice=NOTICE), *PATH[:4])
    assert visit.fault == NOTICE
    assert accepts(visit, Event.HELD)


def test_a_packet_that_could_not_be_saved_is_told_and_never_thanked_for():
    visit = walk(*PATH[:8], Happening(Event.SEAL_FAILED))
    assert visit.state is State.ASSISTANCE
    assert visit.trouble is not None
    assert visit.trouble.message == "fault.not_saved"
    assert visit.reference is None


def test_the_outcome_of_work_that_was_given_up_is_ignored():
    visit = walk(*PATH[:5])
    stale = Happening(Event.CAPTURED, turn=visit.turn)
    visit = walk(Happening(Event.CANCEL), visit=visit)
    assert step(visit, stale) == (visit, ())


def test_clearing_is_not_left_before_everything_was_wiped():
    visit = walk(*PATH[:3], Happening(Event.CANCEL))
    again, effects = step(visit, Happening(Event.LIMIT))
    assert again.state is State.CLEARING
    assert Wipe() in effects


def test_every_state_has_a_time_out_or_is_idle():
    assert set(PATIENCE) | IDLE == set(State)
    assert set(ON_ENTRY) == set(State)
    for state, patience in PATIENCE.items():
        assert (patience.silence_s is None) != (patience.limit_s is None), state
        assert any(row.state is state and row.event is Event.LIMIT for row in TRANSITIONS)


def test_every_event_and_every_state_is_used_by_the_table():
    assert {row.event for row in TRANSITIONS} == set(Event)
    assert {row.target for row in TRANSITIONS} >= set(State)


def test_no_pair_of_rows_contradicts_another():
    seen = set()
    for row in TRANSITIONS:
        key = (row.state, row.event, row.when)
        assert key not in seen, key
        seen.add(key)


def test_attract_is_reached_from_clearing_only():
    assert {row.state for row in TRANSITIONS if row.target is State.ATTRACT} == {State.CLEARING}


def test_the_application_number_is_in_no_repr():
    assert ANNA.number not in repr(walk(*PATH[:5]))
    assert ANNA.number not in repr(PATH)


def test_the_diagram_of_the_docs_is_the_table():
    text = (Path(__file__).resolve().parents[2] / "docs" / "visit.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{diagram()}```" in text, "paste the output of `python -m booth.visit` into docs/visit.md"
    assert patience_table() in text, "paste the output of `python -m booth.visit` into docs/visit.md"


happenings = st.builds(
    Happening,
    event=st.sampled_from(Event),
    turn=st.none() | st.integers(min_value=0, max_value=40),
    visit_id=st.none() | st.uuids().map(str),
    language=st.none() | st.sampled_from(["en", "de", "ru", "ar"]),
    given=st.none() | st.just(GIVEN.given),
    application=st.none() | st.just(ANNA),
    reference=st.none() | st.just("7F3K-2M9Q"),
    notice=st.none() | st.just(NOTICE),
    portrait=st.booleans(),
    staff=st.none() | st.just(ASKED.staff),
)


@given(st.lists(happenings, max_size=60))
@settings(max_examples=150, deadline=None)
def test_from_anywhere_the_clock_alone_ends_the_visit(story):
    visit, timer = Visit(), None
    for happening in story:
        visit, effects = step(visit, happening)
        timer = newest_timer(effects, timer)
    for _ in range(8):
        if visit.state in IDLE:
            break
        assert timer is not None, f"{visit.state} would wait for ever"
        before = visit.state
        if visit.state is State.CLEARING:
            visit, effects = step(visit, Happening(Event.WIPED, turn=visit.turn))
            timer = newest_timer(effects, timer)
        visit, effects = step(visit, Happening(timer.event))
        timer = newest_timer(effects, timer)
        if visit.state in IDLE:
            assert before is State.CLEARING
    assert visit.state in IDLE


def newest_timer(effects, timer):
    for effect in effects:
        if isinstance(effect, StartTimer):
            timer = effect
        elif isinstance(effect, StopTimer):
            timer = None
    return timer


class AnyVisit(RuleBasedStateMachine):
    """Events at random, sensible ones preferred, so that deep states are reached; then the promises are looked at."""

    def __init__(self):
        super().__init__()
        self.visit = Visit()
        self.starts = 0
        self.clearings_begun = 0
        self.consented = False
        self.passed = self.released = False
        self.running_timer = None

    def send(self, happening):
        before = self.visit
        self.visit, effects = step(before, happening)
        after = self.visit
        self.running_timer = newest_timer(effects, self.running_timer)
        if after.turn == before.turn:
            assert after.state is before.state
        entered = after.turn != before.turn
        if entered and before.state is State.ATTRACT and after.state is State.LANGUAGE:
            self.starts += 1
            self.consented = self.passed = self.released = False
        if entered and after.state is State.CLEARING and before.state not in {State.CLEARING, State.OUT_OF_SERVICE}:
            self.clearings_begun += 1
        if entered and after.state is State.ATTRACT:
            assert before.state is State.CLEARING
            assert before.wiped
        self.consented = self.consented or (entered and happening.event is Event.CONSENTED)
        if entered and happening.event in {Event.CHECK_PASSED, Event.CHECK_FAILED}:
            self.passed = happening.event is Event.CHECK_PASSED
            self.released = False
        if entered and after.state is State.FRAMING:
            self.passed = self.released = False
        if entered and happening.event is Event.STAFF_RELEASED:
            assert before.verdict in {Verdict.FAILED, Verdict.RELEASED}
            self.released = True
        if Seal() in effects:
            assert self.consented
            assert self.passed or self.released
        if entered and after.state is State.THANKS:
            assert happening.event is Event.SEALED
            assert before.state is State.SEALING

    @rule(happening=happenings)
    def anything(self, happening):
        self.send(happening)

    @rule(choice=st.integers(min_value=0))
    def something_that_is_accepted(self, choice):
        events = [event for event in Event if accepts(self.visit, event)]
        event = events[choice % len(events)]
        self.send(
            Happening(
                event,
                visit_id="v",
                language="de",
                application=ANNA,
                reference="R",
                notice=NOTICE,
                portrait=True,
                staff=ASKED.staff,
            )
        )

    @precondition(lambda self: self.visit.state not in IDLE)
    @rule()
    def onward(self):
        for happening in PATH[1:9]:
            if accepts(self.visit, happening.event):
                self.send(happening)
                return

    @rule()
    def somebody_comes(self):
        self.send(PATH[0])

    @invariant()
    def at_most_one_visit_is_open(self):
        assert self.starts - self.clearings_begun in {0, 1}
        assert (self.starts - self.clearings_begun == 0) == (self.visit.state in IDLE | {State.CLEARING})

    @invariant()
    def nothing_about_the_applicant_outlives_the_visit(self):
        if self.visit.state in IDLE | {State.CLEARING}:
            blank = Visit()
            kept = {"terms", "state", "turn", "language", "wiped", "fault", "obstructed", "warned"}
            for item in fields(Visit):
                if item.name not in kept:
                    assert getattr(self.visit, item.name) == getattr(blank, item.name), item.name

    @invariant()
    def tries_are_never_negative_and_a_verdict_is_known(self):
        assert self.visit.tries_left >= 0
        assert self.visit.verdict in {None, *Verdict}

    @invariant()
    def a_number_is_looked_up_while_identifying_only(self):
        assert not self.visit.identifying or self.visit.state is State.IDENTIFY

    @invariant()
    def whoever_waits_has_a_running_timer(self):
        assert (self.running_timer is None) == (self.visit.state in IDLE)


TestAnyVisit = AnyVisit.TestCase
TestAnyVisit.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)


def test_no_event_raises_in_any_state():
    for state in State:
        for event in Event:
            visit, effects = step(Visit(state=state), Happening(event))
            assert visit.state in State
            assert isinstance(effects, tuple)
