"""`booth packet`: three commands, three exit codes, nothing written unless everything was verified."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from typer.testing import CliRunner

from booth.packet import app
from crypto.errors import OPAQUE_REASON
from crypto.issuance import Issuer, Revoked, make_crl
from crypto.keys import generate_recipient_key, load_recipient_key, make_development_pki, open_signer
from crypto.package import build_package
from crypto.seal import MAGIC, MAX_PACKET_BYTES, sign_and_seal
from crypto.trust import load_certificates
from tests.packets import PARTS, fields_for

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with a development PKI and one packet in it."""
    folder = tmp_path_factory.mktemp("desk")
    pki = make_development_pki(folder / "pki")
    now = datetime.now(UTC)
    recipient = load_recipient_key(pki / "desk.hpke").public
    package = build_package(fields_for(recipient.key_id, created_at=now), PARTS)
    (folder / "visit.packet").write_bytes(
        sign_and_seal(package, open_signer(f"file:{pki}/booth.key"), [recipient], now)
    )
    return folder


def run(*arguments: object):
    result = CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "120", "TERM": "dumb"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def changed(desk, tmp_path):
    """The packet with its last byte changed: its header is still good."""
    data = bytearray((desk / "visit.packet").read_bytes())
    data[-1] ^= 1
    path = tmp_path / "changed.packet"
    path.write_bytes(data)
    return path


def test_show_needs_no_key_and_says_that_nothing_is_verified(desk):
    result = run("show", desk / "visit.packet")
    assert result.exit_code == 0
    assert "booth-0001" in result.output
    assert "not verified" in result.output
    facts = json.loads(run("show", desk / "visit.packet", "--json").output)
    assert facts["header"]["booth"] == "booth-0001"
    assert len(facts["sha256"]) == 64
    assert facts["sha256"] in result.output
    assert "verdict" not in facts


def test_verify_accepts_a_good_packet_and_writes_nothing(desk):
    before = sorted(desk.iterdir())
    result = run("verify", desk / "visit.packet", "--pki", desk / "pki")
    assert result.exit_code == 0
    assert "accepted" in result.output
    facts = json.loads(run("verify", desk / "visit.packet", "--pki", desk / "pki", "--json").output)
    assert facts["verdict"] == "accepted"
    assert facts["signer"]["booth"] == "booth-0001"
    assert set(facts["manifest"]["parts"]) == set(PARTS)
    assert sorted(desk.iterdir()) == before


def test_open_writes_every_part_for_the_owner_alone(desk, tmp_path):
    out = tmp_path / "new" / "opened"
    result = run("open", desk / "visit.packet", "--pki", desk / "pki", "--out", out)
    assert result.exit_code == 0, result.output
    for name, data in PARTS.items():
        assert (out / "parts" / name).read_bytes() == data
    assert json.loads((out / "parts" / "manifest.json").read_bytes())["booth"] == "booth-0001"
    for path in out.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert [path.name for path in out.parent.iterdir()] == ["opened"]


@pytest.fixture(scope="module")
def shared(desk):
    """A packet for the desk's present key and its next one, which lies beside it."""
    present = load_recipient_key(desk / "pki" / "desk.hpke")
    following = generate_recipient_key()
    (desk / "next.hpke").write_bytes(following.to_pem())
    (desk / "next.hpke").chmod(0o600)
    now = datetime.now(UTC)
    package = build_package(fields_for(present.key_id, following.key_id, created_at=now), PARTS)
    signer = open_signer(f"file:{desk / 'pki'}/booth.key")
    path = desk / "shared.packet"
    path.write_bytes(sign_and_seal(package, signer, [present.public, following.public], now))
    return path


