"""`openssl cms -verify` judges our signed packages: chain, purpose, time and revocation; and refuses after a change of any byte.

Beside test_packet_signature.py (one good run, another form) these use the committed vectors, so that no key is made here. OpenSSL 3.0 knows
no option for a file of lists: it takes them from the file of authorities.
"""

from __future__ import annotations

import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from crypto.errors import CertificateRefusedError, CertificateRevokedError, RevocationListError, SignatureRefusedError
from crypto.revocation import read_revocation_list
from crypto.seal import verify
from crypto.trust import load_trust
from tests.vectors import parties
from tests.vectors.bad_seals import flipped
from tests.vectors.forged_cms import signed_data
from tests.vectors.forged_package import package
from tests.vectors.make_vectors import FOLDER
from tests.vectors.parties import BOOTH_1, BOOTH_BELOW, MADE_AT, Party

openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl: apt-get install openssl")
CONTENT = package()
AFTER_THE_LIST = MADE_AT + timedelta(days=5)


class Judge:
    """OpenSSL in a folder with the root, and with the root and its revocation list."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        root, rogue, lists = parties.ROOT.pem, parties.ROGUE.pem, folder / "ca.crl"
        lists.write_bytes(parties.ROOT_LIST)
        pem = subprocess.run(
            ["openssl", "crl", "-inform", "DER", "-in", "ca.crl"], cwd=folder, capture_output=True, check=True
        ).stdout
        for name, data in (("ca.pem", root), ("rogue.pem", rogue), ("lists.pem", root + pem)):
            (folder / name).write_bytes(data)

    def __call__(
        self, cms: bytes, *more: str, ca: str = "ca.pem", purpose: str = "any", at=MADE_AT
    ) -> tuple[bool, str]:
        """Whether it accepts, and what it says."""
        (self.folder / "package.cms").write_bytes(cms)
        (self.folder / "package.zip").unlink(missing_ok=True)
        command = [
            "openssl",
            "cms",
            "-verify",
            "-inform",
            "DER",
            "-in",
            "package.cms",
            "-CAfile",
            ca,
            "-out",
            "package.zip",
        ]
        command += ["-purpose", purpose] if purpose else []
        command += ["-attime", str(int(at.timestamp()))] if at else []
        run = subprocess.run([*command, *more], cwd=self.folder, capture_output=True, text=True, check=False)
        if run.returncode == 0:
            assert (self.folder / "package.zip").read_bytes() == CONTENT
        return run.returncode == 0, run.stderr


@pytest.fixture
def judge(tmp_path) -> Judge:
    return Judge(tmp_path)


def signed(party: Party) -> bytes:
    return signed_data(CONTENT, party)


@openssl
@pytest.mark.parametrize("party", [BOOTH_1, BOOTH_BELOW], ids=["below the root", "below an authority"])
def test_it_accepts_the_chain_at_the_signing_time(judge, party):
    assert judge(signed(party)) == (True, "CMS Verification successful\n")
    assert judge(signed(party), "-cades")[0]


@openssl
def test_it_refuses_after_any_byte_changed(judge):
    cms = signed(BOOTH_BELOW)
    start = cms.index(CONTENT)
    inside = range(start, start + len(CONTENT), len(CONTENT) // 20)
    around = range(0, len(cms), len(cms) // 20)
    accepted = [at for at in {*inside, start + len(CONTENT) - 1} if judge(flipped(cms, at))[0]]
    assert accepted == []
    # Around the content OpenSSL forgives what BER forgives; nothing of that changes the content, which `judge` compares.
    assert not any(judge(flipped(cms, at))[0] for at in around if start <= at < start + len(CONTENT))


def test_our_reader_refuses_after_every_single_byte_changed():
    trust = load_trust(FOLDER / "keys/ca.pem")
    cms = signed(BOOTH_BELOW)
    assert bytes(verify(cms, trust).view) == CONTENT
    for at in range(len(cms)):
        with pytest.raises((SignatureRefusedError, CertificateRefusedError)):
            verify(flipped(cms, at), trust)


@openssl
def test_it_refuses_another_root_of_the_same_name(judge):
    accepted, said = judge(signed(BOOTH_1), ca="rogue.pem")
    assert not accepted
    assert "certificate verify error" in said


@openssl
@pytest.mark.parametrize("purpose", ["", "smimesign", "timestampsign", "sslclient"])
def test_it_refuses_every_purpose_that_it_knows(judge, purpose):
    """Our purposes are our own; `booth packet verify` judges them."""
    accepted, said = judge(signed(BOOTH_1), purpose=purpose)
    assert not accepted
    assert "unsuitable certificate purpose" in said


@openssl
def test_it_refuses_an_expired_certificate_unless_asked_for_the_signing_time(judge):
    from tests.vectors.parties import ROOT, make_party

    ended = make_party("ended", ROOT, start=MADE_AT - timedelta(days=9), end=MADE_AT + timedelta(hours=1))
    assert judge(signed(ended))[0]
    for at in (None, AFTER_THE_LIST):
        accepted, said = judge(signed(ended), at=at)
        assert not accepted
        assert "certificate has expired" in said


@openssl
@pytest.mark.parametrize("party", [parties.STOLEN, parties.REPLACED], ids=["compromised", "superseded"])
def test_it_and_we_refuse_a_revoked_certificate(judge, party):
    assert judge(signed(party))[0]  # nobody asked about revocation
    accepted, said = judge(signed(party), "-crl_check", ca="lists.pem", at=AFTER_THE_LIST)
    assert not accepted
    assert "certificate revoked" in said
    assert judge(signed(BOOTH_1), "-crl_check", ca="lists.pem", at=AFTER_THE_LIST)[0]
    with pytest.raises(CertificateRevokedError):
        verify(signed(party), load_trust(FOLDER / "keys/ca.pem", FOLDER / "keys/ca.crl"))


@openssl
def test_it_refuses_below_a_revoked_authority(judge):
    accepted, said = judge(signed(parties.BELOW_BROKEN), "-crl_check_all", ca="lists.pem", at=AFTER_THE_LIST)
    assert not accepted
    assert "certificate revoked" in said or "unable to get certificate CRL" in said
    with pytest.raises(CertificateRevokedError):
        verify(signed(parties.BELOW_BROKEN), load_trust(FOLDER / "keys/ca.pem", FOLDER / "keys/ca.crl"))


def test_a_list_with_any_byte_changed_is_refused():
    root = parties.ROOT.certificate
    assert read_revocation_list(parties.ROOT_LIST, [root]).number == 7
    for at in range(len(parties.ROOT_LIST)):
        with pytest.raises(RevocationListError):
            read_revocation_list(flipped(parties.ROOT_LIST, at), [root])
