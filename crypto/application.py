"""Application numbers: their form, their check character, and the digest that stands for one where the number must not. PURE.

Read at both ends: at the booth from what was typed or scanned, at the intake from imports and look-ups (docs/application.md). Rules:
  - A number is a body of letters A-Z and digits and one check character after ISO/IEC 7064, MOD 37,36; 8 to 20 characters together.
  - Reading forgives what hands and printers do: small letters, spaces, hyphens. It never guesses: O and 0, I and 1 are different characters,
    and the check character tells them apart.
  - Nothing of a number ever stands in an error.
"""

from __future__ import annotations

import hashlib

from crypto.errors import ApplicationNumberError

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # a character's value is its place (ISO/IEC 7064, MOD 37,36)
MIN_LENGTH = 8
MAX_LENGTH = 20
MAX_TEXT = 64  # of what was typed or scanned, with everything that is forgiven
DIGEST_CONTEXT = b"passbooth application v1\0"
GROUP = 4  # characters that people read at a time
_SEPARATORS = str.maketrans(dict.fromkeys("- \t\r\n"))
_MODULUS = len(ALPHABET)
_READABLE = frozenset(ALPHABET + ALPHABET.lower())
_CHARACTERS = "An application number has the letters A-Z and digits only."


def check_character(body: str) -> str:
    """The character that ends a number with this body. Raises `ApplicationNumberError` when the body has other characters, or none."""
    if not body or not set(body) <= set(ALPHABET):
        raise ApplicationNumberError("alphabet", _CHARACTERS)
    product = _MODULUS
    for character in body:
        total = (product + ALPHABET.index(character)) % _MODULUS or _MODULUS
        product = total * 2 % (_MODULUS + 1)
    return ALPHABET[(1 - product) % _MODULUS]


def parse_number(text: str) -> str:
    """The number in its one form: capitals, nothing between them. Raises `ApplicationNumberError` when the text is none."""
    if len(text) > MAX_TEXT:
        raise ApplicationNumberError("length", f"An application number has at most {MAX_LENGTH} characters.")
    number = text.translate(_SEPARATORS)
    if not set(number) <= _READABLE:  # before upper(), which makes ASCII of other letters
        raise ApplicationNumberError("alphabet", _CHARACTERS)
    number = number.upper()
    if not MIN_LENGTH <= len(number) <= MAX_LENGTH:
        raise ApplicationNumberError(
            "length", f"An application number has {MIN_LENGTH} to {MAX_LENGTH} characters with its check character."
        )
    if check_character(number[:-1]) != number[-1]:
        raise ApplicationNumberError("check", "The check character does not fit: a character is wrong or out of place.")
    return number


def grouped_number(number: str) -> str:
    """The number as people read it: in groups of four, hyphens between them. `parse_number` reads it again."""
    return "-".join(number[at : at + GROUP] for at in range(0, len(number), GROUP))


def application_digest(number: str) -> bytes:
    """What stands for the number where it must not be read (upload headers). The number is parsed first: one number has one digest."""
    return hashlib.sha256(DIGEST_CONTEXT + parse_number(number).encode("ascii")).digest()
