"""The address of a key in a token: RFC 7512 as far as it is used, and everything else refused by name."""

from __future__ import annotations

from pathlib import PurePosixPath

import hypothesis.strategies as st
import pytest
from hypothesis import given

from crypto.errors import KeyUnavailableError
from crypto.token_uri import read_token_uri

MODULE = "?module-path=/usr/lib/softhsm/libsofthsm2.so"


def test_every_part_is_read():
    uri = read_token_uri(
        f"pkcs11:token=Booth%20No%201;serial=4c0d;slot-id=7;object=b%C3%BC;id=%01%ff;type=private{MODULE}&pin-source=file:/run/pin"
    )
    assert (uri.token, uri.serial, uri.slot_id, uri.label, uri.key_id) == ("Booth No 1", "4c0d", 7, "bü", b"\x01\xff")
    assert uri.module == PurePosixPath("/usr/lib/softhsm/libsofthsm2.so")
    assert uri.pin_source == PurePosixPath("/run/pin")


def test_what_is_left_out_is_none():
    uri = read_token_uri(f"pkcs11:serial=1;id=a{MODULE}")
    assert (uri.token, uri.slot_id, uri.label, uri.pin_source) == (None, None, None, None)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("file:/k", "no key in a token"),
        ("PKCS11:token=a;object=b" + MODULE, "no key in a token"),
        ("pkcs11:", "names no token"),
        ("pkcs11:token=a;object=b", "names no module"),
        ("pkcs11:token=a;object=b?", "question mark"),
        ("pkcs11:token=a" + MODULE, "names no key"),
        ("pkcs11:object=a" + MODULE, "names no token"),
        ("pkcs11:token=a;object=b;type=cert" + MODULE, "another type"),
        ("pkcs11:token=a;token=b;object=b" + MODULE, "twice"),
        ("pkcs11:token=a;object=b;model=x" + MODULE, "model"),
        ("pkcs11:token=a;object=b;x-mine=x" + MODULE, "x-mine"),
        ("pkcs11:token=a;object=b" + MODULE + "&module-name=soft", "module-name"),
        ("pkcs11:token=a;object=b" + MODULE + "&pin-source=|cat", "pin-source"),
        ("pkcs11:token=a;object=b?module-path=lib.so", "module-path"),
        ("pkcs11:token=a;;object=b" + MODULE, "without a name"),
        ("pkcs11:token;object=b" + MODULE, "without a name"),
        ("pkcs11:token=a b;object=b" + MODULE, "percent-encoded"),
        ("pkcs11:token=a%2;object=b" + MODULE, "percent-encoded"),
        ("pkcs11:token=%ff;object=b" + MODULE, "UTF-8"),
        ("pkcs11:token=%00;object=b" + MODULE, "cannot be shown"),
        ("pkcs11:token=;object=b" + MODULE, "empty or too long"),
        ("pkcs11:token=" + "a" * 33 + ";object=b" + MODULE, "empty or too long"),
        ("pkcs11:slot-id=01;object=b" + MODULE, "no number"),
        ("pkcs11:slot-id=-1;object=b" + MODULE, "no number"),
        ("pkcs11:token=" + "a" * 2000, "no key in a token"),
    ],
)
def test_everything_else_is_refused_and_says_what_is_wrong(uri, words):
    with pytest.raises(KeyUnavailableError, match=words):
        read_token_uri(uri)


@pytest.mark.parametrize("where", [";pin-value=4711" + MODULE, MODULE + "&pin-value=4711"])
def test_a_pin_in_the_address_is_refused_and_not_repeated(where):
    with pytest.raises(KeyUnavailableError, match="holds a PIN") as caught:
        read_token_uri("pkcs11:token=a;object=b" + where)
    assert "4711" not in str(caught.value)


@given(st.text(st.characters(max_codepoint=0x17F), max_size=80))
def test_no_text_breaks_the_reader(text):
    with pytest.raises(KeyUnavailableError):
        read_token_uri("pkcs11:" + text)
    try:
        read = read_token_uri(f"pkcs11:token=a;object=b;{text}{MODULE}")
    except KeyUnavailableError:
        return
    assert read.label == "b"
