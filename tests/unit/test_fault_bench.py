"""The fault bench: strengths stay frozen, faults are the same each time, and every measure follows its fault."""

from __future__ import annotations

import hashlib

import pytest

from tests.bench.fault import Effect
from tests.bench.fault_table import Course, courses, good_report
from tests.bench.faults import BY_NAME, FAULTS, files
from tests.bench.portraits import Portrait, portraits
from validation.report import Report, Verdict
from validation.rules import RULES

PEOPLE = ("anna", "kwame")
RULE_IDS = {rule.id for rule in RULES}
# Names, strengths and labels as they were set before any measure was tuned on them. Change them and every figure told so far is void.
FROZEN = "cc64c9a15bcec65e"
# (fault, rule) that a measure does not follow, and why. Told in docs/accuracy.md too.
NOT_FOLLOWED = {
    ("second_person", "face.single"): "the detectors miss faces below a fifth to a third of the sitter's size",
}
# Of one person's range; a step back of less is rounding, the encoder, or a landmark that moved.
STEP_BACK = 0.15


def grades_of(fault, effect: Effect) -> tuple[int, ...]:
    """The first grade that is refused (or the middle one), and a gross one."""
    last = len(fault.strengths) - 1
    middle = effect.refused if effect.refused is not None else last // 2
    return tuple(sorted({middle, last - 1 if last - 1 > middle else last}))


@pytest.fixture(scope="module")
def people(face_model) -> list[Portrait]:
    return list(portraits(face_model, PEOPLE))


@pytest.fixture(scope="module")
def good(people, demo_profile, face_model) -> dict[tuple[str, bool], Report]:
    """Reports on the good portraits by subject and encoder."""
    return {
        (p.subject, kind): good_report(p, demo_profile, face_model, lossless=kind)
        for p in people
        for kind in (False, True)
    }


def test_strengths_and_labels_are_those_that_were_frozen():
    told = [(f.name, f.strengths, f.unit, [(e.rule, e.fine, e.refused, e.moves) for e in f.effects]) for f in FAULTS]
    assert hashlib.sha256(repr(told).encode()).hexdigest()[:16] == FROZEN


def test_every_fault_names_rules_and_its_grades_are_in_order():
    assert len(BY_NAME) == len(FAULTS)
    for fault in FAULTS:
        assert len(fault.strengths) in {1, 3, 7}, fault.name
        assert list(fault.strengths) in (sorted(fault.strengths), sorted(fault.strengths, reverse=True)), fault.name
        for effect in fault.effects:
            labels = [effect.label(grade) for grade in range(len(fault.strengths))]
            known = [label for label in labels if label is not None]
            assert known == sorted(known), fault.name
            assert effect.refused is None or known[-1] == 1, fault.name


def test_the_same_portrait_gives_the_same_dataset(people):
    chosen = tuple(BY_NAME[name] for name in ("noise", "hair_strands", "compressed"))
    first, second = (list(files(people[0], chosen)) for _ in range(2))
    assert first == second
    assert first[0][0] == "anna_good.jpg"
    assert set(first[0][2].values()) == {0}
    assert len({data for _, data, _ in first}) == len(first) == 22


def test_a_course_tells_from_where_on_a_fault_is_told():
    fault = BY_NAME["defocus"]
    passes, fails = Verdict.PASS, Verdict.FAIL
    course = Course(
        fault=fault,
        effect=fault.effects[0],
        subject="x",
        values=(1.0, 2.0, 1.99, 3.0, None, 5.0, 4.0, 6.0),
        native=(1.0,) * 8,
        verdicts=(passes, passes, fails, passes, fails, fails, fails, fails),
    )
    assert course.told() == 4
    assert course.steps == (5, 6)
    assert course.rank == pytest.approx(0.93, abs=0.02)


@pytest.mark.parametrize("name", [f.name for f in FAULTS if {e.rule for e in f.effects} & RULE_IDS])
def test_measures_follow_their_fault(name, people, good, demo_profile, face_model):
    fault = BY_NAME[name]
    effects = [e for e in fault.effects if e.rule in demo_profile.rules]
    grades = tuple(sorted({g for effect in effects for g in grades_of(fault, effect)}))
    for portrait in people:
        before = good[portrait.subject, fault.lossless]
        for course in courses(portrait, fault, demo_profile, face_model, before, grades):
            rule = course.effect.rule
            if (name, rule) in NOT_FOLLOWED:
                continue
            seen = [v for v in course.values if v is not None]
            if not seen[1:]:  # what cannot be judged is not passed
                assert course.verdicts[-1] is Verdict.NOT_ASSESSED, (name, rule, portrait.subject)
                continue
            assert seen[-1] > seen[0] or course.verdicts[-1] is not Verdict.PASS, (name, rule, course.native)
            assert course.follows(STEP_BACK), (name, rule, portrait.subject, course.native)
