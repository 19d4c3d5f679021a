"""Why the intake gave no answer, in words that an operator can act on; a trust file that cannot be used."""

from __future__ import annotations

import os
import re
import ssl

import httpx2
import pytest

from booth.errors import ConfigInvalidError, IntakeAnswerError
from booth.intake_answers import CUT_OFF, trusting, why_unanswered


def leaves(kind):
    return [leaf for sub in kind.__subclasses__() for leaf in leaves(sub)] or [kind]


@pytest.mark.parametrize("kind", [TimeoutError, OSError, *leaves(httpx2.RequestError)])
def test_no_answer_is_told_with_what_to_see_to_and_without_the_name_of_a_class(kind):
    why = why_unanswered(kind("told by a stranger"))
    assert "see to " in why
    assert "stranger" not in why
    assert not re.search(r"[a-z][A-Z]", why), "a class's name"


def test_a_line_that_is_cut_while_tls_begins_is_no_wrong_address():
    error = httpx2.ConnectError("told by a stranger")
    error.__cause__ = ssl.SSLEOFError(8, "told by a stranger")
    assert why_unanswered(error) == CUT_OFF


def test_an_answer_that_is_ours_to_name_keeps_its_sentence():
    assert why_unanswered(IntakeAnswerError("The answer is too long; is the address right?")).endswith(
        "is the address right"
    )


def test_a_trust_file_that_cannot_be_used_is_named_with_what_belongs_there(tmp_path):
    there = tmp_path / "ca.pem"
    with pytest.raises(ConfigInvalidError, match=rf"there is no file {re.escape(str(there))}: put the certificate"):
        trusting(there)
    there.write_text("none")
    with pytest.raises(ConfigInvalidError, match="holds no certificate: put"):
        trusting(there)
    with pytest.raises(ConfigInvalidError, match="correct the path"):
        trusting(tmp_path)
    if os.geteuid():
        there.chmod(0)
        with pytest.raises(ConfigInvalidError, match="cannot be read"):
            trusting(there)
