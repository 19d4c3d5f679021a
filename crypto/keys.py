"""Keys and trust as the rest of the house sees them: the signer seam, trust roots, recipients, the development PKI.

`Signer` is the one seam to a private signing key. It signs data and never shows the key, so that a token behind
`pkcs11:` fits beside a file. `open_signer` chooses by the scheme of a URI and refuses a key that others can read, that does
not belong to its certificate, or that is not P-384.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from crypto.development import make_development_pki
from crypto.errors import KeyUnavailableError
from crypto.recipient import (
    RecipientKey,
    RecipientPublicKey,
    check_private_file,
    generate_recipient_key,
    load_recipient_key,
    load_recipient_public_key,
)
from crypto.trust import Purpose, TrustStore, common_name, load_certificates, load_trust

__all__ = [
    "FileSigner",
    "Purpose",
    "RecipientKey",
    "RecipientPublicKey",
    "Signer",
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
        """ECDSA with P-384 and SHA-384 over `data`, as DER. Raises SigningError when a token does not answer."""
        ...


@dataclass(frozen=True, slots=True)
class FileSigner:
    """A signing key from a file."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        """ECDSA with P-384 and SHA-384, as DER."""
        return self._key.sign(data, ec.ECDSA(hashes.SHA384()))


def open_signer(uri: str, passphrase: bytes | None = None) -> Signer:
    """The signer that a URI names: `file:/folder/booth.key`, with its certificate and chain in `booth.pem` beside it.

    The key is PKCS#8 in PEM, encrypted when a passphrase is given.
    """
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not parts.path:
        raise KeyUnavailableError(f"{uri.partition('?')[0]} names no signing key: use file:/path/to/booth.key.")
    path = Path(unquote(parts.path)).with_suffix(".key")
    certificate, *chain = load_certificates(path.with_suffix(".pem"))
    key = _load_key(path, passphrase)
    if key.public_key() != certificate.public_key():
        raise KeyUnavailableError(f"The key {path} does not belong to the certificate beside it.")
    return FileSigner(certificate, tuple(chain), key)


def _load_key(path: Path, passphrase: bytes | None) -> ec.EllipticCurvePrivateKey:
    check_private_file(path)
    try:
        with path.open("rb") as file:
            key = serialization.load_pem_private_key(file.read(_MAX_KEY_FILE_BYTES), passphrase)
    except OSError as err:
        raise KeyUnavailableError(f"The key {path} cannot be read: {err.strerror}.") from err
    except (ValueError, TypeError) as err:
        raise KeyUnavailableError(f"The key {path} cannot be opened: wrong passphrase, or no PEM key.") from err
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise KeyUnavailableError(f"The key {path} is not a P-384 key.")
    return key
