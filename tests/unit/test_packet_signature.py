"""The signature inside a packet: one form of CMS is accepted, every other is refused, and openssl reads it too."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest
from asn1crypto import cms as asn1_cms
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.cms import sign_content, verify_content
from crypto.errors import (
    CertificateRefusedError,
    SignatureRefusedError,
)
from crypto.keys import Purpose, TrustStore
from crypto.package import build_package
from crypto.seal import (
    open_packet,
    sign,
    verify,
)
from crypto.trust import CONTENT_PACKAGE, CONTENT_TREE_HEAD
from tests.packets import (
    NOW,
    World,
    fields_for,
    flipped,
    make_authority,
    make_cached_world,
    make_signer,
    make_world,
)

PEM = serialization.Encoding.PEM


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


# --- the CMS inside


@pytest.fixture(scope="module")
def cms(world) -> bytes:
    return sign(build_package(fields_for(world.desk.key_id), {"a": b""}).data, world.booth, NOW)


def refusal(data: bytes, world: World) -> str:
    with pytest.raises((SignatureRefusedError, CertificateRefusedError)) as caught:
        verify(data, world.trust)
    return str(caught.value)


def test_flipping_any_byte_of_the_cms_is_refused(world, cms):
    for at in range(len(cms)):
        refusal(flipped(cms, at), world)


def test_truncated_and_extended_cms_is_refused(world, cms):
    for end in range(0, len(cms), 7):
        refusal(cms[:end], world)
    refusal(cms + b"\x00", world)
    refusal(cms + cms, world)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_spliced_cms_is_refused_with_our_own_errors(data):
    world = make_cached_world()
    cms = sign_once(world)
    start = data.draw(st.integers(0, len(cms)))
    end = data.draw(st.integers(start, min(len(cms), start + 40)))
    changed = cms[:start] + data.draw(st.binary(max_size=40)) + cms[end:]
    if changed != cms:
        refusal(changed, world)


def sign_once(world: World, made: list[bytes] = []) -> bytes:  # noqa: B006 - one signature for all examples of hypothesis
    if not made:
        made.append(sign(b"content", world.booth, NOW))
    return made[0]


def edited(cms: bytes, edit) -> bytes:
    """The CMS after a change through an ASN.1 library, written again with right lengths everywhere."""
    info = asn1_cms.ContentInfo.load(cms)
    edit(info["content"])
    changed: bytes = info.dump(force=True)
    assert changed != cms
    return changed


def test_the_frame_is_the_only_one(world, cms):
    other = make_signer(world.authority, "booth-0002")
    other_cms = asn1_cms.ContentInfo.load(sign(b"x", other, NOW))["content"]

    def two_signers(data):
        data["signer_infos"] = [data["signer_infos"][0], other_cms["signer_infos"][0]]

    def no_signer(data):
        data["signer_infos"] = []

    def extra_certificate(data):
        data["certificates"] = [data["certificates"][0], other_cms["certificates"][0]]

    def root_included(data):
        root = world.authority.certificate.public_bytes(serialization.Encoding.DER)
        data["certificates"] = [data["certificates"][0], asn1_cms.CertificateChoices.load(root)]

    def certificate_twice(data):
        data["certificates"] = [data["certificates"][0], data["certificates"][0]]

    def other_certificate(data):
        data["certificates"] = other_cms["certificates"]

    def no_certificates(data):
        data["certificates"] = []

    def detached(data):
        data["encap_content_info"] = {"content_type": data["encap_content_info"]["content_type"].native}

    def unsigned_attribute(data):
        data["signer_infos"][0]["unsigned_attrs"] = [data["signer_infos"][0]["signed_attrs"][0]]

    def attribute_missing(data):
        attributes = data["signer_infos"][0]["signed_attrs"]
        data["signer_infos"][0]["signed_attrs"] = [attributes[i] for i in range(3)]

    def attribute_twice(data):
        attributes = data["signer_infos"][0]["signed_attrs"]
        data["signer_infos"][0]["signed_attrs"] = [attributes[i] for i in (0, 1, 2, 3, 3)]

    def no_attributes(data):
        del data["signer_infos"][0]["signed_attrs"]

    def weaker_digest(data):
        data["signer_infos"][0]["digest_algorithm"] = {"algorithm": "sha256"}

    def weaker_signature(data):
        data["signer_infos"][0]["signature_algorithm"] = {"algorithm": "sha1_ecdsa"}

    def another_version(data):
        data["version"] = "v1"

    def plain_data(data):
        data["encap_content_info"] = {"content_type": "data", "content": data["encap_content_info"]["content"].native}

    for edit in (
        *(
            two_signers,
            no_signer,
            extra_certificate,
            root_included,
            certificate_twice,
            other_certificate,
            no_certificates,
        ),
        *(detached, unsigned_attribute, attribute_missing, attribute_twice, no_attributes, weaker_digest),
        *(weaker_signature, another_version, plain_data),
    ):
        assert refusal(edited(cms, edit), world), edit.__name__


def test_a_changed_content_is_told_as_such(world, cms):
    at = cms.index(b"manifest.json")
    assert "not the one that was signed" in refusal(flipped(cms, at), world)


def test_an_indefinite_length_is_not_der(world, cms):
    assert cms[1] == 0x82
    assert "DER" in refusal(cms[:1] + b"\x80" + cms[4:] + b"\x00\x00", world)


def test_one_kind_of_content_is_not_taken_for_another(world):
    receipt = sign_content(b"{}", CONTENT_TREE_HEAD, world.booth, Purpose.BOOTH, NOW)
    assert "one form" in refusal(receipt, world)


def test_a_signature_of_another_key_under_the_same_certificate_is_wrong(world, cms):
    thief = replace(make_signer(world.authority), certificate=world.booth.certificate)
    assert "signature is wrong" in refusal(sign(b"x", thief, NOW), world)


def test_too_large_content_is_refused_by_its_size(world):
    with pytest.raises(SignatureRefusedError, match="limit"):
        verify_content(bytes(50_000), CONTENT_PACKAGE, 1_000, world.trust, Purpose.BOOTH)


def test_signing_times_from_2050_on_are_written_as_generalized_time():
    later = NOW.replace(year=2051)
    authority = make_authority(end=NOW + timedelta(days=20_000))
    booth = make_signer(authority, end=NOW + timedelta(days=20_000))
    verified = verify(sign(b"x", booth, later), TrustStore((authority.certificate,)))
    assert verified.signing_time == later


# --- others read it too


openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl: apt-get install openssl")


@pytest.fixture
def files(world, tmp_path):
    """What `booth packet open` leaves: the CMS, beside it the trusted authority."""
    opened = open_packet(world.packet, [world.desk], world.trust)
    (tmp_path / "package.cms").write_bytes(opened.cms)
    (tmp_path / "ca.pem").write_bytes(world.authority.certificate.public_bytes(PEM))
    (tmp_path / "other.pem").write_bytes(make_authority("root").certificate.public_bytes(PEM))
    return tmp_path


def run_openssl(folder, *more: str, ca: str = "ca.pem") -> subprocess.CompletedProcess[str]:
    """The command that docs/packet.md gives."""
    command = ["openssl", "cms", "-verify", "-inform", "DER", "-in", "package.cms", "-purpose", "any", "-attime"]
    times = [str(int(NOW.timestamp())), "-CAfile", ca, "-out", "package.zip"]
    return subprocess.run([*command, *times, *more], cwd=folder, capture_output=True, text=True, check=False)


@openssl
def test_openssl_accepts_the_signature_and_gives_the_package(world, files):
    run = run_openssl(files)
    assert run.returncode == 0, run.stderr
    assert "successful" in run.stderr
    assert (files / "package.zip").read_bytes() == world.package.data
    if shutil.which("unzip"):
        subprocess.run(["unzip", "-t", "package.zip"], cwd=files, check=True, capture_output=True)


@openssl
def test_openssl_also_accepts_it_as_cades(files):
    assert run_openssl(files, "-cades").returncode == 0


@openssl
def test_openssl_refuses_another_authority_and_every_changed_content(world, files):
    assert run_openssl(files, ca="other.pem").returncode != 0
    good = (files / "package.cms").read_bytes()
    start = good.index(world.package.data)
    for at in (start, start + len(world.package.data) // 2, start + len(world.package.data) - 1, len(good) - 1):
        (files / "package.cms").write_bytes(flipped(good, at))
        assert run_openssl(files).returncode != 0


@openssl
def test_a_signature_by_openssl_in_another_form_is_not_accepted(world, tmp_path):
    key = world.booth._key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "k").write_bytes(key)
    (tmp_path / "c").write_bytes(world.booth.certificate.public_bytes(PEM))
    (tmp_path / "package.zip").write_bytes(world.package.data)
    command = (
        "openssl cms -sign -binary -nodetach -md sha384 -in package.zip -signer c -inkey k -outform DER -out other.cms"
    )
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    refusal((tmp_path / "other.cms").read_bytes(), world)
