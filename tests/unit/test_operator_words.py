"""What an operator meets at a wrong setting, and in the log when a service is stopped as it should be."""

from __future__ import annotations

import logging
import sys

import pytest
from starlette.requests import Request

from server.cli import main
from server.errors import DrainingError, StorageUnavailableError
from server.problems import PROBLEM, note_problem


def test_a_variable_with_a_wrong_value_is_one_sentence_for_commands_too(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("INTAKE_S3_TIMEOUT_S", "soon")
    monkeypatch.setattr(sys, "argv", ["intake", "scrub", "--data", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert told.startswith("intake: The setting s3_timeout_s is wrong: ")
    assert (told.count("\n"), "Traceback" in told) == (1, False)


@pytest.mark.parametrize(("error", "lines"), [(DrainingError("It ends."), 0), (StorageUnavailableError("No disk."), 1)])
def test_only_what_the_intake_failed_at_is_an_error_in_its_log(error, lines, caplog):
    request = Request({"type": "http", "method": "GET", "path": "/v1/ready", "headers": []})
    with caplog.at_level(logging.ERROR, logger="server.problems"):
        note_problem(request, error, error)
    assert request.scope[PROBLEM] == error.code
    assert len(caplog.records) == lines
