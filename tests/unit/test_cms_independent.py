"""The signature judged by others: asn1crypto and cryptography alone, without a line of our reader (docs/decisions/0005).

`judged` is what a back office would write from docs/packet.md with an ASN.1 library: it takes the structure apart, asks every question of
the page and gives content, signer and time. What our reader accepts it must accept, with the same answers; what it refuses must not pass ours.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from asn1crypto import cms as asn1_cms
from asn1crypto import tsp  # knows the attribute signing-certificate-v2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from crypto.errors import CryptoError
from crypto.keys import FileSigner, TrustStore
from crypto.package import build_package
from crypto.seal import sign, verify
from tests.packets import BOOTH, NOW, PARTS, World, fields_for, flipped, make_authority, make_signer, make_world

DER = serialization.Encoding.DER
ARC = "2.25.52442001127300817780274782003825495950"
ATTRIBUTES = ("content_type", "message_digest", "signing_certificate_v2", "signing_time")


class RefusedError(Exception):
    """One of the page's questions has the wrong answer."""


def ask(answer: object, question: str) -> None:
    if not answer:
        raise RefusedError(question)


def judged(cms: bytes, root: x509.Certificate) -> tuple[bytes, x509.Certificate, datetime]:
    info = asn1_cms.ContentInfo.load(cms, strict=True)
    ask(info.dump(force=True) == cms, "one DER")
    ask(info["content_type"].native == "signed_data", "signed data")
    data = info["content"]
    ask(data["version"].native == "v3", "version 3")
    ask([one["algorithm"].native for one in data["digest_algorithms"]] == ["sha384"], "SHA-384")
    ask(data["crls"].native is None, "no lists")
    ask(data["encap_content_info"]["content_type"].dotted == f"{ARC}.2.1", "a package")
    content = bytes(data["encap_content_info"]["content"])
    certificates = [x509.load_der_x509_certificate(one.dump()) for one in data["certificates"]]
    ask(len(data["signer_infos"]) == 1, "one signer")
    (signer,) = data["signer_infos"]
    leaf, above = split(signer, certificates)
    at = check_attributes(signer, content, leaf)
    check_chain([leaf, *above, root], at)
    return content, leaf, at


def split(signer, certificates: list[x509.Certificate]) -> tuple[x509.Certificate, list[x509.Certificate]]:
    ask(signer["version"].native == "v1", "signer by issuer and serial number")
    ask(signer["digest_algorithm"]["algorithm"].native == "sha384", "SHA-384")
    ask(signer["signature_algorithm"]["algorithm"].native == "sha384_ecdsa", "ECDSA with SHA-384")
    ask(signer["unsigned_attrs"].native is None, "no unsigned attributes")
    named = signer["sid"].chosen
    (leaf,) = [
        one
        for one in certificates
        if one.serial_number == named["serial_number"].native and one.issuer.public_bytes() == named["issuer"].dump()
    ]
    above, current = [], leaf
    while rest := [one for one in certificates if one not in (leaf, *above)]:
        ask(next_ := [one for one in rest if one.subject == current.issuer], "certificates of the path alone")
        current = next_[0]
        above.append(current)
    return leaf, above


