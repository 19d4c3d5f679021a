"""What the desk keeps under its secret: opens for its purpose and place alone; the file is private and told when it is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.desk_secret import DeskSecret, generate_desk_secret, load_desk_secret
from crypto.errors import KeyUnavailableError

SECRET = DeskSecret(bytes(range(32)))


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_what_was_sealed_opens_in_its_place_alone(plain, about):
    sealed = SECRET.seal("notes", plain, about)
    assert SECRET.open("notes", sealed, about) == plain
    for wrong in (
        lambda: SECRET.open("others", sealed, about),
        lambda: SECRET.open("notes", sealed, about + b"x"),
        lambda: generate_desk_secret().open("notes", sealed, about),
        lambda: SECRET.open("notes", sealed[:-1] + bytes([sealed[-1] ^ 1]), about),
        lambda: SECRET.open("notes", sealed[:11], about),
    ):
        with pytest.raises(KeyUnavailableError):
            wrong()


def test_two_seals_of_one_value_differ_and_two_hashes_do_not():
    assert SECRET.seal("notes", b"a", b"") != SECRET.seal("notes", b"a", b"")
    assert SECRET.mac("terms", b"a") == SECRET.mac("terms", b"a") != SECRET.mac("notes", b"a")
    # RFC 5869 with a purpose of its own, then RFC 2104: what a desk has in its database must stay found after an update.
    assert SECRET.mac("terms", b"a").hex() == EXPECTED


EXPECTED = "3810825e024e3048e33657cb76dff526560480e3d260e91459768ce0d032fe30"


def test_the_file_is_private_and_read_strictly(tmp_path):
    path = tmp_path / "desk.secret"
    path.write_bytes(SECRET.to_pem())
    path.chmod(0o644)
    with pytest.raises(KeyUnavailableError, match="chmod 600"):
        load_desk_secret(path)
    path.chmod(0o600)
    assert load_desk_secret(path) == SECRET
    assert "desk" not in repr(SECRET).lower().replace("desksecret", "")
    for wrong in (b"", b"x" * 2000, SECRET.to_pem()[:-20], SECRET.to_pem().replace(b"=", b"!"), b"\xff\xfe"):
        path.write_bytes(wrong)
        with pytest.raises(KeyUnavailableError):
            load_desk_secret(path)
    with pytest.raises(KeyUnavailableError):
        load_desk_secret(tmp_path / "none")
