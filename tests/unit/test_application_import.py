"""Files of applications: what is read, and that every fault names its row and column and repeats nothing of the file."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from crypto.application import check_character, grouped_number
from server.application_import import MAX_FAULTS, read_csv, read_json
from server.applications import REASONS, NewApplication
from server.cli import app
from tests.made_stores import make_store

TODAY = date(2026, 11, 23)
DAY = "2027-01-31"
RUN = CliRunner()


def number(serial: int) -> str:
    body = f"GH{serial:06}"
    return body + check_character(body)


ONE, TWO = number(1), number(2)


def faults(found) -> list[str]:
    assert not found.applications
    told = [str(fault) for fault in found.faults]
    assert not any(ONE in line or TWO in line for line in told)
    return told


@pytest.mark.parametrize(
    "text",
    [
        f"number,centre,expires\n{ONE},c-7,{DAY}\n{TWO},c-7,{DAY}\n",
        f"\ufeffexpires;number;centre\r\n{DAY};{grouped_number(ONE).lower()};c-7\r\n{DAY};{TWO};c-7",
        f'number,centre,expires\n"{ONE}","c-7",{DAY}\n {TWO} , c-7 , {DAY} ',
    ],
)
def test_csv_as_systems_write_it(text):
    found = read_csv(text.encode(), TODAY)
    last = date(2027, 1, 31)
    assert found.faults == ()
    assert found.applications == (NewApplication(ONE, "c-7", last), NewApplication(TWO, "c-7", last))


def test_json_tells_the_same():
    rows = [{"number": each, "centre": "c-7", "expires": DAY} for each in (ONE, TWO)]
    as_csv = f"number,centre,expires\n{ONE},c-7,{DAY}\n{TWO},c-7,{DAY}\n"
    assert read_json(json.dumps(rows).encode(), TODAY) == read_csv(as_csv.encode(), TODAY)


def test_every_fault_of_every_row_is_told_with_its_place():
    rows = [
        f"{ONE},c-7,{DAY}",
        f"{ONE[:-1]}@,c-7,{DAY}",
        f"{ONE[:-1] + ('A' if ONE[-1] != 'A' else 'B')},c 7,31.01.2027",
        f"{TWO},,2026-11-22",
        "",
        f"{TWO},c-7",
        f"{ONE},c-7,{DAY}",
        f"{TWO},c-7,2027-02-30",
        f"{TWO},c-7,{DAY}",
    ]
    assert faults(read_csv("\n".join(["number,centre,expires", *rows]).encode(), TODAY)) == [
        "row 3, column number: an application number has the letters A-Z and digits only",
        "row 4, column number: the check character does not fit: a character is wrong or out of place",
        "row 4, column centre: takes 1 to 64 letters, digits, dots, hyphens and underscores",
        "row 4, column expires: is no day in the form YYYY-MM-DD",
        "row 5, column centre: is empty",
        "row 5, column expires: is over",
        "row 6: the line is empty",
        "row 7: 2 fields instead of 3",
        "row 8, column number: stands in row 2 already",
        "row 9, column expires: is no day in the form YYYY-MM-DD",
    ]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "row 1: there is no header line: number, centre, expires"),
        (b"number,centre\n", "row 1: the columns must be number, centre, expires, each once"),
        (b"number,centre,expires,name\n", "row 1: the columns must be number, centre, expires, each once"),
        (b"number,number,expires\n", "row 1: the columns must be number, centre, expires, each once"),
        (b"number,centre,expires\n", "the file: there is no application in it"),
        (b"number,centre,expires\n\xff", "row 2: is not UTF-8"),
        (b'number,centre,expires\n"A"B,c,d\n', "row 2: a quotation mark is out of place, or a field is far too long"),
    ],
)
def test_csv_that_is_none(data, told):
    assert faults(read_csv(data, TODAY)) == [told]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "the file: not JSON (line 1, character 1)"),
        (b"{}", "the file: not an array of objects"),
        (b"[]", "the file: there is no application in it"),
        (b"[" * 100_000, "the file: an object names a field twice, or nests too deep"),
        (b'[{"number": "a", "number": "b"}]', "the file: an object names a field twice, or nests too deep"),
        (b"[" + b"7" * 5_000 + b"]", "the file: a number in it is far too long"),
        (b"[7]", "row 1: not an object"),
        (b'["number"]', "row 1: not an object"),
        (b'[{"number": 7, "centre": "c", "expires": "2027-01-31"}]', "row 1, column number: is not a text"),
        (
            json.dumps([{"number": ONE, "centre": "c", "expires": DAY, "name": "Anna"}]).encode(),
            "row 1: has other fields than number, centre, expires",
        ),
        (json.dumps([{"number": ONE, "centre": "c"}]).encode(), "row 1, column expires: is missing"),
        (
            json.dumps([{"number": ONE, "centre": "c" * 129, "expires": DAY}]).encode(),
            "row 1, column centre: has more than 128 characters",
        ),
    ],
)
def test_json_that_is_none(data, told):
    assert faults(read_json(data, TODAY)) == [told]


def test_so_many_faults_are_told_and_the_rest_counted():
    found = read_csv(b"number,centre,expires\n" + b"x,c,2027-01-31\n" * 80, TODAY)
    assert (len(found.faults), found.more) == (MAX_FAULTS, 30)


def test_a_file_of_faults_fills_no_memory():
    data = b"number,centre,expires\n" + b"\n" * 30_000
    tracemalloc.start()
    try:
        found = read_csv(data, TODAY)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.more == 30_000 - MAX_FAULTS
    assert peak < 40 * len(data), (
        "a fault of every line would take more than a hundred bytes of memory for each of the file"
    )


@given(st.one_of(st.binary(max_size=200), st.text(max_size=100).map(str.encode)))
def test_any_bytes_are_read_or_have_a_fault(data):
    for read in (read_csv, read_json):
        found = read(data, TODAY)
        assert bool(found.applications) is not bool(found.faults)
    found = read_csv(b"number,centre,expires\n" + data, TODAY)
    assert bool(found.applications) is not bool(found.faults)


# --- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
    make_store(tmp_path / "data")
    return tmp_path / "data"


def intake(data, *arguments, code=0, stdin=None):
    done = RUN.invoke(app, ["applications", *arguments, "--data", str(data)], input=stdin)
    assert done.exit_code == code, (done.output, done.exception)
    return done


def later(days: int = 30) -> str:
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


def test_the_command_imports_shows_decides_and_removes(data, tmp_path):
    file = tmp_path / "open.csv"
    file.write_text(f"number,centre,expires\n{ONE},c-7,{later()}\n{TWO},c-8,{later()}\n")
    told = json.loads(intake(data, "import", str(file), "--dry-run", "--json").stdout)
    assert told == {"added": 2, "changed": 0, "unchanged": 0, "dry_run": True}
    assert intake(data, "list").stdout == "0 filed, 0 captured, 0 accepted, 0 retake\n"
    assert intake(data, "import", str(file)).stdout == "2 added, 0 changed, 0 known already.\n"
    stdin = json.dumps([{"number": ONE, "centre": "c-9", "expires": later()}])
    assert intake(data, "import", "-", stdin=stdin).stdout == "0 added, 1 changed, 0 known already.\n"
    listed = json.loads(intake(data, "list", "--state", "filed", "--centre", "c-9", "--json").stdout)
    assert listed["counts"] == {"filed": 2, "captured": 0, "accepted": 0, "retake": 0}
    assert listed["applications"] == [
        {"number": ONE, "centre": "c-9", "expires": later(), "state": "filed", "reasons": []}
    ]
    assert f"{grouped_number(TWO)}" in intake(data, "list").stdout
    shown = json.loads(intake(data, "show", "-", "--json", stdin=f"{grouped_number(ONE)}\n").stdout)
    assert (shown["state"], shown["portraits"]) == ("filed", [])
    refused = intake(data, "decide", ONE, "retake", "--reason", "eyes", code=1)
    assert refused.stderr == "intake: The application is filed: there is no portrait to decide on.\n"
    assert all(reason in intake(data, "decide", ONE, "retake", code=2).stderr for reason in REASONS)
    intake(data, "decide", ONE, "accepted", "--reason", "eyes", code=2)
    intake(data, "decide", ONE, "accepted", "--packet", "%", code=2)
    for command in (["show", "-"], ["remove", "-"]):
        assert "letters A-Z" in intake(data, *command, stdin=b"\xff\n", code=2).stderr
    assert intake(data, "remove", "-", stdin=f"{ONE}\n\n").stdout == "1 removed.\n"
    assert intake(data, "remove", "--expired-before", later(31)).stdout == "1 removed.\n"
    assert intake(data, "show", ONE, code=1).stderr == "intake: There is no such application.\n"


def test_a_file_with_one_fault_is_not_imported_at_all(data, tmp_path):
    file = tmp_path / "open.csv"
    file.write_text(f"number,centre,expires\n{ONE},c-7,{later()}\n{TWO},c-7,{later(-1)}\n")
    refused = intake(data, "import", str(file), code=1)
    assert refused.stderr == "intake: row 3, column expires: is over.\nintake: Nothing was imported.\n"
    told = json.loads(intake(data, "import", str(file), "--json", code=1).stdout)
    assert told == {"faults": [{"row": 3, "column": "expires", "problem": "is over"}], "more": 0}
    assert intake(data, "list").stdout.startswith("0 filed")


def test_what_cannot_be_used_is_said_in_a_sentence(data, tmp_path):
    assert "cannot be read" in intake(data, "import", str(tmp_path / "none.csv"), code=2).stderr
    (tmp_path / "a.txt").write_text("x")
    assert ".csv or .json" in intake(data, "import", str(tmp_path / "a.txt"), code=2).stderr
    assert ONE[:-1] not in intake(data, "show", ONE[:-1] + "@", code=2).stderr
    assert "Name one" in intake(data, "remove", code=2).stderr
    assert "There is no store" in intake(tmp_path / "nowhere", "list", code=2).stderr