def check_attributes(signer, content: bytes, leaf: x509.Certificate) -> datetime:
    attributes = {one["type"].native: one["values"] for one in signer["signed_attrs"]}
    ask(sorted(attributes) == sorted(ATTRIBUTES) and len(signer["signed_attrs"]) == len(ATTRIBUTES), "four attributes")
    ask(all(len(values) == 1 for values in attributes.values()), "one value each")
    ask(attributes["content_type"][0].dotted == f"{ARC}.2.1", "content type")
    ask(attributes["message_digest"][0].native == hashlib.sha384(content).digest(), "digest")
    named = attributes["signing_certificate_v2"][0]
    assert isinstance(named, tsp.SigningCertificateV2)
    (one,) = named["certs"]
    ask(one["hash_algorithm"]["algorithm"].native == "sha384", "SHA-384 of the certificate")
    ask(one["cert_hash"].native == hashlib.sha384(leaf.public_bytes(DER)).digest(), "the certificate")
    ask(one["issuer_serial"]["serial_number"].native == leaf.serial_number, "its serial number")
    (issuer,) = one["issuer_serial"]["issuer"]
    ask(issuer.chosen.untag().dump() == leaf.issuer.public_bytes(), "its issuer")
    key = leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    ask(key.curve.name == "secp384r1", "P-384")
    signed = signer["signed_attrs"].untag().dump()
    try:
        key.verify(signer["signature"].native, signed, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature as err:
        raise RefusedError("signature") from err
    time = attributes["signing_time"][0].native
    assert isinstance(time, datetime)
    return time.astimezone(UTC)


def check_chain(path: list[x509.Certificate], at: datetime) -> None:
    leaf, *authorities = path
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    ask([one.dotted_string for one in purposes] == [f"{ARC}.1.1"], "the purpose booth")
    ask(usage.digital_signature and not usage.key_cert_sign and not usage.crl_sign, "signs data only")
    for one in path:
        ask(one.not_valid_before_utc <= at <= one.not_valid_after_utc, "valid at signing time")
    for one in authorities:
        ask(one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca, "an authority")
        ask(one.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign, "may sign certificates")
    for issued, issuer in zip(path, authorities, strict=False):
        try:
            issued.verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError) as err:
            raise RefusedError("issued by the next one") from err


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def below_intermediate(world: World) -> FileSigner:
    middle = make_authority("middle", world.authority, path_length=0)
    return make_signer(middle, chain=(middle.certificate,))


@pytest.mark.parametrize("below", [False, True])
def test_others_read_the_same_content_signer_and_time(world, below):
    booth = below_intermediate(world) if below else world.booth
    package = build_package(fields_for(world.desk.key_id), PARTS)
    cms = sign(package.data, booth, NOW + timedelta(seconds=17))
    content, leaf, at = judged(cms, world.authority.certificate)
    ours = verify(cms, world.trust)
    assert content == ours.content == package.data
    assert leaf == ours.signer == booth.certificate
    assert at == ours.signing_time == NOW + timedelta(seconds=17)
    assert leaf.subject.rfc4514_string() == f"CN={BOOTH}"


def test_times_after_2049_are_read_alike():
    authority = make_authority(end=NOW + timedelta(days=20_000))
    booth = make_signer(authority, end=NOW + timedelta(days=20_000))
    later = NOW.replace(year=2051)
    cms = sign(b"x", booth, later)
    assert judged(cms, authority.certificate)[2] == verify(cms, TrustStore((authority.certificate,))).signing_time


def test_others_refuse_another_root_and_an_expired_certificate(world):
    cms = sign(b"content", world.booth, NOW)
    with pytest.raises(RefusedError, match="issued"):
        judged(cms, make_authority("root").certificate)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crypto.cms.check_validity", lambda *_: None)
        late = sign(b"content", world.booth, NOW + timedelta(days=999))
    with pytest.raises(RefusedError, match="valid"):
        judged(late, world.authority.certificate)
    with pytest.raises(CryptoError):
        verify(late, world.trust)


def test_both_refuse_every_changed_byte(world):
    cms = sign(b"content", world.booth, NOW)
    assert judged(cms, world.authority.certificate)[0] == verify(cms, world.trust).content
    refused = 0
    for at in range(len(cms)):
        changed = flipped(cms, at)
        with pytest.raises(CryptoError):
            verify(changed, world.trust)
        try:
            judged(changed, world.authority.certificate)
        except Exception:  # noqa: BLE001 - asn1crypto has no error of its own: ValueError, TypeError, KeyError and others
            refused += 1
    assert refused == len(cms)
