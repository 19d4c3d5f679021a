"""Keys and trust as the rest of the house sees them: the signer seam, trust roots, recipients, the development PKI.

`Signer` is the one seam to a private signing key. It signs data and never shows the key, so that a token behind
`pkcs11:` fits beside a file. `open_signer` chooses by the scheme of a URI and refuses a key that others can read, that does
not belong to its certificate, or that is not P-384. A centre's key, which signs slips, is P-256 and in a file.

A file pair is `booth.key` and `booth.pem`; while it is exchanged, `booth.next.key` is the key of the next certificate. The certificate says
which of the two keys counts, and it is replaced by one rename: so there is a usable pair at every moment, and a reader that meets a
replacement half-way reads again. `SignerSource` follows such a pair: whoever signs asks it for the present signer each time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from crypto.development import make_development_pki
from crypto.errors import KeyUnavailableError
from crypto.key_folder import read_file
from crypto.recipient import (
    RecipientKey,
    RecipientPublicKey,
    check_private_file,
    generate_recipient_key,
    load_recipient_key,
    load_recipient_public_key,
)
from crypto.trust import Purpose, TrustStore, common_name, curve_name, load_certificates, load_chain, load_trust

if TYPE_CHECKING:
    from crypto.token import Token

__all__ = [
    "FileSigner",
    "Purpose",
    "RecipientKey",
    "RecipientPublicKey",
    "Signer",
    "SignerSource",
    "TrustStore",
    "common_name",
    "generate_recipient_key",
    "load_recipient_key",
    "load_recipient_public_key",
    "load_trust",
    "make_development_pki",
    "open_signer",
]

_MAX_KEY_FILE_BYTES = 65_536
_READ_TRIES = 5  # a pair that is being exchanged is found within two; more means that the files do not fit


class Signer(Protocol):
    """Signs with a private key that it does not show."""

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate of the key."""
        ...

    @property
    def chain(self) -> Sequence[x509.Certificate]:
        """The authorities between the certificate and the root, without the root."""
        ...

    def sign(self, data: bytes) -> bytes:
        """ECDSA with P-384 and SHA-384 over `data`, as DER; with P-256 and SHA-256 for a centre. Raises SigningError when a token does not answer."""
        ...


@dataclass(frozen=True, slots=True)
class FileSigner:
    """A signing key from a file."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        """ECDSA with the hash that is as strong as the key's curve, as DER."""
        small = isinstance(self._key.curve, ec.SECP256R1)
        return self._key.sign(data, ec.ECDSA(hashes.SHA256() if small else hashes.SHA384()))


def open_signer(
    uri: str,
    secret: bytes | None = None,
    certificate: Path | None = None,
    curve: type[ec.EllipticCurve] = ec.SECP384R1,
) -> Signer:
    """The signer that a URI names, with the certificate and chain in the file `certificate`.

    `file:/folder/booth.key` is PKCS#8 in PEM, encrypted when a secret is given, by default with its certificate in `booth.pem` beside it.
    `pkcs11:token=…;object=…?module-path=…` is a key in a token, whose PIN is the secret.
    """
    if in_token(uri):
        return _token_signer(_open_token(uri, lambda: secret), _certificate_of_token(certificate))
    key = key_file(uri)
    pem = certificate or key.with_suffix(".pem")
    reason: KeyUnavailableError | None = None
    for _ in range(_READ_TRIES):
        leaf, *chain = load_chain(pem)
        reason = None
        for candidate in (key, next_key_file(key)):
            if candidate != key and not candidate.exists():
                continue
            try:
                private = load_key(candidate, secret, curve)
            except KeyUnavailableError as err:
                reason = reason or err
                continue
            if private.public_key() == leaf.public_key():
                return FileSigner(leaf, tuple(chain), private)
    raise reason or KeyUnavailableError(f"The key {key} does not belong to the certificate {pem}.")


