"""PURE: the address of a key in a token, read from a `pkcs11:` URI (RFC 7512), strictly.

Taken: `token`, `serial`, `slot-id` (at least one), `object`, `id` (at least one), `type=private` in the path; `module-path` (always) and
`pin-source` in the query. Everything else that the RFC knows, and everything that it does not know, is refused by name: an attribute that is
overlooked could choose another key. `pin-value` is refused because settings are not a place for a PIN. No message repeats a value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from crypto.errors import KeyUnavailableError

MAX_URI = 1_024
# RFC 7512, 2.3: unreserved, pk11-res-avail and percent-encoded octets, with "&" in the path, with "/", "?" and "|" in the query.
_PATH_VALUE = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=&]|%[0-9A-Fa-f]{2})*")
_QUERY_VALUE = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/?|]|%[0-9A-Fa-f]{2})*")
_NAME = re.compile(r"[a-z][a-z0-9\-]*")
_PATH_NAMES = frozenset({"token", "serial", "slot-id", "object", "id", "type"})
_QUERY_NAMES = frozenset({"module-path", "pin-source"})
# CK_TOKEN_INFO: label of 32 and serial number of 16 octets (PKCS #11 2.40, 3.2).
_LABEL_OCTETS, _SERIAL_OCTETS, _ID_OCTETS, _OBJECT_OCTETS = 32, 16, 64, 255


@dataclass(frozen=True, slots=True)
class TokenUri:
    """Where a key is. Fields that are None may be anything."""

    module: PurePosixPath
    token: str | None = None
    serial: str | None = None
    slot_id: int | None = None
    label: str | None = None
    key_id: bytes | None = None
    pin_source: PurePosixPath | None = None

    @property
    def name(self) -> str:
        """The token, for messages."""
        if self.token is not None:
            return ascii(self.token)
        return f"of serial number {self.serial!a}" if self.serial is not None else f"in slot {self.slot_id}"


def read_token_uri(uri: str) -> TokenUri:
    """The address in a `pkcs11:` URI. Raises KeyUnavailableError."""
    if not uri.startswith("pkcs11:") or len(uri) > MAX_URI:
        raise KeyUnavailableError("This names no key in a token: use pkcs11:token=…;object=…?module-path=/….so.")
    path, mark, query = uri.removeprefix("pkcs11:").partition("?")
    if mark and not query:
        raise _refused("ends with a question mark")
    found = _attributes(path, ";", _PATH_NAMES, _PATH_VALUE)
    asked = _attributes(query, "&", _QUERY_NAMES, _QUERY_VALUE)
    if found.get("type", b"private") != b"private":
        raise _refused("asks for another type than private")
    if not found.keys() & {"token", "serial", "slot-id"}:
        raise _refused("names no token: add token=…")
    if not found.keys() & {"object", "id"}:
        raise _refused("names no key in the token: add object=…")
    if "module-path" not in asked:
        raise _refused("names no module: add ?module-path=/path/to/the/token's.so")
    return TokenUri(
        module=_absolute(asked["module-path"], "module-path"),
        token=_text(found, "token", _LABEL_OCTETS),
        serial=_text(found, "serial", _SERIAL_OCTETS),
        slot_id=_number(found["slot-id"]) if "slot-id" in found else None,
        label=_text(found, "object", _OBJECT_OCTETS),
        key_id=_octets(found, "id", _ID_OCTETS),
        pin_source=_absolute(asked["pin-source"].removeprefix(b"file:"), "pin-source")
        if "pin-source" in asked
        else None,
    )


def _attributes(text: str, separator: str, known: frozenset[str], form: re.Pattern[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise _refused("has an attribute without a name or a value")
        if name == "pin-value":
            raise _refused("holds a PIN: put it into keys.passphrase_file, and change it")
        if name not in known:
            raise _refused(f"has the attribute {name[:40]}, which is not used here")
        if name in found:
            raise _refused(f"has the attribute {name} twice")
        if not form.fullmatch(value):
            raise _refused(f"has characters in {name} that must be percent-encoded")
        found[name] = _decoded(value)
    return found


def _decoded(value: str) -> bytes:
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda hit: bytes((int(hit[1], 16),)), value.encode("ascii"))


def _octets(found: dict[str, bytes], name: str, most: int) -> bytes | None:
    value = found.get(name)
    if value is not None and not 0 < len(value) <= most:
        raise _refused(f"has an empty or too long {name}")
    return value


def _text(found: dict[str, bytes], name: str, most: int) -> str | None:
    value = _octets(found, name, most)
    try:
        text = None if value is None else value.decode("utf-8")
    except UnicodeDecodeError as err:
        raise _refused(f"has a {name} that is not UTF-8") from err
    if text is not None and not text.isprintable():
        raise _refused(f"has a {name} with characters that cannot be shown")
    return text


def _number(value: bytes) -> int:
    if not re.fullmatch(rb"0|[1-9][0-9]{0,18}", value):
        raise _refused("has a slot-id that is no number")
    return int(value)


def _absolute(value: bytes, name: str) -> PurePosixPath:
    try:
        path = PurePosixPath(value.decode("utf-8"))
    except UnicodeDecodeError as err:
        raise _refused(f"has a {name} that is not UTF-8") from err
    if not path.is_absolute() or "\0" in str(path):
        raise _refused(f"has a {name} that is no absolute path of a file")
    return path


def _refused(why: str) -> KeyUnavailableError:
    return KeyUnavailableError(f"The pkcs11: address of the key {why}.")
