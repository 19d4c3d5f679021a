"""A signing key that never leaves its token: a PKCS #11 device by URI (RFC 7512), through python-pkcs11.

Rules
  - The token signs a SHA-384 digest that is made here (CKM_ECDSA), so that any token with P-384 will do. Every signature is verified before it is
    given out: a token that miscalculates is told, not believed.
  - A key is used only when the token says that it is sensitive and cannot be extracted. Which key belongs to a certificate is found out by
    signing: the public key in the token may be missing or wrong.
  - A token that is away raises SigningError (retry): the session is dropped and opened again by the next call, the module started anew where it
    must be. Wrong PIN, locked PIN, missing key raise KeyUnavailableError: a person must act.
  - A wrong PIN is given once. Tokens lock after three, and a program that restarts would use them up: so a refused PIN is remembered by this
    process, and a token that counts a wrong PIN since the last right one (CKF_USER_PIN_COUNT_LOW) gets none unless a person asks for it (`insist`).
  - A module is started once in a process and used by one thread at a time (crypto.token_module).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pkcs11
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, TokenFlag

from crypto.errors import KeyUnavailableError, SigningError
from crypto.recipient import check_private_file
from crypto.token_module import Module, module_at
from crypto.token_uri import TokenUri, read_token_uri

T = TypeVar("T")

HALF = 48  # octets of r and of s on P-384
P384 = bytes.fromhex("06052b81040022")  # the curve as CKA_EC_PARAMS: OBJECT IDENTIFIER 1.3.132.0.34
# What is signed to find the key of a certificate; it can never be a package, a receipt or a request.
PROBE = b"Passbooth: does this key belong to this certificate?"
_PIN_ERRORS = (
    *(pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange, pkcs11.PinExpired, pkcs11.PinLocked),
    *(pkcs11.UserPinNotInitialized, pkcs11.PinTooWeak),
)
# After these the module itself may be out of order (SoftHSM2 stays so when its store was away), or not know a token that came later: it
# is started anew.
_MODULE_ERRORS = (
    *(pkcs11.GeneralError, pkcs11.DeviceError, pkcs11.FunctionFailed),
    *(pkcs11.SlotIDInvalid, pkcs11.NoSuchToken),
)


@dataclass(frozen=True, slots=True)
class KeyName:
    """What tells the keys of a token apart."""

    key_id: bytes
    label: str


@dataclass(frozen=True, slots=True)
class TokenState:
    """What a token says of itself."""

    label: str
    serial: str
    model: str
    pin_count_low: bool
    pin_locked: bool


class Token:
    """The token that a URI names, and the session with it. Any thread may ask."""

    def __init__(
        self, uri: TokenUri, secret: Callable[[], bytes | None], *, write: bool = False, insist: bool = False
    ) -> None:
        self.uri = uri
        self._secret = secret
        self._write = write
        self._insist = insist  # a person wants the PIN to be tried although a wrong one was given
        self._loaded: Module | None = None
        self._session: tuple[int, Any] | None = None  # the module's start that it belongs to

    def close(self) -> None:
        """Ends the session."""
        if self._loaded is not None:
            with self._loaded.lock:
                self._drop()

    def state(self) -> TokenState:
        """What the token says of itself; needs no PIN. Raises SigningError while it is away."""
        return self._do(lambda: _state(self._find()))

    def log_in(self) -> None:
        """Proves the PIN. Raises KeyUnavailableError or SigningError."""
        self._do(self._open)

    def names(self) -> tuple[KeyName, ...]:
        """The P-384 signing keys that the URI names."""
        return self._do(lambda: tuple(_name(key) for key in self._private_keys(None)))

    def require(self, name: KeyName) -> None:
        """That the token is there with this key."""
        self._do(lambda: self._key(name))

    def sign(self, name: KeyName, digest: bytes, public: ec.EllipticCurvePublicKey) -> bytes:
        """ECDSA over a SHA-384 digest, as DER, verified with `public`. Raises SigningError or KeyUnavailableError."""
        raw = self._do(lambda: bytes(self._key(name).sign(digest, mechanism=Mechanism.ECDSA)))
        signature = _der(raw)
        try:
            public.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA384())))
        except InvalidSignature as err:
            raise SigningError(f"The token {self.uri.name} made a signature that its key does not verify.") from err
        return signature

    def name_of(self, public: ec.EllipticCurvePublicKey) -> KeyName | None:
        """The key that signs what `public` verifies."""
        digest = hashlib.sha384(PROBE).digest()
        for name in self.names():
            try:
                self.sign(name, digest, public)
            except SigningError:
                self.require(name)  # away is an error; the wrong key is not
                continue
            return name
        return None

    def public_key(self, name: KeyName) -> ec.EllipticCurvePublicKey:
        """The public key that the token keeps beside a private one."""

        def read() -> ec.EllipticCurvePublicKey:
            wanted = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: name.key_id, Attribute.LABEL: name.label}
            for found in self._open().get_objects(wanted):
                return _point(bytes(found[Attribute.EC_POINT]))
            raise KeyUnavailableError(f"The token {self.uri.name} has no public key beside the private one.")

        return self._do(read)

    def generate(self, name: KeyName) -> ec.EllipticCurvePublicKey:
        """A new key pair that never leaves the token; its properties are read back and compared."""

        def make() -> ec.EllipticCurvePublicKey:
            session = self._open()
            curve = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: P384}, local=True)
            public, private = curve.generate_keypair(
                id=name.key_id,
                label=name.label,
                store=True,
                mechanism=Mechanism.EC_KEY_PAIR_GEN,
                capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
                private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.PRIVATE: True},
            )
            right = (Attribute.SENSITIVE, Attribute.ALWAYS_SENSITIVE, Attribute.NEVER_EXTRACTABLE, Attribute.LOCAL)
            if not all(private[one] for one in right) or private[Attribute.EXTRACTABLE]:
                private.destroy()
                public.destroy()
                raise KeyUnavailableError(f"The token {self.uri.name} makes keys that could leave it: use another one.")
            return _point(bytes(public[Attribute.EC_POINT]))

        return self._do(make)

    def destroy(self, key_id: bytes) -> None:
        """Removes a key pair of the URI's label."""

        def remove() -> None:
            wanted: dict[Attribute, Any] = {Attribute.ID: key_id}
            if self.uri.label is not None:
                wanted[Attribute.LABEL] = self.uri.label
            for found in list(self._open().get_objects(wanted)):
                found.destroy()

        self._do(remove)

    # --- inside; the module's lock is held ------------------------------------------------------------------------------

    @property
    def _module(self) -> Module:
        self._loaded = self._loaded or module_at(Path(self.uri.module))
        return self._loaded

    def _do(self, work: Callable[[], T]) -> T:
        """Work with the token: once more with a new session when the first was lost. The one place that translates."""
        with self._module.lock:
            for again in (True, False):
                try:
                    return work()
                except _PIN_ERRORS as err:
                    self._drop()
                    raise self._refused(err) from err
                except pkcs11.TokenWriteProtected as err:
                    raise KeyUnavailableError(f"The token {self.uri.name} cannot be written.") from err
                except pkcs11.MechanismInvalid as err:
                    raise KeyUnavailableError(f"The token {self.uri.name} does not know ECDSA on P-384.") from err
                except pkcs11.PKCS11Error as err:
                    self._drop()
                    if again:
                        self._revive(err)
                        continue
                    if isinstance(err, pkcs11.NoSuchKey):
                        raise KeyUnavailableError(
                            f"The token {self.uri.name} does not hold the certificate's key."
                        ) from err
                    absent = isinstance(err, pkcs11.NoSuchToken)
                    state = "is not there" if absent else f"does not answer ({type(err).__name__})"
                    raise SigningError(f"The token {self.uri.name} {state}; it is used again when it is back.") from err
        raise AssertionError

    def _revive(self, error: pkcs11.PKCS11Error) -> None:
        """Starts the module anew where that may help."""
        if isinstance(error, _MODULE_ERRORS) or type(error) is pkcs11.PKCS11Error:
            with contextlib.suppress(pkcs11.PKCS11Error):  # then the second try says what is wrong
                self._module.start_anew()

    def _refused(self, error: pkcs11.PKCS11Error) -> KeyUnavailableError:
        if isinstance(error, pkcs11.PinLocked):
            return KeyUnavailableError(
                f"The PIN of the token {self.uri.name} is locked: its security officer must set a new one."
            )
        return KeyUnavailableError(
            f"The token {self.uri.name} refuses the PIN ({type(error).__name__}); it is not tried again: a token locks after a few. "
            "Correct keys.passphrase_file, then try it once with `booth keys pin`."
        )

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None and session[0] == self._module.starts:
            with contextlib.suppress(pkcs11.PKCS11Error):  # a session with a token that is gone has ended already
                session[1].close()

    def _find(self) -> Any:
        """The one token that the URI names."""
        found = []
        for slot in self._module.cryptoki.get_slots(token_present=True):
            if self.uri.slot_id not in {None, slot.slot_id}:
                continue
            try:
                token = slot.get_token()
            except (pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised):
                continue
            serial = token.serial.decode("utf-8", "replace")
            if self.uri.token in {None, token.label} and self.uri.serial in {None, serial}:
                found.append(token)
        if not found:
            raise pkcs11.NoSuchToken
        if len(found) > 1:
            raise KeyUnavailableError(f"There are {len(found)} tokens {self.uri.name}: add serial=… to its address.")
        return found[0]

    def _open(self) -> Any:
        """The session; opened and logged in when there is none."""
        if self._session is not None and self._session[0] == self._module.starts:
            return self._session[1]
        token = self._find()
        opened = self._log_in(token) if token.flags & TokenFlag.LOGIN_REQUIRED else token.open(rw=self._write)
        self._session = self._module.starts, opened
        return opened

    def _log_in(self, token: Any) -> Any:
        state = _state(token)
        if state.pin_locked:
            raise pkcs11.PinLocked
        pin = self._pin()
        mark = hashlib.sha256(pin.encode()).digest()
        if self._module.refused.get(token.serial) == mark:
            raise pkcs11.PinIncorrect
        if state.pin_count_low and not self._insist:
            raise KeyUnavailableError(
                f"A wrong PIN was given to the token {self.uri.name}, and no right one since: none is tried by itself. "
                "See that keys.passphrase_file is right, then try it once with `booth keys pin`."
            )
        try:
            return token.open(rw=self._write, user_pin=pin)
        except pkcs11.UserAlreadyLoggedIn:  # by another session of this process
            return token.open(rw=self._write)
        except pkcs11.PinIncorrect:
            self._module.refused[token.serial] = mark
            raise

    def _pin(self) -> str:
        secret = self._secret()
        if secret is None and self.uri.pin_source is not None:
            secret = _read_pin(Path(self.uri.pin_source))
        if secret is None:
            raise KeyUnavailableError(
                f"The token {self.uri.name} needs its PIN: name its file in keys.passphrase_file."
            )
        try:
            return secret.decode("utf-8")
        except UnicodeDecodeError:
            raise KeyUnavailableError(f"The PIN of the token {self.uri.name} is not UTF-8 text.") from None

    def _private_keys(self, name: KeyName | None) -> Iterator[Any]:
        wanted: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.KEY_TYPE: KeyType.EC}
        label = self.uri.label if name is None else name.label
        key_id = self.uri.key_id if name is None else name.key_id
        if label is not None:
            wanted[Attribute.LABEL] = label
        if key_id is not None:
            wanted[Attribute.ID] = key_id
        for key in list(self._open().get_objects(wanted)):
            if bytes(key[Attribute.EC_PARAMS]) == P384:
                yield key

    def _key(self, name: KeyName) -> Any:
        for key in self._private_keys(name):
            if not key[Attribute.SENSITIVE] or key[Attribute.EXTRACTABLE]:
                raise KeyUnavailableError(
                    f"The key in the token {self.uri.name} could leave it: make a new one with `booth keys init`."
                )
            return key
        raise pkcs11.NoSuchKey


