"""Tables of the documentation are written where their marks stand, and nowhere else."""

from __future__ import annotations

import pytest

from tests.bench.page_tables import fill_tables

PAGE = "before\n<!-- one -->\n\nold\n\n<!-- end -->\nbetween\n<!-- two -->\n\nold\n\n<!-- end -->\nafter\n"


def test_each_table_stands_between_its_marks_and_nothing_else_changes(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    fill_tables(page, {"two": "| new |"})
    assert page.read_text() == PAGE.replace("<!-- two -->\n\nold", "<!-- two -->\n\n| new |")
    with pytest.raises(ValueError, match="0 places for the table 'three'"):
        fill_tables(page, {"three": "x"})
