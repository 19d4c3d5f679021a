"""The plan for a country: its tables stand in the documentation as the program computes them, and follow from what goes in."""

from __future__ import annotations

import pytest

from tests.bench.country_plan import PACKETS_A_YEAR, PAGE, Plan, tables


def test_the_page_has_the_tables_that_the_program_computes():
    page = PAGE.read_text("utf-8")
    for name, lines in tables().items():
        assert f"<!-- {name} -->\n\n{lines}\n\n<!-- end -->" in page, "run `python -m tests.bench.country_plan --fill`"


def test_twice_the_packets_want_twice_of_everything_but_days():
    one, two = Plan(PACKETS_A_YEAR, 200), Plan(2 * PACKETS_A_YEAR, 200)
    for name in ("peak_day", "design_s", "kept", "objects_tb", "rows_gb", "forever_gb_a_year"):
        assert getattr(two, name) == pytest.approx(2 * getattr(one, name)), name
    assert two.kept_days == one.kept_days
    assert one.replicas_a_region >= 2, "one may be taken down for an upgrade"


def test_larger_packets_want_more_bytes_and_no_more_rows():
    small, large = Plan(PACKETS_A_YEAR, 200), Plan(PACKETS_A_YEAR, 2_000)
    assert large.objects_tb == pytest.approx(10 * small.objects_tb)
    assert (large.rows_gb, large.design_s) == (small.rows_gb, small.design_s)
