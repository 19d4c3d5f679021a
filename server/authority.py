"""The certificate authority of one organisation, in a folder: it enrols booths, renews and revokes certificates, keeps the revocation list.

Files: `ca.pem` (root), `ca.key` (PKCS#8, encrypted unless told otherwise, 0600), `ca.crl` (DER, for everyone), `centres.pem` (the centres'
certificates that count, for everyone), `authority.sqlite3` (what it remembers, 0600). The folder is 0700. Several processes may use it at once: an operator's command and an intake that enrols.

Order of operation of everything that changes something: one writer at a time by the folder's lock → one transaction with the rows and the new
list → committed and synced → `ca.crl` and `centres.pem` replaced → only then the answer (server/authority_records.py). So whatever is handed out is remembered, and
a kill at any moment leaves at most a certificate that nobody got, or a file older than the remembered list, which the next piece of work replaces.

Rules: a token is good once, for one booth name, until its end. A certificate request is judged before the token, so that a bad one uses up nothing. A key
belongs to one name and profile, and a key that was revoked never comes back. Renewal needs a present certificate of that booth that is neither
expired nor revoked. Nothing is logged here and no error names a token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ReasonFlags

from crypto.enrolment_token import read_token
from crypto.errors import CryptoError, EnrolmentError
from crypto.issuance import (
    LEAF_DAYS,
    CertificateRequest,
    Issuer,
    Profile,
    issue,
    make_crl,
    make_root,
    read_csr,
)
from crypto.key_folder import PRIVATE, PUBLIC, make_key_folder, only_writer, write_whole
from crypto.private_key import private_pem
from crypto.recipient import check_private_file
from crypto.revocation import COMPROMISED, RevocationList
from server.authority_index import AuthorityIndex, Issued
from server.authority_records import AuthorityRecords, key_digest, read_root
from server.enrolment_token import token_digest
from server.errors import (
    AuthorityError,
    CsrRefusedError,
    EnrolmentRefusedError,
    SettingsError,
)

ROOT_DAYS = 3_650
LIST_DAYS = 7
LEAST_PASSPHRASE = 12
NAMED_BY = "--passphrase-file or INTAKE_CA_PASSPHRASE_FILE; INTAKE_ISSUER_PASSPHRASE_FILE for `intake serve`"
_MAX_KEY_BYTES = 16_384
_MAX_PASSPHRASE_BYTES = 1_024
_REFUSED = "The enrolment token is not valid for this booth: ask for a new one."


class Authority(AuthorityRecords):
    """An authority whose key is open. Use `open_authority`; every method is blocking and may be called from any thread."""

    def __init__(self, folder: Path, issuer: Issuer, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(folder, issuer.certificate, now)
        self._issuer = issuer

    def issue(
        self, csr_pem: bytes, profile: Profile, identity: str, names: Sequence[str] = (), *, days: int = LEAF_DAYS
    ) -> bytes:
        """The certificate chain in PEM, without the root, for a request that an operator brought. Raises CsrRefusedError."""
        asked = _read(csr_pem, identity, profile)
        with self._writing() as index:
            return self._issue(index, asked, profile, names, days)

    def issue_for_token(self, token: str, csr_pem: bytes) -> bytes:
        """The chain for a booth that has a token, which is used up. Raises CsrRefusedError, EnrolmentRefusedError."""
        asked = _read(csr_pem)
        plain = read_token(token)
        if plain is None:
            raise EnrolmentRefusedError(_REFUSED)
        with self._writing() as index:
            if not index.use_token(token_digest(plain), asked.identity, self._now()):
                raise EnrolmentRefusedError(_REFUSED)
            return self._issue(index, asked, Profile.BOOTH)

    def renew(self, booth: str, csr_pem: bytes, current_serial: int) -> bytes:
        """The chain for a booth that proved to hold its present certificate. Raises CsrRefusedError, EnrolmentRefusedError."""
        asked = _read(csr_pem, booth)
        with self._writing() as index:
            current = index.by_serial(current_serial)
            if current is None or (current.identity, current.profile) != (booth, Profile.BOOTH):
                raise EnrolmentRefusedError("The booth's present certificate is not one of this authority.")
            if current.revoked_at is not None or current.not_after <= self._now():
                raise EnrolmentRefusedError(
                    "The booth's present certificate is revoked or expired: enrol the booth again."
                )
            return self._issue(index, asked, Profile.BOOTH)

    def revoke(self, which: int | str, reason: ReasonFlags) -> list[Issued]:
        """Takes back one certificate by its serial number (a number, or hex digits), or every one of a name and its unused tokens.

        For a compromise every other certificate of the same key too. Expired ones too: what they signed is judged at its signing time. Returns the certificates as they are now; raises AuthorityError
        when nothing is to be revoked.
        """
        with self._writing() as index:
            found = self._find(index, which)
            if reason in COMPROMISED:  # a matter of the key: who has it may present any of its certificates
                found = list({one.serial: one for leaf in found for one in index.by_key(leaf.key_sha256)}.values())
            changed = [
                one for one in found if one.reason is None or (reason in COMPROMISED) > (one.reason in COMPROMISED)
            ]
            if not changed:
                raise AuthorityError("That is revoked already, and for no lesser reason.")
            for one in changed:
                index.revoke(one.serial, self._now(), reason)
                if one.identity == which:
                    index.withdraw_tokens(one.identity, self._now())
            self._new_list(index)
            return [now for one in changed if (now := index.by_serial(one.serial)) is not None]

    def crl(self) -> bytes:
        """The revocation list in DER; a new one when half of the present one's life is over."""
        with self._writing() as index:
            known = index.list()
            if known is None:
                return self._new_list(index)
            current = self._read_list(known[1])
            if self._now() - current.issued_at < (current.next_update_at - current.issued_at) / 2:
                return current.der
            return self._new_list(index)

    def renew_crl(self, days: int = LIST_DAYS) -> RevocationList:
        """A new revocation list with the same entries."""
        with self._writing() as index:
            return self._read_list(self._new_list(index, days))

    def _issue(
        self,
        index: AuthorityIndex,
        asked: CertificateRequest,
        profile: Profile,
        names: Sequence[str] = (),
        days: int = LEAF_DAYS,
    ) -> bytes:
        for one in index.by_key(key_digest(asked.public_key)):
            if one.revoked_at is not None or (one.identity, one.profile) != (asked.identity, profile):
                raise CsrRefusedError("This key was revoked, or is certified for another name or use: make a new key.")
        try:
            leaf = issue(self._issuer, asked.public_key, asked.identity, profile, self._now(), days=days, names=names)
        except EnrolmentError as err:
            raise CsrRefusedError(str(err)) from err
        self._remember(index, leaf, profile)
        return leaf.public_bytes(serialization.Encoding.PEM)

    def _find(self, index: AuthorityIndex, which: int | str) -> list[Issued]:
        if isinstance(which, str):
            named = index.by_identity(which)
            digits = which.replace(":", "").lower()
            serial = int(digits, 16) if digits and set(digits) <= set("0123456789abcdef") else None
        else:
            named, serial = [], which
        one = None if serial is None else index.by_serial(serial)
        if named and one is not None:
            raise AuthorityError("That is both a name and a serial number here: give the serial number with colons.")
        found = named or ([] if one is None else [one])
        if not found:
            raise AuthorityError("No certificate of this authority has that name or serial number.")
        return found

    def _new_list(self, index: AuthorityIndex, days: int = LIST_DAYS) -> bytes:
        known, now = index.list(), self._now()
        number = 1 if known is None else known[0] + 1
        der = make_crl(self._issuer, number, index.revoked(), now, now + timedelta(days=days))
        index.set_list(number, der)
        return der


