"""`intake pki recipient`: a desk's key pair is made once, private, and fits together; what cannot be done is one sentence."""

from __future__ import annotations

import json
import stat

import pytest
from typer.testing import CliRunner

from crypto.desk_secret import load_desk_secret
from crypto.recipient import load_recipient_key, load_recipient_public_key
from server import memory
from server.cli import app


@pytest.fixture(autouse=True)
def dumps_forbidden(monkeypatch) -> None:
    """It would hold for the whole process of the tests."""
    monkeypatch.setattr(memory, "forbid_dumps", lambda: None)


def run(*words: object, code: int = 0):
    done = CliRunner().invoke(app, ["pki", "recipient", *map(str, words)])
    assert done.exit_code == code, (done.output, done.exception)
    return done


def test_a_pair_is_made_and_never_replaced(tmp_path):
    file = tmp_path / "desk.hpke"
    told = json.loads(run(file, "--json").stdout)
    private, public = load_recipient_key(file), load_recipient_public_key(tmp_path / "desk.hpke.pub")
    assert told == {"private": str(file), "public": f"{file}.pub", "key_id": public.key_id}
    assert (private.public, stat.S_IMODE(file.stat().st_mode)) == (public, 0o600)
    assert "never replaced" in run(file, code=2).stderr
    assert load_recipient_key(file) == private
    assert str(private.seed.hex()) not in run(tmp_path / "second.hpke").output


def test_a_public_key_that_a_kill_left_out_is_made_from_the_private_one(tmp_path):
    file = tmp_path / "desk.hpke"
    run(file)
    public = tmp_path / "desk.hpke.pub"
    before = public.read_bytes()
    public.unlink()
    assert load_recipient_key(file).key_id in run(file).stdout
    assert public.read_bytes() == before


def test_what_cannot_be_done_is_told_in_one_sentence(tmp_path):
    for file, text in ((tmp_path / "none" / "desk.hpke", None), (tmp_path / "broken.hpke", "text")):
        if text is not None:
            file.write_text(text)
            file.chmod(0o600)
        told = run(file, code=2).stderr
        assert told.startswith("intake: ")
        assert (str(file) in told, told.count("\n")) == (True, 1)


def test_a_desks_secret_is_made_once(tmp_path):
    file = tmp_path / "desk.secret"
    told = CliRunner().invoke(app, ["pki", "secret", str(file)])
    assert (told.exit_code, told.stdout.strip()) == (0, str(file))
    before = load_desk_secret(file)
    again = CliRunner().invoke(app, ["pki", "secret", str(file)])
    assert (again.exit_code, "never replaced" in again.stderr) == (2, True)
    assert load_desk_secret(file) == before
