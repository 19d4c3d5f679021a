"""A booth's keys and certificate from the first key to the next one: request, issued certificate, exchange of the pair.

What comes back from an authority is installed only when: it is PEM of at most four certificates → the first is for the key that waits (or the present
one, issued again) → it is this booth's → valid now by this machine's clock → its path leads to the trusted root, for the purpose of a booth.
Each refusal says what to do. Only the path is kept, without the root.

Work on one key folder is done by one process at a time; what a kill left half-done is finished before anything else. `crypto.key_places`
tells why there is a usable pair at every moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from crypto.certificate import pem_blocks, read_certificate
from crypto.errors import CertificateRefusedError, CertificateRevokedError, EnrolmentError, KeyUnavailableError
from crypto.issuance import check_identity
from crypto.key_folder import PUBLIC, only_writer, write_whole
from crypto.key_places import FilePlace, KeyPlace, TokenPlace
from crypto.keys import in_token, key_file
from crypto.token import open_token
from crypto.trust import MAX_CERTIFICATES, MAX_PATH, Purpose, TrustStore, common_name, load_certificates

MAX_CHAIN_BYTES = 65_536
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class BoothKeys:
    """The keys of one booth and the certificate that tells which of them is in use."""

    booth: str
    place: KeyPlace
    certificate: Path
    close: Callable[[], None] = lambda: None

    def present(self) -> x509.Certificate | None:
        """The certificate in use; None before the first one."""
        return load_certificates(self.certificate)[0] if self.certificate.exists() else None

    def make(self, *, fresh: bool = False) -> bytes:
        """The request for the waiting key, which is made when there is none. `fresh` throws away the one that waits."""
        with self._alone():
            present = self._present_key()
            if fresh:
                self.place.discard(present)
            return self._request(self.place.make(present))

    def request(self) -> bytes:
        """The request for the waiting key again, or for the present one when none waits. Raises EnrolmentError when there is no key."""
        with self._alone():
            present = self._present_key()
            key = self.place.waiting(present) or (None if present is None else self.place.find(present))
            if key is None:
                raise EnrolmentError("There is no key yet: make one with `booth keys init`.")
            return self._request(key)

    def waits(self) -> bool:
        """Whether a key waits for its certificate. Reads only."""
        return self.place.waiting(self._present_key()) is not None

    def install(self, pem: bytes, trust: TrustStore, now: datetime) -> x509.Certificate:
        """Puts an issued certificate into use. Raises EnrolmentError."""
        leaf, *others = read_chain(pem)
        with self._alone():
            public = _p384(leaf)
            if self.place.find(public) is None:
                raise EnrolmentError(
                    "The certificate is for another key than this booth's: have it issued for the request of `booth keys csr`."
                )
            path = check_issued(leaf, others, self.booth, trust, now)
            kept = [one for one in path if one not in trust.roots]
            write_whole(self.certificate, b"".join(one.public_bytes(_PEM) for one in kept), PUBLIC)
            self.place.settle(public)
        return leaf

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time; what a kill left half-done is finished first."""
        try:
            with only_writer(self.certificate.parent):
                present = self._present_key()
                if present is not None:
                    self.place.settle(present)
                yield
        except OSError as err:
            raise KeyUnavailableError(
                f"The keys in {self.certificate.parent} cannot be changed: {err.strerror}."
            ) from err

    def _present_key(self) -> ec.EllipticCurvePublicKey | None:
        certificate = self.present()
        return None if certificate is None else _p384(certificate)

    def _request(self, key: ec.EllipticCurvePrivateKey) -> bytes:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, check_identity(self.booth))])
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        return builder.sign(key, hashes.SHA384()).public_bytes(_PEM)


def open_booth_keys(
    booth: str, uri: str, secret: Callable[[], bytes | None], certificate: Path | None, *, insist: bool = False
) -> BoothKeys:
    """The keys that the settings name; `close` them. `insist` tries the PIN although a wrong one was given."""
    if not in_token(uri):
        key = key_file(uri)
        return BoothKeys(booth, FilePlace(key, secret()), certificate or key.with_suffix(".pem"))
    if certificate is None:
        raise KeyUnavailableError("A key in a token needs keys.certificate, the file of its certificate.")
    token = open_token(uri, secret, write=True, insist=insist)
    return BoothKeys(booth, TokenPlace(token, certificate.with_suffix(".keys.json")), certificate, token.close)


def read_chain(pem: bytes) -> list[x509.Certificate]:
    """The certificates that an authority sent, strictly read. Raises EnrolmentError."""
    try:
        if len(pem) > MAX_CHAIN_BYTES:
            raise EnrolmentError("The answer of the authority is too large for certificates.")
        found = [read_certificate(der) for label, der in pem_blocks(pem) if label == b"CERTIFICATE"]
        if not found:
            raise ValueError("no certificates")
    except (ValueError, CertificateRefusedError) as err:
        raise EnrolmentError("What came from the authority is no certificate in PEM form.") from err
    if len(found) > min(MAX_CERTIFICATES, MAX_PATH):
        raise EnrolmentError(f"{len(found)} certificates came from the authority; at most {MAX_PATH} are right.")
    return found


def check_issued(
    leaf: x509.Certificate, others: list[x509.Certificate], booth: str, trust: TrustStore, now: datetime
) -> tuple[x509.Certificate, ...]:
    """The path of a certificate that this booth may use from now on. Raises EnrolmentError with what to do."""
    try:
        owner = common_name(leaf)
    except CertificateRefusedError as err:
        raise EnrolmentError(str(err)) from err
    if owner != booth:
        raise EnrolmentError(
            f"The certificate is for {owner[:64]!a}, and booth.id is {booth}: have one issued for this booth."
        )
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        raise EnrolmentError(
            f"The certificate is valid from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} to {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, and "
            f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC: set the clock (NTP), or have another one issued."
        )
    try:
        return trust.path(leaf, [one for one in others if one not in trust.roots], Purpose.BOOTH, now)
    except CertificateRevokedError as err:
        raise EnrolmentError(
            f"The certificate was revoked: {err} Ask why, then enrol the booth again (`booth keys enrol`)."
        ) from err
    except CertificateRefusedError as err:
        raise EnrolmentError(
            f"The certificate is refused: {err} See that intake.trust is the root of this fleet."
        ) from err


def _p384(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    public = certificate.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP384R1):
        raise EnrolmentError("The certificate is not for a P-384 key.")
    return public
