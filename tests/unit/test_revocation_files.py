"""Revocation lists beside each other and in files: newer and older ones, what OpenSSL says of them, how large they may be."""

from __future__ import annotations

import subprocess
import time
import tracemalloc
from datetime import UTC, datetime

import pytest
from cryptography.x509 import ReasonFlags

from crypto.errors import (
    CertificateRevokedError,
    KeyUnavailableError,
    RevocationListError,
)
from crypto.issuance import Revoked
from crypto.keys import Purpose, load_trust
from crypto.revocation import MAX_LIST_BYTES, newest, read_revocation_list
from crypto.trust import MAX_LISTS, read_lists
from tests.packets import NOW, Authority, make_authority, make_signer
from tests.revocation_lists import DAY, PEM, list_of, pem_list, trusting


@pytest.fixture(scope="module")
def root() -> Authority:
    return make_authority()


# --- older and newer lists


def test_an_older_list_after_a_newer_one_changes_nothing(root):
    booth = make_signer(root)
    revoked = Revoked(booth.certificate.serial_number, NOW)
    older, newer = list_of(root, number=1), list_of(root, revoked, number=2)
    for order in ((older, newer), (newer, older), (newer, older, newer)):
        trust = trusting(root)
        for der in order:
            trust = trust.with_lists([read_revocation_list(der, trust.roots)])
        assert [one.number for one in trust.crls] == [2]
        with pytest.raises(CertificateRevokedError):
            trust.path(booth.certificate, (), Purpose.BOOTH, NOW)


def test_two_lists_with_one_number_are_a_fault_of_the_authority(root):
    first, second = list_of(root, number=3), list_of(root, Revoked(5, NOW), number=3)
    lists = [read_revocation_list(der, [root.certificate]) for der in (first, second)]
    with pytest.raises(RevocationListError, match="are number 3"):
        newest(lists)
    assert newest([lists[0], lists[0]]) == (lists[0],)


# --- files


def test_the_lists_are_loaded_beside_the_roots(root, tmp_path):
    roots, crl = tmp_path / "ca.pem", tmp_path / "ca.crl"
    roots.write_bytes(root.certificate.public_bytes(PEM))
    with pytest.raises(KeyUnavailableError, match=r"ca\.crl"):
        load_trust(roots, crl)  # told to use a list that is not there: not the same as having none
    for data in (list_of(root), pem_list(list_of(root))):
        crl.write_bytes(data)
        assert [one.number for one in load_trust(roots, crl).crls] == [1]
    crl.write_bytes(pem_list(list_of(root, number=2)) + pem_list(list_of(root, number=1)))
    assert [one.number for one in load_trust(roots, crl).crls] == [2]
    assert load_trust(roots).crls == ()
    for wrong in (b"", list_of(make_authority("root")), list_of(root)[:-1], bytes(2 * MAX_LIST_BYTES + 1)):
        crl.write_bytes(wrong)
        with pytest.raises(RevocationListError):
            load_trust(roots, crl)


def test_a_file_of_many_lists_is_refused_before_their_signatures_are_verified(root):
    one = pem_list(list_of(root))
    assert len(read_lists(one * MAX_LISTS, trusting(root))) == MAX_LISTS
    with pytest.raises(RevocationListError):
        read_lists(one * (MAX_LISTS + 1), trusting(root))


def test_openssl_reads_our_list_and_refuses_by_it(root, tmp_path):
    good, bad = make_signer(root), make_signer(root, "booth-0002")
    now = datetime.now(UTC)
    der = list_of(root, Revoked(bad.certificate.serial_number, now, ReasonFlags.key_compromise), number=7, at=now)
    (tmp_path / "ca.crl").write_bytes(der)
    (tmp_path / "ca.pem").write_bytes(root.certificate.public_bytes(PEM))
    shown = openssl(
        "crl", "-inform", "DER", "-in", tmp_path / "ca.crl", "-noout", "-text", "-CAfile", tmp_path / "ca.pem"
    )
    assert "verify OK" in shown.stderr
    for text in ("Version 2", "CRL Number", "Key Compromise", "Authority Key Identifier", "ecdsa-with-SHA384"):
        assert text in shown.stdout
    (tmp_path / "list.pem").write_bytes(pem_list(der))
    for booth, code in ((good, 0), (bad, 2)):
        (tmp_path / "booth.pem").write_bytes(booth.certificate.public_bytes(PEM))
        files = ("-CAfile", tmp_path / "ca.pem", "-CRLfile", tmp_path / "list.pem", "-crl_check")
        told = openssl("verify", *files, "-purpose", "any", tmp_path / "booth.pem", check=False)
        assert told.returncode == code, told.stderr
        assert ("certificate revoked" in told.stderr) == (code != 0)


def openssl(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=check, timeout=30)


# --- size


def test_a_hundred_thousand_entries_are_read_in_seconds_and_looked_up_at_once(root):
    booth = make_signer(root)
    serials = [*range(1 << 62, (1 << 62) + 99_999), booth.certificate.serial_number]
    der = list_of(root, *(Revoked(serial, NOW) for serial in serials))
    assert len(der) < MAX_LIST_BYTES
    started = time.process_time()
    trust = trusting(root, der)
    assert time.process_time() - started < 5  # 0.5 s on a machine that does nothing else
    started = time.process_time()
    for _ in range(100):
        assert trust.path(booth.certificate, (), Purpose.BOOTH, NOW - DAY)
    with pytest.raises(CertificateRevokedError):
        trust.path(booth.certificate, (), Purpose.BOOTH, NOW)
    assert time.process_time() - started < 2


def test_a_hostile_list_of_full_size_costs_little_memory_before_its_signature_is_checked(root):
    impostor = make_authority("root")
    der = list_of(impostor, *(Revoked(1 << 62 | n, NOW) for n in range(100_000)))
    tracemalloc.start()
    try:
        with pytest.raises(RevocationListError):
            read_revocation_list(der, [root.certificate])
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2 * MAX_LIST_BYTES
