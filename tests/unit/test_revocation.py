"""Revocation lists: what they refuse and from when, which lists are believed, and what every other one is refused for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509 import ReasonFlags
from cryptography.x509.oid import ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.der import BIT_STRING, SEQUENCE, element, header, integer
from crypto.errors import (
    CertificateRefusedError,
    CertificateRevokedError,
    RevocationListError,
)
from crypto.issuance import Revoked
from crypto.keys import Purpose, TrustStore
from crypto.revocation import MAX_LIST_BYTES, read_revocation_list
from crypto.trust import read_lists
from tests.packets import NOW, Authority, make_authority, make_signer, usage
from tests.revocation_lists import DAY, PEM, WEEK, entry, free_list, list_of, pem_list, trusting


@pytest.fixture(scope="module")
def root() -> Authority:
    return make_authority()


# --- the rule


@pytest.mark.parametrize("reason", [ReasonFlags.key_compromise, ReasonFlags.ca_compromise, ReasonFlags.aa_compromise])
def test_a_stolen_key_counts_for_nothing_whatever_time_it_writes(root, reason):
    booth = make_signer(root)
    trust = trusting(root, list_of(root, Revoked(booth.certificate.serial_number, NOW, reason)))
    for at in (NOW - 5 * DAY, NOW, NOW + DAY):
        with pytest.raises(CertificateRevokedError, match="revoked on 2026-11-22 12:00 UTC"):
            trust.path(booth.certificate, (), Purpose.BOOTH, at)


OTHER_REASONS = [
    *(ReasonFlags.unspecified, ReasonFlags.affiliation_changed, ReasonFlags.superseded, ReasonFlags.certificate_hold),
    *(ReasonFlags.cessation_of_operation, ReasonFlags.privilege_withdrawn),
]


@pytest.mark.parametrize("reason", OTHER_REASONS)
def test_what_was_signed_before_another_revocation_stays_valid(root, reason):
    booth = make_signer(root)
    trust = trusting(root, list_of(root, Revoked(booth.certificate.serial_number, NOW, reason)))
    assert trust.path(booth.certificate, (), Purpose.BOOTH, NOW - timedelta(seconds=1))
    for at in (NOW, NOW + DAY):
        with pytest.raises(CertificateRevokedError):
            trust.path(booth.certificate, (), Purpose.BOOTH, at)


def test_the_earlier_of_revocation_and_invalidity_date_counts(root):
    booth = make_signer(root)
    since = (x509.InvalidityDate((NOW - DAY).replace(tzinfo=None)), False)
    trust = trusting(root, free_list(root, entry(booth.certificate.serial_number, NOW, since)))
    assert trust.path(booth.certificate, (), Purpose.BOOTH, NOW - 2 * DAY)
    with pytest.raises(CertificateRevokedError):
        trust.path(booth.certificate, (), Purpose.BOOTH, NOW - timedelta(hours=1))


def test_others_and_certificates_without_a_list_are_not_touched(root):
    booth, other = make_signer(root), make_authority("other")
    revoked = Revoked(booth.certificate.serial_number, NOW, ReasonFlags.key_compromise)
    assert TrustStore((root.certificate,)).path(booth.certificate, (), Purpose.BOOTH, NOW)
    assert trusting(root, list_of(root)).path(booth.certificate, (), Purpose.BOOTH, NOW)
    stranger = make_signer(other, serial=booth.certificate.serial_number)
    both = TrustStore((root.certificate, other.certificate), trusting(root, list_of(root, revoked)).crls)
    assert both.path(stranger.certificate, (), Purpose.BOOTH, NOW)  # same serial number, another authority


def test_a_list_past_its_end_still_refuses_and_tells_its_age(root):
    booth = make_signer(root)
    old = NOW - 30 * DAY
    trust = trusting(root, list_of(root, Revoked(booth.certificate.serial_number, old), at=old))
    assert trust.stale_since(NOW) == old + WEEK
    assert trust.stale_since(old + WEEK) is None
    assert TrustStore((root.certificate,)).stale_since(NOW) is None
    with pytest.raises(CertificateRevokedError):
        trust.path(booth.certificate, (), Purpose.BOOTH, NOW)
    assert trust.path(make_signer(root).certificate, (), Purpose.BOOTH, NOW)


def test_other_faults_are_told_before_revocation(root):
    booth = make_signer(root, end=NOW - DAY)
    trust = trusting(root, list_of(root, Revoked(booth.certificate.serial_number, NOW)))
    with pytest.raises(CertificateRefusedError, match="is valid from"):
        trust.path(booth.certificate, (), Purpose.BOOTH, NOW)


# --- authorities in between


def test_a_revoked_authority_takes_everything_below_with_it(root):
    middle = make_authority("middle", root)
    booth = make_signer(middle)
    revoked = Revoked(middle.certificate.serial_number, NOW, ReasonFlags.ca_compromise)
    trust = trusting(root, list_of(root, revoked))
    with pytest.raises(CertificateRevokedError, match="middle"):
        trust.path(booth.certificate, (middle.certificate,), Purpose.BOOTH, NOW - 5 * DAY)


def test_an_authority_in_between_speaks_for_its_own_certificates_only(root):
    middle, booth = make_authority("middle", root), make_signer(root)
    below = make_signer(middle, serial=booth.certificate.serial_number)
    revoked = Revoked(booth.certificate.serial_number, NOW, ReasonFlags.key_compromise)
    trust = trusting(root, list_of(middle, revoked), list_of(root), authorities=(middle,))
    assert trust.path(booth.certificate, (), Purpose.BOOTH, NOW)
    with pytest.raises(CertificateRevokedError):
        trust.path(below.certificate, (middle.certificate,), Purpose.BOOTH, NOW)


def test_another_way_to_a_root_is_taken_when_one_is_revoked(root):
    second = make_authority("second")
    middle = make_authority("middle", root)
    crossed = x509.CertificateBuilder(
        second.certificate.subject,
        middle.certificate.subject,
        middle.certificate.public_key(),
        77,
        middle.certificate.not_valid_before_utc.replace(tzinfo=None),
        middle.certificate.not_valid_after_utc.replace(tzinfo=None),
        list(middle.certificate.extensions),
    ).sign(second.key, hashes.SHA384())
    revoked = list_of(root, Revoked(middle.certificate.serial_number, NOW, ReasonFlags.ca_compromise))
    trust = TrustStore((root.certificate, second.certificate), trusting(root, revoked).crls)
    others = (middle.certificate, crossed)
    assert trust.path(make_signer(middle).certificate, others, Purpose.BOOTH, NOW)[-1] == second.certificate
    with pytest.raises(CertificateRevokedError):
        trust.path(make_signer(middle).certificate, (middle.certificate,), Purpose.BOOTH, NOW)


def test_lists_of_authorities_in_between_come_with_their_certificates(root):
    middle, stranger = make_authority("middle", root), make_authority("stranger")
    lower = make_authority("lower", middle)
    trust = TrustStore((root.certificate,))
    blocks = {one: pem_list(list_of(one)) for one in (root, middle, lower, stranger)}
    chain = middle.certificate.public_bytes(PEM) + lower.certificate.public_bytes(PEM)
    assert len(read_lists(blocks[root] + b"\n" + blocks[middle] + chain + blocks[lower], trust)) == 3
    wrong = {
        "without its authority": blocks[middle],
        "without the one above": blocks[lower] + lower.certificate.public_bytes(PEM),
        "of a stranger": blocks[stranger] + stranger.certificate.public_bytes(PEM),
        "no list": chain,
        "a private key": blocks[root] + b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "text": blocks[root] + b"text",
        "broken base64": blocks[root].replace(b"M", b"=", 1),
        "a broken certificate": blocks[root] + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "too many certificates": blocks[root] + chain * 3,
        "nothing": b"",
    }
    for name, data in wrong.items():
        with pytest.raises(RevocationListError):
            pytest.fail(f"{name}: {read_lists(data, trust)}")


def test_an_authority_that_may_not_issue_does_not_make_others_believed(root):
    for wrong in (
        make_authority("middle", root, key_usage=usage(crl_sign=True)),
        make_authority("middle", root, ca=False),
        make_authority("middle", make_authority("short", path_length=0)),
    ):
        lower = make_authority("lower", wrong)
        trust = TrustStore((root.certificate,))
        data = pem_list(list_of(lower)) + b"".join(one.certificate.public_bytes(PEM) for one in (wrong, lower))
        with pytest.raises(RevocationListError):
            read_lists(data, trust)


# --- which lists are believed


def test_only_the_authority_itself_speaks_for_its_certificates(root):
    booth, impostor = make_signer(root), make_authority("root")
    mute = make_authority("root", key_usage=usage(key_cert_sign=True))
    small = make_authority("root", curve=ec.SECP256K1())
    signed = {
        "another authority": list_of(make_authority("other")),
        "another authority of the same name": list_of(impostor),
        "another key under our name": free_list(root, key=impostor.key),
        "a booth": free_list(root, key=booth._key),
        "a booth under its own name": free_list(root, key=booth._key, issuer=booth.certificate.subject),
    }
    for name, der in signed.items():
        with pytest.raises(RevocationListError, match="not signed by an authority"):
            pytest.fail(f"{name}: {read_revocation_list(der, [root.certificate, booth.certificate])}")
    for authority in (mute, small):
        with pytest.raises(RevocationListError, match="not signed by an authority"):
            read_revocation_list(list_of(authority), [authority.certificate])


def test_of_two_authorities_with_one_name_the_one_that_signed_is_found(root):
    impostor = make_authority("root")
    both = [impostor.certificate, root.certificate]
    assert read_revocation_list(list_of(root), both).issuer == root.certificate
    assert read_revocation_list(list_of(impostor), both).issuer == impostor.certificate


def test_a_renewed_certificate_of_the_authority_reads_the_same_lists(root):
    renewed = x509.CertificateBuilder(
        root.certificate.subject,
        root.certificate.subject,
        root.certificate.public_key(),
        4711,
        (NOW - DAY).replace(tzinfo=None),
        (NOW + 3000 * DAY).replace(tzinfo=None),
        list(root.certificate.extensions),
    ).sign(root.key, hashes.SHA384())
    booth = make_signer(root)
    revoked = list_of(root, Revoked(booth.certificate.serial_number, NOW))
    trust = TrustStore((renewed,), trusting(root, revoked).crls)
    with pytest.raises(CertificateRevokedError):
        trust.path(booth.certificate, (), Purpose.BOOTH, NOW)


def indirect() -> tuple[x509.ExtensionType, bool]:
    return (
        x509.IssuingDistributionPoint(
            full_name=None,
            relative_name=None,
            only_contains_user_certs=False,
            only_contains_ca_certs=False,
            only_some_reasons=None,
            indirect_crl=True,
            only_contains_attribute_certs=False,
        ),
        True,
    )


def partial() -> tuple[x509.ExtensionType, bool]:
    return (
        x509.IssuingDistributionPoint(
            full_name=None,
            relative_name=None,
            only_contains_user_certs=True,
            only_contains_ca_certs=False,
            only_some_reasons=None,
            indirect_crl=False,
            only_contains_attribute_certs=False,
        ),
        True,
    )


NUMBER = (x509.CRLNumber(1), False)
UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
SOMEBODY = x509.CertificateIssuer([x509.DirectoryName(x509.Name([]))])
WRONG_LISTS = {
    "a delta": ({"extensions": (NUMBER, (x509.DeltaCRLIndicator(1), True))}, "delta"),
    "a delta that is not critical": ({"extensions": (NUMBER, (x509.DeltaCRLIndicator(1), False))}, "delta"),
    "indirect": ({"extensions": (NUMBER, indirect())}, "delta, a part"),
    "for users only": ({"extensions": (NUMBER, partial())}, "delta, a part"),
    "an unknown critical extension": ({"extensions": (NUMBER, (UNKNOWN, True))}, "unknown critical"),
    "no number": ({"extensions": ()}, "no number"),
    "too large a number": ({"extensions": ((x509.CRLNumber(1 << 160), False),)}, "no number"),
    "another key's name": (
        {"extensions": (NUMBER, (x509.AuthorityKeyIdentifier(b"x" * 20, None, None), False))},
        "another key",
    ),
    "signed with SHA-224": ({"algorithm": hashes.SHA224()}, "algorithm"),
    "signed with SHA3-384": ({"algorithm": hashes.SHA3_384()}, "algorithm"),
    "signed with Ed25519": ({"key": ed25519.Ed25519PrivateKey.generate()}, "algorithm"),
}
WRONG_ENTRIES = {
    "one twice": ([entry(5), entry(6), entry(5)], "twice"),
    "a revocation taken back": ([entry(5, NOW, (x509.CRLReason(ReasonFlags.remove_from_crl), False))], "takes a"),
    "another authority's": ([entry(5, NOW, (SOMEBODY, True))], "other authorities"),
    "another authority's, not critical": ([entry(5, NOW, (SOMEBODY, False))], "other authorities"),
    "an unknown critical extension": ([entry(5, NOW, (UNKNOWN, True))], "unknown critical"),
}


@pytest.mark.parametrize("fault", WRONG_LISTS)
def test_lists_that_do_not_tell_the_whole_truth_are_refused(root, fault):
    changes, reason = WRONG_LISTS[fault]
    with pytest.raises(RevocationListError, match=reason):
        read_revocation_list(free_list(root, **changes), [root.certificate])


@pytest.mark.parametrize("fault", WRONG_ENTRIES)
def test_wrong_entries_make_the_whole_list_refused(root, fault):
    entries, reason = WRONG_ENTRIES[fault]
    with pytest.raises(RevocationListError, match=reason):
        read_revocation_list(free_list(root, *entries), [root.certificate])


def test_what_is_not_critical_and_changes_nothing_does_no_harm(root):
    freshest = x509.FreshestCRL(
        [x509.DistributionPoint([x509.UniformResourceIdentifier("http://x")], None, None, None)]
    )
    der = free_list(root, entry(5, NOW, (UNKNOWN, False)), extensions=(NUMBER, (UNKNOWN, False), (freshest, False)))
    assert set(read_revocation_list(der, [root.certificate]).entries) == {5}


def body_of(der: bytes) -> bytes:
    return x509.load_der_x509_crl(der).tbs_certlist_bytes


def signed(root: Authority, body: bytes, whole_algorithm: bytes | None = None) -> bytes:
    """A list around a body of ours, well signed: only its form is wrong."""
    algorithm = whole_algorithm or element(SEQUENCE, b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03")
    signature = root.key.sign(body, ec.ECDSA(hashes.SHA384()))
    return element(SEQUENCE, body, algorithm, element(BIT_STRING, b"\0" + signature))


def test_version_1_and_lists_without_an_end_are_refused(root):
    body = body_of(list_of(root))
    inner = body[len(header(SEQUENCE, 0)) + (2 if body[1] == 0x82 else 1 if body[1] == 0x81 else 0) :]
    assert inner.startswith(integer(1))
    assert read_revocation_list(signed(root, element(SEQUENCE, inner)), [root.certificate]).number == 1
    wrong = {
        "version 1": inner[3:],
        "version 3": integer(2) + inner[3:],
        "no end": inner.replace(b"\x17\x0d261129110000Z", b""),
        "the end before the beginning": inner.replace(b"261129110000Z", b"201129110000Z"),
    }
    for name, fields in wrong.items():
        assert fields != inner, name
        with pytest.raises(RevocationListError):
            pytest.fail(f"{name}: {read_revocation_list(signed(root, element(SEQUENCE, fields)), [root.certificate])}")
    sha256 = element(SEQUENCE, b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02")
    with pytest.raises(RevocationListError, match="algorithm"):
        read_revocation_list(signed(root, body, sha256), [root.certificate])


def test_serial_numbers_that_are_not_allowed_are_refused(root):
    body = body_of(list_of(root, Revoked(0x55AA55AA, NOW)))
    at = body.index(b"\x02\x04\x55\xaa\x55\xaa")
    for wrong in (b"\x02\x04\xd5\xaa\x55\xaa", b"\x02\x04\x00\x00\x00\x00", b"\x02\x04\x80\x00\x00\x00"):
        with pytest.raises(RevocationListError):
            read_revocation_list(signed(root, body[:at] + wrong + body[at + 6 :]), [root.certificate])


def test_cut_lengthened_and_oversized_lists_are_refused(root):
    der = list_of(root, *(Revoked(serial, NOW, ReasonFlags.superseded) for serial in range(1, 20)))
    for size in range(0, len(der), 7):
        with pytest.raises(RevocationListError):
            read_revocation_list(der[:size], [root.certificate])
    for wrong in (der + b"\0", b"\0" + der, b"\x30\x84\xff\xff\xff\xff", bytes(MAX_LIST_BYTES + 1)):
        with pytest.raises(RevocationListError):
            read_revocation_list(wrong, [root.certificate])
    with pytest.raises(RevocationListError, match="limit"):
        read_revocation_list(bytes(MAX_LIST_BYTES + 1), [root.certificate])


@given(st.data())
@settings(max_examples=400)
def test_mutated_lists_are_refused_with_our_own_error_and_without_a_warning(data):
    root, der = signed_once()
    at, size = data.draw(st.integers(0, len(der) - 1)), data.draw(st.integers(0, 3))
    changed = der[:at] + data.draw(st.binary(min_size=1, max_size=3)) + der[at + size :]
    if changed == der:
        return
    with pytest.raises(RevocationListError):
        read_revocation_list(changed, [root.certificate])


@given(st.data())
@settings(max_examples=400)
def test_well_signed_lists_of_any_content_are_read_or_refused_with_our_own_error(data):
    """The authority itself may err, or its key be used by somebody else."""
    root, der = signed_once()
    body = body_of(der)
    at, size = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(0, 3))
    changed = body[:at] + data.draw(st.binary(min_size=1, max_size=3)) + body[at + size :]
    try:
        read_revocation_list(signed(root, changed), [root.certificate])
    except RevocationListError:
        return


def signed_once(made: list[tuple[Authority, bytes]] = []) -> tuple[Authority, bytes]:  # noqa: B006 - made once
    if not made:
        root = make_authority()
        date = (x509.InvalidityDate(NOW.replace(tzinfo=None)), False)
        entries = (entry(5), entry(1 << 150, NOW, (x509.CRLReason(ReasonFlags.superseded), False), date))
        made.append((root, free_list(root, *entries)))
    return made[0]


@given(st.binary(max_size=300), st.integers(0, 2000))
@settings(max_examples=300)
def test_files_of_lists_with_anything_in_them_are_refused_with_our_own_error(noise, at):
    root, der = signed_once()
    middle = middle_once(root)
    whole = pem_list(der) + middle.certificate.public_bytes(PEM) + pem_list(list_of(middle))
    trust = TrustStore((root.certificate,))
    changed = whole[:at] + noise + whole[at + len(noise) :]
    try:
        lists = read_lists(changed, trust)
    except RevocationListError:
        return
    assert {one.der for one in lists} <= {der, *(one.der for one in read_lists(whole, trust)[1:])}


def middle_once(root: Authority, made: list[Authority] = []) -> Authority:  # noqa: B006 - made once
    if not made:
        made.append(make_authority("middle", root))
    return made[0]
