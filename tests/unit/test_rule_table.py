"""docs/rules.md says what the judgement does: its tables are those of the rule table and the profiles."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from validation.profile import RuleLimits
from validation.report import Level, Limit
from validation.rule_table import GROUPS, breach, filled, measured, refuses, rule_tables, warns
from validation.rules import RULES, load_profile

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "rules.md").read_text("utf-8")


def test_the_tables_of_the_document_are_those_of_the_code():
    assert filled(DOCUMENT) == DOCUMENT, "run `python -m validation.rule_table docs/rules.md`"


def test_every_rule_stands_in_one_table_with_words():
    tables = rule_tables()
    for rule in RULES:
        assert tables.count(f"| `{rule.id}` |") == 1
        assert len(measured(rule)) > 8
    assert len({family for _, families in GROUPS for family in families}) == sum(len(f) for _, f in GROUPS)


def test_every_rule_belongs_to_a_numbered_check_and_every_check_has_its_rules():
    rows = re.findall(r"^\| (\d+) \| [^|]+ \|([^|]+)\|", DOCUMENT, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 44))
    named = {rule for _, rules in rows for rule in re.findall(r"`([\w.]+)`", rules)}
    assert {rule.id for rule in RULES} <= named
    assert named <= {rule.id for rule in RULES}
    assert all(rules.strip() for _, rules in rows)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (Limit(low=-8, high=8), "beyond ±8"),
        (Limit(low=30, high=50.5), "outside 30\N{EN DASH}50.5"),
        (Limit(low=1, high=1), "not 1"),
        (Limit(low=-3), "< \N{MINUS SIGN}3"),
        (Limit(high=0), "> 0"),
        (Limit(), ""),
        (None, ""),
    ],
)
def test_a_band_in_words(limit, words):
    assert breach(limit) == words


def test_what_refuses_and_what_warns_follows_the_level():
    told = {
        level: (refuses(limits), warns(limits))
        for level in Level
        for limits in [RuleLimits(level=level, high=10, warn_high=5, source="a test")]
    }
    assert told == {Level.REJECT: ("> 10", "> 5"), Level.WARN: ("", "> 5"), Level.INFO: ("", "told: > 5")}
    same = RuleLimits(low=120, warn_low=120, source="a test")
    assert (refuses(same), warns(same)) == ("< 120", "")


def test_a_document_without_marks_stays_as_it_is():
    assert filled("no tables here") == "no tables here"
    assert load_profile("icao").title in filled("<!-- profiles -->\nold\n<!-- end -->")