@dataclass(frozen=True, slots=True)
class Pkcs11Signer:
    """A signing key in a token, with its certificate."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    token: Token = field(repr=False)
    name: KeyName
    _public: ec.EllipticCurvePublicKey = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        """ECDSA with P-384 and SHA-384, as DER. Raises SigningError while the token is away."""
        return self.token.sign(self.name, hashlib.sha384(data).digest(), self._public)


def open_token(uri: str, secret: Callable[[], bytes | None], *, write: bool = False, insist: bool = False) -> Token:
    """The token of a `pkcs11:` URI; nothing is asked of it yet."""
    return Token(read_token_uri(uri), secret, write=write, insist=insist)


def signer_in(token: Token, certificates: list[x509.Certificate]) -> Pkcs11Signer:
    """The signer of the certificate's key in a token. Raises KeyUnavailableError when there is none."""
    leaf, *chain = certificates
    public = leaf.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP384R1):
        raise KeyUnavailableError("The certificate is not for a P-384 key.")
    name = token.name_of(public)
    if name is None:
        raise KeyUnavailableError(f"No key in the token {token.uri.name} belongs to the certificate.")
    return Pkcs11Signer(leaf, tuple(chain), token, name, public)


def _state(token: Any) -> TokenState:
    return TokenState(
        label=str(token.label),
        serial=token.serial.decode("utf-8", "replace"),
        model=str(token.model).strip(),
        pin_count_low=bool(token.flags & TokenFlag.USER_PIN_COUNT_LOW),
        pin_locked=bool(token.flags & TokenFlag.USER_PIN_LOCKED),
    )


def _name(key: Any) -> KeyName:
    return KeyName(bytes(key.id), str(key.label))


def _der(raw: bytes) -> bytes:
    """r‖s as the DER of RFC 3279, 2.2.3."""
    if len(raw) != 2 * HALF:
        raise SigningError(f"The token gave a signature of {len(raw)} bytes; {2 * HALF} are right.")
    return encode_dss_signature(int.from_bytes(raw[:HALF], "big"), int.from_bytes(raw[HALF:], "big"))


def _point(value: bytes) -> ec.EllipticCurvePublicKey:
    """CKA_EC_POINT: the point as OCTET STRING (PKCS #11 2.40); some tokens leave that out."""
    point = value[2:] if value[:2] == bytes((0x04, 2 * HALF + 1)) else value
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), point)
    except ValueError as err:
        raise KeyUnavailableError("The token's public key is no point of P-384.") from err


def _read_pin(path: Path) -> bytes:
    check_private_file(path)
    try:
        return path.read_bytes().rstrip(b"\r\n")
    except OSError as err:
        raise KeyUnavailableError(f"The PIN's file {path} cannot be read: {err.strerror}.") from err
