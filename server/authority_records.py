"""The records of a certificate authority and its list, as they lie in its folder; who looks at them, or makes a token, needs no key.

Each piece of work: the folder's lock → one transaction → what lies in the folder and not in the records is taken over → the work → commit → `ca.crl`
brought in step. So a kill at any moment leaves at most a file older than the remembered list, which the next piece of work replaces. A list in the file that
is newer than the remembered one (records restored from a backup, development keys refreshed) is taken over with its entries; and so are
certificates in the folder that this authority signed (development keys).
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from crypto.certificate import PARSE_ERRORS, extension_of
from crypto.enrolment_token import read_token
from crypto.errors import CryptoError, EnrolmentError
from crypto.issuance import Profile, check_identity
from crypto.key_folder import PUBLIC, only_writer, write_whole
from crypto.revocation import RevocationList, read_revocation_list
from crypto.trust import common_name, load_certificates, load_trust
from server.authority_index import AuthorityIndex, Issued, open_index
from server.enrolment_token import make_token, token_digest
from server.errors import AuthorityError, EnrolmentUnavailableError, SettingsError

TOKEN_VALID = timedelta(hours=24)
TOKEN_LONGEST = timedelta(days=30)
# A token that ended is remembered for so long, so that its records can be looked at.
_TOKEN_KEPT = timedelta(days=30)
RECORDS_NAME = "authority.sqlite3"
CENTRES_NAME = "centres.pem"


class AuthorityRecords:
    """What an authority issued and took back. Use `open_records`; blocking, any thread may call."""

    def __init__(self, folder: Path, certificate: x509.Certificate, now: Callable[[], datetime]) -> None:
        self._folder, self._certificate, self._now = folder, certificate, now

    @property
    def certificate(self) -> x509.Certificate:
        """The root."""
        return self._certificate

    def current_list(self) -> RevocationList:
        """The revocation list as it is."""
        with self._writing() as index:
            known = index.list()
            if known is None:
                raise AuthorityError(
                    f"The authority in {self._folder} has no revocation list yet: make one with intake ca crl."
                )
            return self._read_list(known[1])

    def certificates(self) -> list[Issued]:
        """Every certificate that was issued."""
        with self._writing() as index:
            return index.all()

    def make_token(self, booth: str, valid_for: timedelta = TOKEN_VALID) -> str:
        """A token that enrols this booth once. It is told here and never again."""
        try:
            check_identity(booth)
        except EnrolmentError as err:
            raise AuthorityError(str(err)) from err
        if not timedelta(minutes=1) <= valid_for <= TOKEN_LONGEST:
            raise AuthorityError(f"A token is valid for one minute to {TOKEN_LONGEST.days} days.")
        text = make_token()
        now = self._now()
        with self._writing() as index:
            index.add_token(token_digest(read_token(text) or ""), booth, now + valid_for, now - _TOKEN_KEPT)
        return text

    def withdraw_tokens(self, booth: str) -> int:
        """Makes every token of this booth useless that was told and not used; how many there were."""
        with self._writing() as index:
            return index.withdraw_tokens(booth, self._now())

    @contextmanager
    def _writing(self) -> Iterator[AuthorityIndex]:
        """The records, for one writer, in step with the files; afterwards the files are in step with the records."""
        try:
            with only_writer(self._folder):
                with open_index(self._folder / "authority.sqlite3") as index:
                    self._take_over(index)
                    yield index
                    known, centres = index.list(), self._centres(index)
                if known is not None and not _holds(self._folder / "ca.crl", known[1]):
                    write_whole(self._folder / "ca.crl", known[1], PUBLIC)
                if (centres or (self._folder / CENTRES_NAME).exists()) and not _holds(
                    self._folder / CENTRES_NAME, centres
                ):
                    write_whole(self._folder / CENTRES_NAME, centres, PUBLIC)
        except (sqlite3.Error, OSError) as err:
            raise EnrolmentUnavailableError(f"The authority's folder {self._folder} cannot be used just now.") from err

    def _centres(self, index: AuthorityIndex) -> bytes:
        """The centres' certificates that were not taken back and have not ended, in PEM; as the intake tells them."""
        return b"".join(
            x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)
            for der in index.in_force(Profile.CENTRE, self._now())
        )

    def _take_over(self, index: AuthorityIndex) -> None:
        """What stands in the folder and not in the records: certificates made with the development keys, a newer list."""
        known = index.list()
        file = self._folder / "ca.crl"
        for path in sorted(self._folder.glob("*.pem")):
            self._adopt(index, path)
        if file.exists() and (known is None or not _holds(file, known[1])):
            try:
                (found,) = load_trust(self._folder / "ca.pem", file).crls
            except CryptoError as err:
                if known is None:
                    raise SettingsError(f"{file} is not the list of this authority, and no other is known.") from err
                return  # replaced by the remembered one
            if known is None or found.number > known[0]:
                for serial, one in found.entries.items():
                    index.revoke(serial, one.since, one.reason)
                index.set_list(found.number, found.der)

    def _adopt(self, index: AuthorityIndex, path: Path) -> None:
        try:
            leaf = load_certificates(path)[0]
            if leaf == self.certificate or index.by_serial(leaf.serial_number) is not None:
                return
            leaf.verify_directly_issued_by(self.certificate)
        except (CryptoError, *PARSE_ERRORS, InvalidSignature):
            return  # whatever else lies here is not of this authority
        self._remember(index, leaf, _profile_of(leaf))

    def _remember(self, index: AuthorityIndex, leaf: x509.Certificate, profile: Profile) -> None:
        key = leaf.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        issued_at = max(leaf.not_valid_before_utc, self._now())
        one = Issued(
            leaf.serial_number,
            common_name(leaf),
            profile,
            key_digest(key),
            issued_at,
            leaf.not_valid_after_utc,
            None,
            None,
        )
        index.add(one, leaf.public_bytes(serialization.Encoding.DER))

    def _read_list(self, der: bytes) -> RevocationList:
        return read_revocation_list(der, [self.certificate])


def open_records(folder: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> AuthorityRecords:
    """The records of the authority in a folder. Raises SettingsError when there is none."""
    return AuthorityRecords(folder, read_root(folder), now)


def read_root(folder: Path) -> x509.Certificate:
    """The authority's own certificate. Raises SettingsError."""
    try:
        (root,) = load_trust(folder / "ca.pem").roots
    except CryptoError as err:
        raise SettingsError(f"{folder} holds no authority that can be used: {err}") from err
    except ValueError as err:
        raise SettingsError(f"{folder / 'ca.pem'} holds more than the authority's own certificate.") from err
    return root


def _profile_of(leaf: x509.Certificate) -> Profile:
    usages = extension_of(leaf, x509.ExtendedKeyUsage) or ()
    return next((one for one in Profile if one.purpose and one.purpose.oid in usages), Profile.TLS)


def key_digest(key: ec.EllipticCurvePublicKey) -> str:
    """What tells a key in the records."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except FileNotFoundError:
        return False
