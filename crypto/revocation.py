"""Certificate revocation lists (RFC 5280, section 5): what an authority took back, read strictly. PURE.

Read in this order: size; the frame as bytes (version 2, one algorithm of the allow-list named alike twice, issuer); the issuer among the
authorities that the reader believes, which must have the CA flag, cRLSign and a key of the allow-list; the signature; only then what
the list says: times, number, extensions, entries. Refused is every list that does not tell the whole truth about its authority:
delta and partial lists, indirect ones (entries of other authorities), lists without a number or without an end, with an unknown
critical extension, with one serial number twice, or with an entry that takes a revocation back.

Rule: a certificate whose key was compromised counts for nothing, whatever time it claims to have signed at, because whoever has the key
can write any time. Revoked for another reason, it counts for nothing from then on (the earlier of revocation and invalidity date);
what it signed before stays valid. A list past its end still says what it said; who uses it is told that it is old.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import CRLEntryExtensionOID, ExtensionOID

from crypto.certificate import (
    CURVES,
    MAX_SERIAL_BITS,
    PARSE_ERRORS,
    SIGNATURE_ALGORITHMS,
    WHOLE_OCTETS,
    extension_of,
    name_of,
)
from crypto.der import BIT_STRING, INTEGER, SEQUENCE, integer, read
from crypto.errors import RevocationListError

MAX_LIST_BYTES = 4 * 1024 * 1024  # about 85 000 entries with a reason and a serial number of 20 octets
_VERSION_2 = integer(1)  # RFC 5280, 5.1.2.1
COMPROMISED = frozenset(
    {x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise, x509.ReasonFlags.aa_compromise}
)
# Extensions that change nothing in what a complete list says; every other one may be there when it is not critical.
_LIST_EXTENSIONS = frozenset({ExtensionOID.CRL_NUMBER, ExtensionOID.AUTHORITY_KEY_IDENTIFIER})
_ENTRY_EXTENSIONS = frozenset({CRLEntryExtensionOID.CRL_REASON, CRLEntryExtensionOID.INVALIDITY_DATE})
_PARTIAL = frozenset({ExtensionOID.DELTA_CRL_INDICATOR, ExtensionOID.ISSUING_DISTRIBUTION_POINT})


@dataclass(frozen=True, slots=True)
class Revocation:
    """That one certificate was taken back."""

    since: datetime
    reason: x509.ReasonFlags

    def counts_at(self, at: datetime) -> bool:
        """Whether it speaks against what was signed at this time."""
        return self.reason in COMPROMISED or at >= self.since


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list whose signature and form were checked; two are equal when their bytes are."""

    der: bytes = field(repr=False)
    issuer: x509.Certificate = field(compare=False, repr=False)
    number: int = field(compare=False)
    issued_at: datetime = field(compare=False)
    next_update_at: datetime = field(compare=False)
    entries: Mapping[int, Revocation] = field(compare=False, repr=False)
    authority: bytes = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "authority", authority_of(self.issuer))


@lru_cache(maxsize=64)
def authority_of(certificate: x509.Certificate) -> bytes:
    """Whose word a list is: name and key, whichever of an authority's certificates it is read from."""
    key = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return certificate.subject.public_bytes() + key


def read_revocation_list(der: bytes, authorities: Iterable[x509.Certificate]) -> RevocationList:
    """The list, signed by one of the authorities, or RevocationListError. `authorities` are believed: their own path is not judged."""
    if len(der) > MAX_LIST_BYTES:
        raise RevocationListError(f"A revocation list is {len(der)} bytes long; {MAX_LIST_BYTES} is the limit.")
    try:
        issuer_name = _check_frame(memoryview(der))
        crl = x509.load_der_x509_crl(der)
        named = [one for one in authorities if one.subject.public_bytes() == issuer_name]
        issuer = next((one for one in named if _may_have_signed(one, crl)), None)
        if issuer is None:
            raise RevocationListError("A revocation list is not signed by an authority that may sign it.")
        return _read(crl, der, issuer)
    except PARSE_ERRORS as err:
        raise RevocationListError("A revocation list cannot be read.") from err


def newest(lists: Iterable[RevocationList]) -> tuple[RevocationList, ...]:
    """Of each authority's lists the one with the highest number. Raises RevocationListError when two differ and have the same one."""
    found: dict[bytes, RevocationList] = {}
    for one in lists:
        known = found.setdefault(one.authority, one)
        if known.number == one.number and known.der != one.der:
            raise RevocationListError(
                f"Two different revocation lists of {name_of(one.issuer)} are number {one.number}."
            )
        if one.number > known.number:
            found[one.authority] = one
    return tuple(found.values())