def init_authority(
    folder: Path,
    common_name: str,
    organisation: str,
    passphrase: bytes | None,
    *,
    days: int = ROOT_DAYS,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Authority:
    """A new authority in a folder of its own. Raises AuthorityError when there is one already, SettingsError when it cannot be made."""
    try:
        make_key_folder(folder)
        with only_writer(folder):
            if (folder / "ca.pem").exists():
                raise AuthorityError(f"{folder} holds an authority already: it is never replaced.")
            root = make_root(common_name, organisation, now(), days)
            # A key without its certificate has signed nothing: a start that was killed between the two is made again.
            write_whole(folder / "ca.key", private_pem(root.key, passphrase), PRIVATE)
            write_whole(folder / "ca.pem", root.certificate.public_bytes(serialization.Encoding.PEM), PUBLIC)
    except CryptoError as err:
        raise SettingsError(str(err)) from err
    except OSError as err:
        raise SettingsError(f"The authority cannot be made in {folder}: {err.strerror}.") from err
    except ValueError as err:
        raise AuthorityError("A name of the authority has 1 to 64 characters.") from err
    authority = Authority(folder, root, now)
    authority.crl()
    return authority


def open_authority(
    folder: Path, passphrase: bytes | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Authority:
    """The authority in a folder; its records and list are put in step. Raises SettingsError, EnrolmentUnavailableError."""
    root = read_root(folder)
    try:
        check_private_file(folder / "ca.key")
        with (folder / "ca.key").open("rb") as file:
            key = serialization.load_pem_private_key(file.read(_MAX_KEY_BYTES), passphrase)
    except CryptoError as err:
        raise SettingsError(f"{folder} holds no authority that can be used: {err}") from err
    except OSError as err:
        raise SettingsError(f"{folder / 'ca.key'} cannot be read: {err.strerror}.") from err
    except (ValueError, TypeError) as err:
        needed = "the passphrase is wrong" if passphrase else f"no passphrase file was named ({NAMED_BY})"
        raise SettingsError(f"The authority in {folder} cannot be opened: {needed}, or its files are broken.") from err
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != root.public_key():
        raise SettingsError(f"{folder / 'ca.key'} is not the key of the certificate beside it.")
    authority = Authority(folder, Issuer(root, key), now)
    authority.crl()
    return authority


def read_passphrase(path: Path) -> bytes:
    """The first line of a file that only its owner may read. Raises SettingsError."""
    try:
        check_private_file(path)
        with path.open("rb") as file:
            passphrase = file.read(_MAX_PASSPHRASE_BYTES).partition(b"\n")[0].rstrip(b"\r")
    except CryptoError as err:
        raise SettingsError(str(err)) from err
    except OSError as err:
        raise SettingsError(f"The passphrase file {path} cannot be read: {err.strerror}.") from err
    if len(passphrase) < LEAST_PASSPHRASE:
        raise SettingsError(f"The passphrase in {path} is shorter than {LEAST_PASSPHRASE} characters.")
    return passphrase


def _read(csr_pem: bytes, identity: str | None = None, profile: Profile = Profile.BOOTH) -> CertificateRequest:
    try:
        asked = read_csr(csr_pem, profile)
    except EnrolmentError as err:
        raise CsrRefusedError(str(err)) from err
    if identity is not None and asked.identity != identity:
        raise CsrRefusedError("The certificate request is for another name.")
    return asked
