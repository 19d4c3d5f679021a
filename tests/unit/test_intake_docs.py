"""docs/intake-api.md lists every error that the intake can answer, with its status and whether to retry; every leaf is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server import application_errors, errors, handover_errors, retention_errors
from server.application_errors import ApplicationUndecidableError
from server.errors import (
    AuthorityError,
    BackupError,
    DeskError,
    ListenError,
    RequestError,
    ServerError,
    SettingsError,
    StaffRefusedError,
    StorageError,
)
from server.retention_errors import RetentionError

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "intake-api.md").read_text("utf-8")
ROOMS = vars(errors) | vars(application_errors) | vars(handover_errors) | vars(retention_errors)
ALL = [e for e in ROOMS.values() if isinstance(e, type) and issubclass(e, ServerError)]
COMMANDS = (ApplicationUndecidableError, BackupError, RetentionError, StaffRefusedError)  # answered on a terminal, or at the desk
LEAVES = [e for e in ALL if not e.__subclasses__()]
ANSWERED = [
    ServerError,
    *(e for e in LEAVES if not issubclass(e, (AuthorityError, DeskError, ListenError, SettingsError, *COMMANDS))),
]


def test_the_documented_errors_are_the_errors():
    documented = {
        (int(status), code, retry == "yes")
        for status, codes, retry in re.findall(r"^\| (\d+) \| (`.*`) \| .* \| (yes|no) \|$", DOCS, re.MULTILINE)
        for code in re.findall(r"`([a-z_.]+)`", codes)
    }
    assert documented == {(e.status, e.code, e.retry) for e in ANSWERED}


@pytest.mark.parametrize("error", LEAVES)
def test_every_leaf_has_its_own_code_and_says_what_is_wrong(error):
    assert error.__name__.endswith("Error")
    assert [e for e in ALL if e.code == error.code] == [error]
    assert str(error()).endswith(".")
    assert error.__doc__


def test_families_share_their_blame():
    assert {e.blame for e in ALL if issubclass(e, RequestError)} == {"peer"}
    assert {e.blame for e in ALL if issubclass(e, StorageError)} <= {"us", "operator"}
