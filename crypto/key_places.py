"""Where a booth's keys lie: in files, or in a token. Making the next key beside the present one, and letting go of the old one.

The certificate on disk says which key is the present one; a key without its certificate is waiting. Both places keep to one order, so that a
kill at any moment leaves the present pair usable and the work can be taken up again:
    make: the waiting key is there once (a second call finds it) → its certificate is written over the present one, whole or not at all →
    settle: the key of that certificate is the present one from now on.
Files: `booth.key` and, waiting, `booth.next.key`; settling is one rename, which ends the old key.
Token: keys of one label, told apart by id. `booth.keys.json` beside the certificate notes the ids that were made here and the one that waits,
before the key is made. An old key stays until the next one is made: a visit that is being sealed may still sign with it. Keys that were
made by other tools are used and never removed.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from crypto.errors import EnrolmentError, KeyUnavailableError
from crypto.key_folder import PRIVATE, PUBLIC, sync_folder, write_whole
from crypto.keys import load_key, next_key_file
from crypto.private_key import private_pem
from crypto.token import KeyName, Token

_ID_OCTETS = 8
_MAX_NOTES_BYTES = 65_536


class KeyPlace(Protocol):
    """Keys of one booth; `present` is the public key of the certificate on disk, None when there is none."""

    def find(self, public: ec.EllipticCurvePublicKey) -> ec.EllipticCurvePrivateKey | None:
        """The key with this public key."""
        ...

    def waiting(self, present: ec.EllipticCurvePublicKey | None) -> ec.EllipticCurvePrivateKey | None:
        """The key that has no certificate yet."""
        ...

    def make(self, present: ec.EllipticCurvePublicKey | None) -> ec.EllipticCurvePrivateKey:
        """The waiting key, made when there is none."""
        ...

    def settle(self, present: ec.EllipticCurvePublicKey) -> None:
        """The certificate on disk is this key's now."""
        ...

    def discard(self, present: ec.EllipticCurvePublicKey | None) -> None:
        """Removes the waiting key; never one with a certificate."""
        ...


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Keys in files, encrypted when there is a passphrase."""

    key: Path
    passphrase: bytes | None = None

    def find(self, public: ec.EllipticCurvePublicKey) -> ec.EllipticCurvePrivateKey | None:
        """The key with this public key."""
        return next((key for key in self._keys() if key.public_key() == public), None)

    def waiting(self, present: ec.EllipticCurvePublicKey | None) -> ec.EllipticCurvePrivateKey | None:
        """The key that has no certificate yet."""
        return next((key for key in reversed(self._keys()) if key.public_key() != present), None)

    def make(self, present: ec.EllipticCurvePublicKey | None) -> ec.EllipticCurvePrivateKey:
        """The waiting key, made when there is none."""
        known = self.waiting(present)
        if known is not None:
            return known
        made = ec.generate_private_key(ec.SECP384R1())
        path = next_key_file(self.key) if self.key.exists() else self.key
        write_whole(path, private_pem(made, self.passphrase), PRIVATE)
        return made

    def settle(self, present: ec.EllipticCurvePublicKey) -> None:
        """The certificate on disk is this key's now."""
        following = next_key_file(self.key)
        if following.exists() and load_key(following, self.passphrase).public_key() == present:
            following.replace(self.key)
            sync_folder(self.key.parent)

    def discard(self, present: ec.EllipticCurvePublicKey | None) -> None:
        """Removes the waiting key; never one with a certificate."""
        for path in (next_key_file(self.key), self.key):
            if path.exists() and load_key(path, self.passphrase).public_key() != present:
                path.unlink()
                sync_folder(self.key.parent)
                return

    def _keys(self) -> Sequence[ec.EllipticCurvePrivateKey]:
        return [load_key(path, self.passphrase) for path in (self.key, next_key_file(self.key)) if path.exists()]


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """Keys in a token, with the notes on them."""

    token: Token
    notes: Path

    def find(self, public: ec.EllipticCurvePublicKey) -> ec.EllipticCurvePrivateKey | None:
        """The key with this public key."""
        name = self.token.name_of(public)
        return None if name is None else TokenKey(self.token, name, public)

    def waiting(self, present: ec.EllipticCurvePublicKey | None) -> ec.EllipticCurvePrivateKey | None:
        """The key that has no certificate yet."""
        notes = self._read()
        for name in self.token.names():
            noted = name.key_id.hex()
            if noted == notes["waiting"] or noted not in notes["made"]:
                public = self.token.public_key(name)
                if public != present:
                    return TokenKey(self.token, name, public)
        return None

    def make(self, present: ec.EllipticCurvePublicKey | None) -> ec.EllipticCurvePrivateKey:
        """The waiting key, made when there is none; old keys that were made here are removed first."""
        known = self.waiting(present)
        if known is not None:
            return known
        pinned, label = self.token.uri.key_id, self.token.uri.label
        if label is None:
            raise EnrolmentError("The address in keys.signer names no label for a new key: add object=….")
        if pinned is not None and self.token.names():
            raise EnrolmentError(
                "The address in keys.signer names one key by its id: take id=… out to have a next one."
            )
        notes = self._read()
        in_use = None if present is None else self.token.name_of(present)
        kept = [] if in_use is None else [in_use.key_id.hex()]
        for old in notes["made"]:
            if old not in kept and old != notes["waiting"]:
                self.token.destroy(bytes.fromhex(old))
        noted = notes["waiting"] or (pinned or secrets.token_bytes(_ID_OCTETS)).hex()
        self._write(made=[*(one for one in kept if one in notes["made"]), noted], waiting=noted)
        key_id = bytes.fromhex(noted)
        self.token.destroy(key_id)  # the half of a pair that a kill left
        name = KeyName(key_id, label)
        return TokenKey(self.token, name, self.token.generate(name))

    def settle(self, present: ec.EllipticCurvePublicKey) -> None:
        """The certificate on disk is this key's now."""
        notes = self._read()
        if notes["waiting"] is None:
            return
        name = self.token.name_of(present)
        if name is not None and name.key_id.hex() == notes["waiting"]:
            self._write(made=notes["made"], waiting=None)

    def discard(self, present: ec.EllipticCurvePublicKey | None) -> None:
        """Removes the waiting key; never one with a certificate, nor one that another tool made."""
        notes = self._read()
        if notes["waiting"] is not None:
            self.token.destroy(bytes.fromhex(notes["waiting"]))
            self._write(made=[one for one in notes["made"] if one != notes["waiting"]], waiting=None)
        if self.waiting(present) is not None:
            raise EnrolmentError("The key that waits was not made here: remove it with the tool that made it.")

    def _read(self) -> dict[str, Any]:
        """The notes; none when nothing was made here."""
        if not self.notes.exists():
            return {"made": [], "waiting": None}
        try:
            with self.notes.open("rb") as file:
                notes = json.loads(file.read(_MAX_NOTES_BYTES))
            for one in (*notes["made"], notes["waiting"] or ""):
                bytes.fromhex(one)
        except OSError as err:
            raise KeyUnavailableError(f"The notes on keys {self.notes} cannot be read: {err.strerror}.") from err
        except (ValueError, TypeError, KeyError) as err:
            raise KeyUnavailableError(f"The notes on keys {self.notes} are damaged: remove the file.") from err
        return dict(notes)

    def _write(self, *, made: Sequence[str], waiting: str | None) -> None:
        write_whole(self.notes, json.dumps({"made": list(made), "waiting": waiting}).encode(), PUBLIC)