def test_a_packet_for_two_keys_opens_with_either_and_with_both(desk, shared, tmp_path):
    present, following, trust = desk / "pki" / "desk.hpke", desk / "next.hpke", desk / "pki" / "ca.pem"
    ids = sorted(load_recipient_key(path).key_id for path in (present, following))
    shown = json.loads(run("show", shared, "--json").output)
    assert shown["header"]["recipient_key_ids"] == ids
    assert shown["header"]["version"] == 2
    assert "wrap" not in json.dumps(shown)
    assert all(one in run("show", shared).output for one in ids)
    for keys in ([present], [following], [following, present]):
        chosen = [argument for key in keys for argument in ("--key", key)]
        result = run("verify", shared, *chosen, "--trust", trust, "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.output)["manifest"]["recipients"] == ids
    assert run("open", shared, "--key", following, "--trust", trust, "--out", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / "parts" / "portrait.jpg").read_bytes() == PARTS["portrait.jpg"]
    single = run("verify", desk / "visit.packet", "--key", following, "--trust", trust, "--explain", "--json")
    assert (single.exit_code, json.loads(single.output)["stage"]) == (1, "seal")


def test_a_revoked_booth_is_refused_by_the_list_that_is_given(desk, shared, tmp_path):
    pki = desk / "pki"
    key = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), None)
    issuer = Issuer(load_certificates(pki / "ca.pem")[0], key)
    serial, now = load_certificates(pki / "booth.pem")[0].serial_number, datetime.now(UTC)
    stolen = Revoked(serial, now, x509.ReasonFlags.key_compromise)
    crl = tmp_path / "new.crl"
    crl.write_bytes(make_crl(issuer, 1000, [stolen], now - timedelta(hours=1), now + timedelta(days=7)))
    chosen = ("--key", pki / "desk.hpke", "--trust", pki / "ca.pem")
    for packet in (desk / "visit.packet", shared):
        assert run("verify", packet, *chosen).exit_code == 0
        assert run("verify", packet, "--pki", pki).exit_code == 0  # its ca.crl names nobody
        for more in (chosen, ("--pki", pki)):
            result = run("verify", packet, *more, "--crl", crl, "--explain", "--json")
            facts = json.loads(result.output)
            assert (result.exit_code, facts["stage"]) == (1, "certificate")
            assert "revoked" in facts["reason"]


def test_a_list_that_is_missing_or_of_another_authority_is_exit_two(desk, tmp_path):
    other = make_development_pki(tmp_path / "other")
    (tmp_path / "text").write_text("hello")
    for crl in (tmp_path / "none", tmp_path / "text", other / "ca.crl"):
        result = run("verify", desk / "visit.packet", "--pki", desk / "pki", "--crl", crl)
        assert result.exit_code == 2, crl
        assert "Traceback" not in result.output


@pytest.mark.skipif(
    not (shutil.which("openssl") and shutil.which("unzip")), reason="no openssl or unzip: apt-get install openssl unzip"
)
def test_the_commands_of_the_document_work_on_what_open_leaves(desk, tmp_path):
    """The block of docs/packet.md, word for word, in the folder that `booth packet open` made."""
    text = (PROJECT / "docs" / "packet.md").read_text()
    block = text.split("```console\n")[1].split("```")[0]
    commands = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
    assert any(command.startswith("openssl cms -verify") for command in commands)
    out = tmp_path / "opened"
    assert run("open", desk / "visit.packet", "--pki", desk / "pki", "--out", out).exit_code == 0
    shutil.copy(desk / "pki" / "ca.pem", tmp_path / "ca.pem")
    for command in commands:
        subprocess.run(["bash", "-euc", command], cwd=out, check=True, capture_output=True)
    assert (out / "again.zip").read_bytes() == (out / "package.zip").read_bytes()


def test_a_refused_packet_is_exit_one_with_one_opaque_reason(desk, changed, tmp_path):
    for arguments in (["verify", changed], ["open", changed, "--out", tmp_path / "out"]):
        result = run(*arguments, "--pki", desk / "pki")
        assert result.exit_code == 1
        assert OPAQUE_REASON in result.output
        assert "decrypt" not in result.output
        facts = json.loads(run(*arguments, "--pki", desk / "pki", "--json").output)
        assert facts == {"verdict": "refused", "code": "crypto.packet_refused", "reason": OPAQUE_REASON}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["changed.packet"]


