"""docs/diagnostics.md says what the self-tests do: its tables are made from the table of checks, and every text is there in every language."""

from __future__ import annotations

from pathlib import Path

import pytest

from booth.diagnostics import CHECKS, EVERYWHERE
from booth.diagnostics_table import filled
from booth.maintenance import OUT_REASONS
from booth.messages import PLACEHOLDER, Messages, known_languages

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "diagnostics.md").read_text("utf-8")
# What a finding of the cause says besides; booth/self_tests_*.py.
ABOUT = {
    "lamp.dark": {"lamp"},
    "lamp.weak": {"lamp", "percent"},
    "lamp.strong": {"lamp", "percent"},
    "lamp.all": {"percent"},
    "lamp.swapped": {"lamp", "other"},
    "lamp.misaddressed": {"lamp", "other"},
    "intake.other": {"status"},
    "outbox.refused": {"count"},
    "outbox.damaged": {"count"},
}
CAUSES = {*EVERYWHERE, *(cause for check in CHECKS for cause in check.causes)}


def test_the_tables_are_those_of_the_checks():
    assert filled(DOCUMENT) == DOCUMENT, "run `python -m booth.diagnostics_table docs/diagnostics.md`"
    assert all(f"`{check.id}`" in DOCUMENT for check in CHECKS)


@pytest.mark.parametrize("language", known_languages())
def test_every_check_cause_and_reason_has_its_words_and_none_is_left_over(language):
    words = Messages.load(language)
    wanted = {f"check.{check.id}" for check in CHECKS} | {f"switch.{reason}" for reason in OUT_REASONS}
    wanted |= {f"{family}.{cause}" for family in ("cause", "remedy") for cause in CAUSES}
    there = {key for key in words.texts if key.split(".")[0] in {"check", "cause", "remedy", "switch"}}
    assert there == wanted


def test_a_text_asks_for_nothing_that_its_finding_does_not_say():
    words = Messages.load("en")
    for cause in CAUSES:
        asked = set(PLACEHOLDER.findall(str(words.texts[f"cause.{cause}"]) + str(words.texts[f"remedy.{cause}"])))
        assert asked <= ABOUT.get(cause, set()), cause


def test_every_limit_has_a_source_and_ids_are_unique():
    assert all(check.limits.source for check in CHECKS)
    assert len({check.id for check in CHECKS}) == len(CHECKS)
