"""`intake ca` as an operator uses it: what each command prints and leaves, exit codes, refusals, and what a kill at any moment leaves."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from crypto.enrolment_token import read_token
from crypto.errors import CertificateRevokedError
from crypto.keys import Purpose, load_trust
from crypto.trust import load_certificates
from server import memory
from server.authority import open_authority
from server.cli import app
from server.errors import EnrolmentRefusedError

BOOTH = "booth-0001"
PASSPHRASE = "correct horse battery"


class Operator:
    """A person at the command line, with an authority."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = folder / "ca"
        self.passphrase = folder / "ca.pass"
        self.passphrase.write_text(PASSPHRASE + "\n")
        self.passphrase.chmod(0o600)

    def run(self, *words: object, code: int = 0, secret: bool = True) -> str:
        more = ["--passphrase-file", self.passphrase] if secret else []
        done = CliRunner().invoke(app, ["ca", *map(str, [*words, *more])])
        assert done.exit_code == code, (done.output, done.exception)
        return done.stderr if code == 2 or (code == 1 and not done.stdout) else done.stdout

    def request(self, name: str = BOOTH, key: ec.EllipticCurvePrivateKey | None = None) -> Path:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        made = builder.sign(key or ec.generate_private_key(ec.SECP384R1()), hashes.SHA384())
        path = self.folder / f"{name}.csr"
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        return path


@pytest.fixture(autouse=True)
def dumps_forbidden(monkeypatch) -> list[bool]:
    """Counts instead of forbidding: it would hold for the whole process of the tests."""
    told: list[bool] = []
    monkeypatch.setattr(memory, "forbid_dumps", lambda: told.append(True))
    return told


@pytest.fixture
def operator(tmp_path):
    made = Operator(tmp_path)
    made.run("init", made.ca, "--name", "Interior photo booths", "--organisation", "Interior")
    return made


def test_every_command_shows_an_example():
    for command in ("init", "issue", "revoke", "crl", "token", "list"):
        done = CliRunner().invoke(app, ["ca", command, "--help"])
        assert done.exit_code == 0
        assert f"intake ca {command} ./ca" in done.output


def test_the_key_is_encrypted_unless_the_operator_says_otherwise(tmp_path):
    operator = Operator(tmp_path)
    told = operator.run("init", operator.ca, "--name", "x", secret=False, code=2)
    assert "--no-passphrase" in told
    operator.run("init", operator.ca, "--name", "x", "--no-passphrase", code=2)  # both at once
    assert not operator.ca.exists()
    operator.run("init", operator.ca, "--name", "x", "--no-passphrase", secret=False)
    assert b"BEGIN PRIVATE KEY" in (operator.ca / "ca.key").read_bytes()
    assert "never replaced" in operator.run("init", operator.ca, "--name", "x", code=1)


def test_init_says_what_it_made(tmp_path):
    operator = Operator(tmp_path)
    told = json.loads(operator.run("init", operator.ca, "--name", "x", "--days", 100, "--json"))
    assert told["subject"] == "CN=x,O=Passbooth"
    assert b"ENCRYPTED" in (operator.ca / "ca.key").read_bytes()
    assert stat.S_IMODE((operator.ca / "ca.key").stat().st_mode) == 0o600