class SignerSource:
    """The signer that a URI names, as it is now: a pair that was exchanged on disk is noticed by the next call.

    Any thread may ask. A pair that cannot be used is an error, not the pair before it.
    """

    def __init__(
        self, uri: str, secret: Callable[[], bytes | None] = lambda: None, certificate: Path | None = None
    ) -> None:
        self._uri = uri
        self._secret = secret
        self._token: Token | None = None
        if in_token(uri):
            self._token = _open_token(uri, secret)
            self._certificate = _certificate_of_token(certificate)
            self._files: tuple[Path, ...] = (self._certificate,)
        else:
            key = key_file(uri)
            self._certificate = certificate or key.with_suffix(".pem")
            self._files = (self._certificate, key, next_key_file(key))
        self._lock = threading.Lock()
        self._known: tuple[object, Signer] | None = None
        self._leaf: tuple[object, x509.Certificate] | None = None

    def current(self) -> Signer:
        """The present signer, whose certificate and key belong together. Raises KeyUnavailableError or SigningError."""
        with self._lock:
            seen = tuple(_marks(path) for path in self._files)  # before reading, so that a later change is noticed
            if self._known is None or self._known[0] != seen:
                self._known = None
                self._known = seen, self._open()
            return self._known[1]

    def certificate(self) -> x509.Certificate:
        """The present certificate, whether its key can be used or not; never waits for a token. Raises KeyUnavailableError."""
        seen, known = _marks(self._certificate), self._leaf
        if known is None or known[0] != seen:
            self._leaf = known = seen, load_certificates(self._certificate)[0]
        return known[1]

    def check(self) -> None:
        """That signing would work now; asks a token, so it may take its time. Raises KeyUnavailableError or SigningError."""
        signer = self.current()
        if self._token is not None:
            _require_in_token(signer)

    def close(self) -> None:
        """Lets go of the key."""
        with self._lock:
            self._known = None
            if self._token is not None:
                self._token.close()

    def _open(self) -> Signer:
        if self._token is not None:
            return _token_signer(self._token, self._certificate)
        return open_signer(self._uri, self._secret(), self._certificate)


def in_token(uri: str) -> bool:
    """Whether a URI names a key in a token."""
    return uri.startswith("pkcs11:")


def _certificate_of_token(certificate: Path | None) -> Path:
    if certificate is None:
        raise KeyUnavailableError("A key in a token needs the file of its certificate.")
    return certificate


def _open_token(uri: str, secret: Callable[[], bytes | None]) -> Token:
    from crypto.token import open_token  # python-pkcs11 takes a tenth of a second, and most keys are files

    return open_token(uri, secret)


def _token_signer(token: Token, certificate: Path) -> Signer:
    from crypto.token import signer_in

    return signer_in(token, load_chain(certificate))


def _require_in_token(signer: Signer) -> None:
    from crypto.token import Pkcs11Signer

    assert isinstance(signer, Pkcs11Signer)
    signer.token.require(signer.name)


def key_file(uri: str) -> Path:
    """The file of a `file:` URI."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not parts.path:
        raise KeyUnavailableError(
            f"{uri.partition('?')[0]} names no signing key: use file:/path/to/booth.key or pkcs11:…."
        )
    return Path(unquote(parts.path)).with_suffix(".key")


def next_key_file(key: Path) -> Path:
    """Where the key of the next certificate waits for it."""
    return key.with_suffix(".next.key")


def _marks(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is replaced or rewritten; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def load_key(
    path: Path, passphrase: bytes | None, curve: type[ec.EllipticCurve] = ec.SECP384R1
) -> ec.EllipticCurvePrivateKey:
    """The key on this curve in a file that only its owner may read."""
    check_private_file(path)
    try:
        key = serialization.load_pem_private_key(read_file(path, _MAX_KEY_FILE_BYTES), passphrase)
    except OSError as err:
        raise KeyUnavailableError(f"The key {path} cannot be read: {err.strerror}.") from err
    except (ValueError, TypeError) as err:
        raise KeyUnavailableError(f"The key {path} cannot be opened: wrong passphrase, or no PEM key.") from err
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, curve):
        raise KeyUnavailableError(f"The key {path} is not a {curve_name(curve)} key.")
    return key
