"""A new key with a new certificate, asked for with the present one: the work of `booth keys rotate` and of the order for it. Blocks.

May be repeated whenever it did not come to its end: the key that waits for its certificate is used again. A booth that runs notices the exchanged pair.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

from cryptography.x509 import Certificate

from booth.config import Config
from booth.enrolling import request_next
from crypto.enrolment import BoothKeys, open_booth_keys
from crypto.errors import EnrolmentError
from crypto.keys import SignerSource, TrustStore


def rotate(config: Config, trust: TrustStore) -> Certificate:
    """The new certificate, in use. Raises a CryptoError, IntakeUnreachableError."""
    keys = open_booth_keys(config.booth.id, config.keys.signer, config.passphrase, config.keys.certificate)
    with contextlib.closing(keys):
        return keys.install(next_chain(config, keys), trust, datetime.now(UTC))


def next_chain(config: Config, keys: BoothKeys) -> bytes:
    """The certificate chain of the next key. Raises a CryptoError, IntakeUnreachableError."""
    if keys.present() is None:
        raise EnrolmentError("This booth has no certificate yet: get the first one with `booth keys enrol`.")
    request = keys.make()
    with contextlib.closing(SignerSource(config.keys.signer, config.passphrase, keys.certificate)) as source:
        return request_next(config.intake, source.current(), request)
