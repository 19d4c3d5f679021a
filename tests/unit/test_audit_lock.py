"""The check of known vulnerabilities: what fails the gate, what does not, and that a silent service is told."""

from __future__ import annotations

import stat
import textwrap
from datetime import date

import pytest

from tests.audit_lock import ask, judge, read_ignored

TODAY = date(2026, 11, 23)
CLEAN = {"name": "jinja2", "version": "3.1.6", "vulns": []}
BAD = {
    "name": "example",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["1.1"]}],
}
SKIPPED = {"name": "local", "skip_reason": "Dependency not found on PyPI"}
PASSING = {"id": "CVE-2026-1", "package": "example", "reason": "not reached", "until": date(2026, 12, 1)}


def test_a_clean_lock_passes_and_says_how_much_was_checked():
    judged = judge({"dependencies": [CLEAN, SKIPPED]}, [], TODAY)
    assert not judged.failed
    assert judged.lines == ("1 packages checked for known vulnerabilities, 1 unknown to the service.",)


def test_a_known_vulnerability_fails_and_names_its_remedy():
    judged = judge({"dependencies": [CLEAN, BAD]}, [], TODAY)
    assert judged.failed
    assert judged.lines[0] == "example 1.0: PYSEC-2026-1, mended in 1.1."


def test_one_that_is_let_pass_under_any_of_its_names_passes_until_its_day():
    assert not judge({"dependencies": [BAD]}, [PASSING], TODAY).failed
    assert judge({"dependencies": [BAD]}, [PASSING], date(2026, 12, 2)).failed
    assert judge({"dependencies": [BAD]}, [PASSING | {"package": "other"}], TODAY).failed


def test_an_entry_without_use_fails():
    judged = judge({"dependencies": [CLEAN]}, [PASSING], TODAY)
    assert judged.failed
    assert "take it out" in judged.lines[0]


@pytest.mark.parametrize("answer", [None, {"dependencies": []}, {"dependencies": [SKIPPED]}])
def test_a_service_that_knows_nothing_passes_and_is_told(answer):
    judged = judge(answer, [PASSING], TODAY)
    assert not judged.failed
    assert "not checked" in judged.lines[-1]


def test_the_list_is_readable_and_an_entry_says_everything(tmp_path):
    assert isinstance(read_ignored(), list)
    path = tmp_path / "list.toml"
    path.write_text('[[ignored]]\nid = "CVE-1"\npackage = "x"\nreason = ""\nuntil = 2026-12-01\n')
    with pytest.raises(ValueError, match="exactly"):
        read_ignored(path)


@pytest.mark.parametrize("words", ["exit 1", "echo not json", "echo '[]'", "echo '{\"dependencies\": 7}'"])
def test_whatever_the_tool_does_is_an_answer_or_none(tmp_path, words):
    tool = tmp_path / "uv"
    tool.write_text(textwrap.dedent(f"#!/bin/sh\n{words}\n"))
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    assert ask(str(tool)) is None
    assert ask(str(tmp_path / "missing")) is None