def test_a_request_becomes_a_certificate_for_what_it_is_asked(operator, tmp_path):
    trust = load_trust(operator.ca / "ca.pem", operator.ca / "ca.crl")
    for kind in ("booth", "intake", "desk", "producer"):
        leaf = tmp_path / "leaf.pem"
        told = operator.run("issue", operator.ca, operator.request(f"{kind}-7"), "--for", kind, "--out", leaf)
        assert re.fullmatch(rf"{re.escape(str(leaf))}: {kind}-7, for {kind}, valid until \d{{4}}-\d\d-\d\d\.\n", told)
        (leaf,) = load_certificates(tmp_path / "leaf.pem")
        assert trust.path(leaf, (), Purpose(kind), datetime.now(UTC))
    printed = operator.run(
        "issue", operator.ca, operator.request("tls-7"), "--for", "tls", "--name", "a.example", "--name", "::1"
    )
    names = x509.load_pem_x509_certificate(printed.encode()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["a.example"]


def test_what_cannot_be_issued_is_told_in_one_sentence(operator, tmp_path):
    request = operator.request()
    (tmp_path / "text").write_text("text")
    for code, words in (
        (1, [tmp_path / "text", "--for", "booth"]),
        (2, [request, "--for", "tls"]),
        (1, [request, "--for", "tls", "--name", "a b"]),
        (1, [request, "--for", "booth", "--name", "a.example"]),
        (2, [request, "--for", "tls", "--name", "a.example", "--days", 398]),
        (2, [tmp_path / "none", "--for", "booth"]),
        (2, [request, "--for", "booth", "--out", tmp_path / "none" / "x.pem"]),
    ):
        told = operator.run("issue", operator.ca, *words, code=code)
        assert told.startswith("intake: ")
        assert told.count("\n") == 1
    assert PASSPHRASE not in operator.run("issue", tmp_path, request, "--for", "booth", code=2)
    assert "INTAKE_CA_PASSPHRASE_FILE" in operator.run(
        "issue", operator.ca, request, "--for", "booth", secret=False, code=2
    )


def test_revoking_writes_the_list_in_the_same_step(operator, tmp_path):
    operator.run("issue", operator.ca, operator.request(), "--for", "booth", "--out", tmp_path / "leaf.pem")
    (leaf,) = load_certificates(tmp_path / "leaf.pem")
    told = json.loads(operator.run("revoke", operator.ca, BOOTH, "--reason", "key-compromise", "--json"))
    assert told["list"]["number"] == 2
    assert told["revoked"][0]["reason"] == "key-compromise"
    assert int(told["revoked"][0]["serial"], 16) == leaf.serial_number
    with pytest.raises(CertificateRevokedError):
        load_trust(operator.ca / "ca.pem", operator.ca / "ca.crl").path(leaf, (), Purpose.BOOTH, datetime.now(UTC))
    assert "already" in operator.run("revoke", operator.ca, BOOTH, "--reason", "superseded", code=1)
    assert "No certificate" in operator.run("revoke", operator.ca, "booth-9", "--reason", "superseded", code=1)
    operator.run("revoke", operator.ca, BOOTH, "--reason", "stolen", code=2)
    operator.run("revoke", operator.ca, BOOTH, code=2)  # a reason must be given


@pytest.mark.parametrize(
    "reason",
    ["affiliation-changed", "superseded", "cessation-of-operation", "privilege-withdrawn", "unspecified"],
)
def test_every_reason_goes_into_the_list(operator, reason):
    operator.run("issue", operator.ca, operator.request(), "--for", "booth")
    assert f"({reason})" in operator.run("revoke", operator.ca, BOOTH, "--reason", reason)
    (crl,) = load_trust(operator.ca / "ca.pem", operator.ca / "ca.crl").crls
    assert [one.reason.name.replace("_", "-") for one in crl.entries.values()] == [reason]


def test_the_list_is_renewed_and_copied(operator, tmp_path):
    told = json.loads(operator.run("crl", operator.ca, "--days", 30, "--out", tmp_path / "list.pem", "--pem", "--json"))
    assert told["number"] == 2
    shown = subprocess.run(
        ["openssl", "crl", "-in", tmp_path / "list.pem", "-noout", "-CAfile", operator.ca / "ca.pem"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert "verify OK" in shown.stderr
    assert "number 3" in operator.run("crl", operator.ca, "--out", tmp_path / "list.der")
    assert (tmp_path / "list.der").read_bytes() == (operator.ca / "ca.crl").read_bytes()


def test_a_token_is_printed_once_with_its_end(operator):
    told = operator.run("token", operator.ca, BOOTH)
    assert re.match(r"([0-9A-Z]{5}-){3}[0-9A-Z]{5}\nbooth-0001, once, until 20\d\d-\d\d-\d\d \d\d:\d\d UTC\.\n", told)
    told = json.loads(operator.run("token", operator.ca, BOOTH, "--valid-hours", 2, "--json"))
    assert read_token(told["token"])
    left = datetime.fromisoformat(told["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=1.9) < left <= timedelta(hours=2)
    authority = open_authority(operator.ca, PASSPHRASE.encode())
    assert authority.issue_for_token(told["token"], operator.request().read_bytes())
    file = operator.ca.parent / "token"
    told = json.loads(operator.run("token", operator.ca, BOOTH, "--out", file, "--json"))
    assert (told["file"], "token" in told, file.stat().st_mode & 0o777) == (str(file), False, 0o600)
    assert read_token(file.read_text().strip())
    assert "A name has" in operator.run("token", operator.ca, "../x", code=1)
    operator.run("token", operator.ca, BOOTH, "--valid-hours", 721, code=2)


def test_tokens_are_withdrawn_by_hand_and_with_the_booth(operator):
    authority = open_authority(operator.ca, PASSPHRASE.encode())
    first, other = (
        json.loads(operator.run("token", operator.ca, one, "--json"))["token"] for one in (BOOTH, "booth-2")
    )
    assert operator.run("token", operator.ca, BOOTH, "--withdraw") == f"{BOOTH}: 1 unused tokens withdrawn.\n"
    told = json.loads(operator.run("token", operator.ca, BOOTH, "--withdraw", "--json"))
    assert told == {"booth": BOOTH, "withdrawn": 0}
    with pytest.raises(EnrolmentRefusedError):
        authority.issue_for_token(first, operator.request().read_bytes())
    assert authority.issue_for_token(other, operator.request("booth-2").read_bytes())
    second = authority.make_token("booth-2")
    operator.run("revoke", operator.ca, "booth-2", "--reason", "key-compromise")
    with pytest.raises(EnrolmentRefusedError):
        authority.issue_for_token(second, operator.request("booth-2").read_bytes())
    again = authority.make_token("booth-2")
    assert authority.issue_for_token(again, operator.request("booth-2").read_bytes())


def test_a_process_that_holds_the_key_leaves_no_core_dump(operator, dumps_forbidden):
    del dumps_forbidden[:]
    operator.run("list", operator.ca, secret=False)
    assert not dumps_forbidden  # needs no key
    operator.run("crl", operator.ca)
    assert dumps_forbidden


def test_the_list_of_certificates_warns_a_month_ahead_and_needs_no_key(operator):
    assert "No certificate" in operator.run("list", operator.ca, secret=False)
    operator.run("issue", operator.ca, operator.request(), "--for", "booth", "--days", 20)
    assert BOOTH in operator.run("list", operator.ca, secret=False, code=1)
    operator.run("issue", operator.ca, operator.request(), "--for", "booth")  # the next one: nothing ends soon any more
    told = json.loads(operator.run("list", operator.ca, "--json", secret=False))
    assert [(one["name"], one["days_left"], one["in_use"]) for one in told["certificates"]] == [(BOOTH, 396, True)]
    assert told["list"]["stale"] is False
    operator.run("revoke", operator.ca, BOOTH, "--reason", "superseded")
    told = json.loads(operator.run("list", operator.ca, "--all", "--json", secret=False))
    assert [one["reason"] for one in told["certificates"]] == ["superseded"] * 2
    assert "no authority" in operator.run("list", operator.folder, secret=False, code=2)


def test_an_old_list_is_told(operator, monkeypatch):
    authority = open_authority(operator.ca, PASSPHRASE.encode(), lambda: datetime.now(UTC) - timedelta(days=10))
    authority.renew_crl()
    assert "run intake ca crl" in operator.run("list", operator.ca, secret=False, code=1)


# --- kills

# One process that has imported everything makes a child for each kill: the kills hit the work, not the start.
KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric import ec
from crypto.keys import load_trust
from server.authority import open_authority, read_passphrase
from server.ca_command import app
from tests.unit.test_ca_command import Operator

folder, kills = Path(sys.argv[1]), int(sys.argv[2])
operator = Operator(folder)
chance = random.Random(4)
told = os.open(folder / "told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def work(run, times, step=lambda: None):
    for n in range(times):
        name = f"booth-{run}-{n}"
        request = str(operator.request(name))
        app(["issue", str(operator.ca), request, "--for", "booth", "--out", str(folder / f"{name}.pem")], standalone_mode=False)
        step()
        if n % 2:
            app(["revoke", str(operator.ca), name, "--reason", "superseded"], standalone_mode=False)
            os.write(told, f"{name}\\n".encode())
            step()

sys.stdout = open(os.devnull, "w")
work(kills, 2)
started = time.monotonic()
work(kills + 1, 2)
step_s = (time.monotonic() - started) / 3
for run in range(kills):
    heard, say = os.pipe()
    child = os.fork()
    if child == 0:
        work(run, 1000, lambda: os.write(say, b"."))
        os._exit(0)
    os.close(say)
    for _ in range(chance.randint(0, 3)):  # so many steps, and a part of the next one
        os.read(heard, 1)
    time.sleep(chance.uniform(0.0, step_s))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(heard)
    load_trust(operator.ca / "ca.pem", operator.ca / "ca.crl")  # never torn
"""


def kill_often(operator: Operator, kills: int) -> None:
    """Kills `kills` operators, then compares what they were told with what the authority remembers."""
    project = Path(__file__).resolve().parents[2]
    subprocess.run(
        [sys.executable, "-c", KILLED, operator.folder, str(kills)],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        check=True,
        timeout=100,
    )
    told = (operator.folder / "told").read_text().split()
    (before,) = load_trust(operator.ca / "ca.pem", operator.ca / "ca.crl").crls
    certificates = open_authority(operator.ca).certificates()  # the next piece of work
    (after,) = load_trust(operator.ca / "ca.pem", operator.ca / "ca.crl").crls
    remembered = {one.serial for one in certificates}
    handed_out = {path.stem: load_certificates(path)[0] for path in operator.folder.glob("booth-*.pem")}
    assert len(handed_out) > kills / 2
    assert len(told) > kills / 8
    assert {one.serial_number for one in handed_out.values()} <= remembered
    assert {handed_out[name].serial_number for name in told} <= set(before.entries)
    assert {one.serial for one in certificates if one.revoked_at is not None} == set(after.entries)
    operator.run("issue", operator.ca, operator.request("afterwards"), "--for", "booth", secret=False)
    assert not [path for path in operator.ca.iterdir() if path.name.startswith("authority.sqlite3-")]


def test_after_kills_at_any_moment_nothing_handed_out_is_forgotten(tmp_path):
    operator = Operator(tmp_path)  # without a passphrase: opening a key takes longer than the work that is killed
    operator.run("init", operator.ca, "--name", "x", "--no-passphrase", secret=False)
    kill_often(operator, kills=50)