def _check_frame(der: memoryview) -> bytes:
    """Version and algorithm are as they must be; the issuer's name as it stands, with its tag."""
    whole, rest = read(der, SEQUENCE)
    body, signature = read(whole, SEQUENCE)
    if rest or body[: len(_VERSION_2)] != _VERSION_2:
        raise RevocationListError("A revocation list is not of version 2.")
    _, fields = read(body, INTEGER)
    inner, fields = read(fields, SEQUENCE)
    outer, signature = read(signature, SEQUENCE)
    bits, after = read(signature, BIT_STRING)
    if after or bytes(bits[:1]) != WHOLE_OCTETS:
        raise RevocationListError("A revocation list's signature is not made of whole octets.")
    if inner not in SIGNATURE_ALGORITHMS or inner != outer:
        raise RevocationListError("A revocation list is signed by an algorithm that is not allowed.")
    _, following = read(fields, SEQUENCE)
    return bytes(fields[: len(fields) - len(following)])


def _may_have_signed(issuer: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    constraints, usage = extension_of(issuer, x509.BasicConstraints), extension_of(issuer, x509.KeyUsage)
    key = issuer.public_key()
    return (
        constraints is not None
        and constraints.ca
        and usage is not None
        and usage.crl_sign
        and isinstance(key, ec.EllipticCurvePublicKey)
        and key.curve.name in CURVES
        and crl.is_signature_valid(key)
    )


def _read(crl: x509.CertificateRevocationList, der: bytes, issuer: x509.Certificate) -> RevocationList:
    """What a list says, now that its signature is right."""
    number: int | None = None
    for extension in crl.extensions:
        if extension.oid in _PARTIAL:
            raise RevocationListError("A revocation list is a delta, a part, or speaks for other authorities.")
        if extension.critical and extension.oid not in _LIST_EXTENSIONS:
            raise RevocationListError("A revocation list has an unknown critical extension.")
        if isinstance(extension.value, x509.CRLNumber):
            number = extension.value.crl_number
        elif isinstance(extension.value, x509.AuthorityKeyIdentifier):
            _check_key_identifier(extension.value, issuer)
    if number is None or not 0 <= number < 1 << MAX_SERIAL_BITS:  # RFC 5280, 5.2.3: at most 20 octets
        raise RevocationListError("A revocation list has no number, or one that is not allowed.")
    begin, end = crl.last_update_utc, crl.next_update_utc
    if end is None or end <= begin:
        raise RevocationListError("A revocation list does not tell when the next one comes.")
    entries: dict[int, Revocation] = {}
    for entry in crl:
        serial = entry.serial_number
        if not 0 < serial < 1 << MAX_SERIAL_BITS or serial in entries:
            raise RevocationListError("A revocation list names a serial number twice, or one that is not allowed.")
        entries[serial] = _revocation(entry)
    return RevocationList(der, issuer, number, begin, end, MappingProxyType(entries))


def _check_key_identifier(theirs: x509.AuthorityKeyIdentifier, issuer: x509.Certificate) -> None:
    ours = extension_of(issuer, x509.SubjectKeyIdentifier)
    if ours is not None and theirs.key_identifier not in (None, ours.digest):
        raise RevocationListError(f"A revocation list names another key of {name_of(issuer)}.")


def _revocation(entry: x509.RevokedCertificate) -> Revocation:
    since, reason = entry.revocation_date_utc, x509.ReasonFlags.unspecified
    for extension in entry.extensions:
        if extension.oid == CRLEntryExtensionOID.CERTIFICATE_ISSUER:
            raise RevocationListError("A revocation list speaks for other authorities.")
        if extension.critical and extension.oid not in _ENTRY_EXTENSIONS:
            raise RevocationListError("A revocation list has an entry with an unknown critical extension.")
        if isinstance(extension.value, x509.CRLReason):
            reason = extension.value.reason
        elif isinstance(extension.value, x509.InvalidityDate):
            since = min(since, extension.value.invalidity_date_utc)
    if reason is x509.ReasonFlags.remove_from_crl:
        raise RevocationListError("A revocation list takes a revocation back, which only a delta may do.")
    return Revocation(since, reason)


def oldest_end(lists: Sequence[RevocationList], now: datetime) -> datetime | None:
    """Since when the most outdated of these lists is out of date; None while all are fresh."""
    return min((one.next_update_at for one in lists if one.next_update_at < now), default=None)
