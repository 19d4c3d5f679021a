"""The technician's passphrase at rest: an argon2id hash in a file that only the booth's user can read.

Rules: there is no default. A passphrase has 12 to 128 characters and is the same in every way of typing it (Unicode NFC, RFC 8265 section 4.2).
The file has mode 0600, holds one line, and appears whole or not at all; one that others can read, that is no argon2id hash, or whose costs would
hold up the booth is not used. No error repeats what was typed or stored.

argon2id with RFC 9106's second recommended costs (64 MiB, three passes), in one lane: the booth has two cores and a camera to look after.
"""

from __future__ import annotations

import secrets
import unicodedata
from pathlib import Path

import argon2
from argon2.exceptions import Argon2Error, InvalidHashError

from booth.errors import PassphraseError
from crypto.key_folder import PRIVATE, read_file, write_whole

LEAST_CHARACTERS = 12
MOST_CHARACTERS = 128
MAX_FILE_BYTES = 512
HASHER = argon2.PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1)
# Costs that a file may ask for: above these a wrong file would stop the booth, not protect it.
MOST_MEMORY_KIB, MOST_PASSES, MOST_LANES = 256 * 1024, 10, 4
# Crockford's letters and digits; 20 of them are 100 bits.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def make_passphrase() -> str:
    """A random passphrase in four groups."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(5)) for _ in range(4))


def write_passphrase(path: Path, passphrase: str, hasher: argon2.PasswordHasher = HASHER) -> None:
    """Put the hash of a new passphrase in its file. Raises `PassphraseError`."""
    plain = _plain(passphrase)
    if not LEAST_CHARACTERS <= len(plain) <= MOST_CHARACTERS:
        raise PassphraseError(f"A passphrase has {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters.")
    if not plain.isprintable():
        raise PassphraseError("A passphrase is one line of text: letters, digits, signs and spaces.")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, f"{hasher.hash(plain)}\n".encode(), PRIVATE)
    except OSError as error:
        raise PassphraseError(f"The file {path} cannot be written: {error.strerror}.") from error


def read_passphrase_hash(path: Path) -> str | None:
    """The hash in the file; None when there is no file. Raises `PassphraseError` when it cannot be used."""
    try:
        if path.stat().st_mode & 0o077:
            raise PassphraseError(f"The file {path} can be read by others: make it 0600 (chmod 600).")
        data = read_file(path, MAX_FILE_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PassphraseError(f"The file {path} cannot be read: {error.strerror}.") from error
    stored = data.decode("ascii", "replace").strip()
    try:
        costs = argon2.extract_parameters(stored)
    except InvalidHashError:
        raise PassphraseError(f"The file {path} holds no argon2id hash: set the passphrase again.") from None
    if costs.type is not argon2.Type.ID:
        raise PassphraseError(f"The file {path} holds another kind of hash than argon2id: set the passphrase again.")
    if costs.memory_cost > MOST_MEMORY_KIB or costs.time_cost > MOST_PASSES or costs.parallelism > MOST_LANES:
        raise PassphraseError(f"The hash in {path} costs more than this booth can spend: set the passphrase again.")
    return stored


def matches(stored: str, passphrase: str) -> bool:
    """Whether the passphrase is the stored one; takes a tenth of a second and 64 MiB."""
    try:
        return HASHER.verify(stored, _plain(passphrase[: 2 * MOST_CHARACTERS]))
    except Argon2Error:  # another passphrase, or a hash that is damaged inside
        return False


def _plain(passphrase: str) -> str:
    # A lone surrogate has no bytes: it can be typed by a program only, and is never part of a passphrase.
    return unicodedata.normalize("NFC", passphrase).encode("utf-8", "replace").decode("utf-8")