def test_the_reason_is_told_to_who_asks_for_it_on_this_machine(desk, changed):
    assert "does not decrypt" in run("verify", changed, "--pki", desk / "pki", "--explain").output
    facts = json.loads(run("verify", changed, "--pki", desk / "pki", "--explain", "--json").output)
    assert "does not decrypt" in facts["reason"]


def test_another_trust_root_or_another_key_refuses(desk, tmp_path):
    other = make_development_pki(tmp_path / "other")
    key, trust = desk / "pki" / "desk.hpke", desk / "pki" / "ca.pem"
    assert run("verify", desk / "visit.packet", "--key", key, "--trust", trust).exit_code == 0
    assert (
        run("verify", desk / "visit.packet", "--key", other / "desk.hpke", "--key", key, "--trust", trust).exit_code
        == 0
    )
    assert run("verify", desk / "visit.packet", "--key", key, "--trust", other / "ca.pem").exit_code == 1
    assert run("verify", desk / "visit.packet", "--key", other / "desk.hpke", "--trust", trust).exit_code == 1
    assert run("verify", desk / "visit.packet", "--pki", desk / "pki", "--trust", other / "ca.pem").exit_code == 1


def test_what_is_no_packet_is_exit_two_with_one_sentence(desk, tmp_path):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "cut").write_bytes((desk / "visit.packet").read_bytes()[:40])
    (tmp_path / "header").write_bytes(MAGIC + b"\xff\xff\xff\xff")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MAX_PACKET_BYTES + 1)
    os.mkfifo(tmp_path / "fifo")
    for name in ("text", "empty", "cut", "header", "huge", "fifo", "missing", "."):
        for command in (
            ["show"],
            ["verify", "--pki", desk / "pki"],
            ["open", "--pki", desk / "pki", "--out", tmp_path / "o"],
        ):
            result = run(command[0], tmp_path / name, *command[1:])
            assert result.exit_code == 2, (name, command)
            assert "Traceback" not in result.output
    facts = json.loads(run("show", tmp_path / "text", "--json").output)
    assert facts["verdict"] == "unreadable"
    assert not (tmp_path / "o").exists()


def test_missing_or_open_keys_are_exit_two(desk, tmp_path):
    packet = desk / "visit.packet"
    assert "--pki" in run("verify", packet).output
    assert run("verify", packet).exit_code == 2
    assert run("verify", packet, "--key", desk / "pki" / "desk.hpke").exit_code == 2
    assert run("verify", packet, "--pki", tmp_path).exit_code == 2
    open_key = tmp_path / "open.hpke"
    open_key.write_bytes(generate_recipient_key().to_pem())
    open_key.chmod(0o644)
    result = run("verify", packet, "--key", open_key, "--trust", desk / "pki" / "ca.pem")
    assert result.exit_code == 2
    assert "0600" in result.output


def test_nothing_is_ever_overwritten(desk, tmp_path):
    def opened_into(out: Path) -> int:
        return run("open", desk / "visit.packet", "--pki", desk / "pki", "--out", out).exit_code

    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("keep")
    (tmp_path / "file").write_text("keep")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("full", "file", "link"):
        assert opened_into(tmp_path / name) == 2
    assert (full / "mine").read_text() == (tmp_path / "file").read_text() == "keep"
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / "empty").mkdir()
    assert opened_into(tmp_path / "empty") == 0
    assert opened_into(tmp_path / "empty") == 2


def test_a_full_disk_leaves_nothing_behind(desk, tmp_path, monkeypatch):
    real = os.open
    opened: list[str] = []

    def full(path, flags, mode=0o777, **more):
        if flags & os.O_CREAT:
            opened.append(str(path))
            if len(opened) == 4:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, flags, mode, **more)

    monkeypatch.setattr("booth.packet.os.open", full)
    result = run("open", desk / "visit.packet", "--pki", desk / "pki", "--out", tmp_path / "out")
    assert len(opened) == 4
    assert result.exit_code == 2
    assert "No space left" in result.output
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing_behind(desk, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("booth.packet.Path.rename", interrupted)
    run("open", desk / "visit.packet", "--pki", desk / "pki", "--out", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [[], ["show"], ["verify"], ["open"]])
def test_every_help_has_an_example(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output
    assert "booth packet" in result.output
