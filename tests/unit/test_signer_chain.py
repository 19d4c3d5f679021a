"""The authorities in a signer's file: what is signed with them is accepted, or the file is refused before anything is signed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from crypto.errors import KeyUnavailableError
from crypto.keys import FileSigner, Signer, SignerSource, TrustStore, load_recipient_key, open_signer
from crypto.private_key import private_pem
from crypto.seal import sign, verify
from tests.packets import NOW, Authority, make_authority, make_signer

PEM = serialization.Encoding.PEM


class Fleet:
    """A booth under an authority under a root, and its file pair."""

    def __init__(self, folder: Path) -> None:
        self.root = make_authority("root")
        self.middle = make_authority("middle", self.root)
        self.booth: FileSigner = make_signer(self.middle)
        self.key = folder / "booth.key"
        self.key.touch(0o600)
        self.key.write_bytes(private_pem(self.booth._key))
        self.trust = TrustStore((self.root.certificate,))

    def signer(self, *authorities: Authority) -> Signer:
        certificates: list[x509.Certificate] = [self.booth.certificate, *(one.certificate for one in authorities)]
        self.key.with_suffix(".pem").write_bytes(b"".join(one.public_bytes(PEM) for one in certificates))
        return open_signer(f"file:{self.key}")


@pytest.fixture
def fleet(tmp_path) -> Fleet:
    return Fleet(tmp_path)


def test_a_root_in_the_file_is_left_out(fleet):
    signer = fleet.signer(fleet.middle, fleet.root)
    assert verify(sign(b"package", signer, NOW), fleet.trust).content == b"package"
    assert list(signer.chain) == [fleet.middle.certificate]


def test_authorities_in_another_order_are_put_into_theirs(fleet):
    upper = make_authority("upper", fleet.root)
    lower = make_authority("lower", upper)
    fleet.booth = make_signer(lower)
    fleet.key.write_bytes(private_pem(fleet.booth._key))
    signer = fleet.signer(fleet.root, upper, lower)
    assert list(signer.chain) == [lower.certificate, upper.certificate]
    assert verify(sign(b"package", signer, NOW), fleet.trust).content == b"package"


def test_certificates_beside_the_path_and_too_many_are_refused(fleet):
    for others in ([fleet.middle, make_authority("another", fleet.root)], [fleet.middle, fleet.middle]):
        with pytest.raises(KeyUnavailableError, match="lead"):
            fleet.signer(*others)
    path = [fleet.root]
    for number in range(3):
        path.append(make_authority(f"authority {number}", path[-1]))
    fleet.booth = make_signer(path[-1])
    fleet.key.write_bytes(private_pem(fleet.booth._key))
    with pytest.raises(KeyUnavailableError, match="lead"):
        fleet.signer(*reversed(path))


def test_a_fifo_in_place_of_a_key_holds_nobody(fleet, tmp_path):
    fleet.signer(fleet.middle)
    fleet.key.unlink()
    os.mkfifo(fleet.key, 0o600)
    with pytest.raises(KeyUnavailableError, match="regular"):
        SignerSource(f"file:{fleet.key}").current()
    os.mkfifo(tmp_path / "desk.hpke", 0o600)
    with pytest.raises(KeyUnavailableError, match="regular"):
        load_recipient_key(tmp_path / "desk.hpke")