class TokenKey(ec.EllipticCurvePrivateKey):
    """A key in a token in the shape that the library asks for when it signs a certificate request. It shows nothing private."""

    def __init__(self, token: Token, name: KeyName, public: ec.EllipticCurvePublicKey) -> None:
        self._token, self._name, self._public = token, name, public

    @property
    def curve(self) -> ec.EllipticCurve:
        """P-384."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """In bits."""
        return self._public.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public key."""
        return self._public

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """ECDSA with SHA-384, as DER."""
        if not isinstance(signature_algorithm.algorithm, hashes.SHA384):
            raise KeyUnavailableError("A key in a token signs with SHA-384.")
        digest = hashes.Hash(hashes.SHA384())
        digest.update(data)
        return self._token.sign(self._name, digest.finalize(), self._public)

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        """Refused."""
        del algorithm, peer_public_key
        raise KeyUnavailableError("The booth's key signs and does nothing else.")

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        """Refused."""
        raise KeyUnavailableError("The private key never leaves the token.")

    def private_bytes(self, encoding: Any, format: Any, encryption_algorithm: Any) -> bytes:  # noqa: A002 - the library's name
        """Refused."""
        del encoding, format, encryption_algorithm
        raise KeyUnavailableError("The private key never leaves the token.")

    def __copy__(self) -> TokenKey:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> TokenKey:
        return self
