"""Private signing keys as files: PKCS#8 in PEM, encrypted with a passphrase. PURE.

Encrypted: PBES2 (RFC 8018) with scrypt (RFC 7914: N = 2^14, r = 8, p = 1, 16 MiB a guess; the costs of `openssl pkcs8 -scrypt`) and AES-256-CBC. The
library's own choice is PBKDF2 with 2048 rounds, which a graphics card guesses a million times a second. Both kinds are read by the library and by OpenSSL.
"""

from __future__ import annotations

import base64
import secrets

from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from crypto.der import OCTETS, SEQUENCE, element, integer, oid
from crypto.errors import KeyUnavailableError

_COST, _BLOCK_SIZE, _PARALLEL = 2**14, 8, 1
_SALT_BYTES, _KEY_BYTES, _IV_BYTES = 16, 32, 16
_PBES2, _SCRYPT = oid("1.2.840.113549.1.5.13"), oid("1.3.6.1.4.1.11591.4.11")
_AES_256_CBC = oid("2.16.840.1.101.3.4.1.42")


def private_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    """A private key as PKCS#8 in PEM, encrypted when a passphrase is given."""
    pkcs8, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    if passphrase is None:
        return key.private_bytes(serialization.Encoding.PEM, pkcs8, none)
    if not passphrase:
        raise KeyUnavailableError("An empty passphrase protects nothing.")
    der = _encrypt(key.private_bytes(serialization.Encoding.DER, pkcs8, none), passphrase)
    text = base64.b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN ENCRYPTED PRIVATE KEY-----", *lines, b"-----END ENCRYPTED PRIVATE KEY-----", b""])


def _encrypt(plain: bytes, passphrase: bytes) -> bytes:
    """EncryptedPrivateKeyInfo (RFC 5958, 3)."""
    salt, iv = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_IV_BYTES)
    secret = Scrypt(salt, _KEY_BYTES, _COST, _BLOCK_SIZE, _PARALLEL).derive(passphrase)
    padder = padding.PKCS7(algorithms.AES256.block_size).padder()
    encryptor = Cipher(algorithms.AES256(secret), modes.CBC(iv)).encryptor()
    hidden = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    costs = element(SEQUENCE, element(OCTETS, salt), *(integer(n) for n in (_COST, _BLOCK_SIZE, _PARALLEL, _KEY_BYTES)))
    derivation = element(SEQUENCE, _SCRYPT, costs)
    cipher = element(SEQUENCE, _AES_256_CBC, element(OCTETS, iv))
    scheme = element(SEQUENCE, _PBES2, element(SEQUENCE, derivation, cipher))
    return element(SEQUENCE, scheme, element(OCTETS, hidden))
