"""Signed requests: the intake knows which booth asks for what with which content, and nothing of it can be changed."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import http_signature
from crypto.errors import CryptoError, RequestClockError, RequestSignatureError, SigningError
from crypto.http_signature import (
    MAX_HEADER_CHARACTERS,
    WINDOW_S,
    check_content,
    sign_request,
    verify_request,
    verify_request_head,
)
from crypto.trust import TrustStore
from tests.packets import BOOTH, NOW, World, make_authority, make_signer, make_world

URL = "https://intake.example:8443/v1/packets/0123?x=1"
BODY = b"sealed packet"


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def headers(world) -> dict[str, str]:
    return sign_request(
        "PUT", URL, {"Content-Type": "application/vnd.passbooth.packet"}, BODY, world.booth, created=NOW
    )


def refusal(world: World, headers, *, method="PUT", url=URL, body=BODY, now=NOW) -> str:
    with pytest.raises(RequestSignatureError) as caught:
        verify_request(method, url, headers, body, world.trust, now)
    return str(caught.value)


def test_the_intake_learns_who_asks_and_for_which_content(world, headers):
    request = verify_request("PUT", URL, headers, BODY, world.trust, NOW)
    assert request.booth_id == BOOTH
    assert request.certificate == world.booth.certificate
    assert request.created == NOW
    assert request.content_length == len(BODY)
    assert request.content_sha256 == hashlib.sha256(BODY).hexdigest()
    assert len(request.nonce) >= 16


def test_header_names_may_come_in_any_case_and_others_do_not_matter(world, headers):
    upper = {name.upper(): value for name, value in headers.items()} | {"Date": "x", "User-Agent": "ü"}
    assert verify_request("PUT", URL, upper, BODY, world.trust, NOW)


def test_every_request_has_its_own_nonce(world):
    nonces = set()
    for _ in range(5):
        made = sign_request("GET", URL, {}, b"", world.booth, created=NOW)
        nonces.add(verify_request("GET", URL, made, b"", world.trust, NOW).nonce)
    assert len(nonces) == 5


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_requests_without_content_are_signed_too(world, method):
    made = sign_request(method, URL, {}, b"", world.booth, created=NOW)
    assert "Content-Digest" not in made
    assert verify_request(method, URL, made, b"", world.trust, NOW).content_length == 0
    assert "content" in refusal(world, made, method=method, body=b"smuggled")
    assert "content" in refusal(world, made | {"Content-Length": "8"}, method=method, body=b"")
    assert "content" in refusal(world, made | {"Transfer-Encoding": "chunked"}, method=method, body=b"")
    assert refusal(world, made, method="HEAD" if method == "GET" else "GET", body=b"")
    with pytest.raises(RequestSignatureError):
        sign_request(method, URL, {}, b"content", world.booth)


def test_an_empty_put_is_a_request_with_content(world):
    made = sign_request("PUT", URL, {}, b"", world.booth, created=NOW)
    assert verify_request("PUT", URL, made, b"", world.trust, NOW).content_length == 0


def test_method_address_and_content_cannot_be_changed(world, headers):
    assert "wrong" in refusal(world, headers, method="POST")
    assert refusal(world, headers, method="GET", body=b"")
    for url in (
        URL.replace("0123", "0124"),
        URL.replace("x=1", "x=2"),
        URL.replace("https", "http"),
        URL + "#"[:0] + "&y",
    ):
        assert "wrong" in refusal(world, headers, url=url)
    assert "wrong" in refusal(world, headers, url=URL.replace("8443", "443"))
    for body in (b"", BODY + b"!", b"Sealed packet"):
        assert "content" in refusal(world, headers, body=body)


def test_the_content_can_be_checked_after_the_head(world, headers):
    request = verify_request_head("PUT", URL, headers, world.trust, NOW)
    check_content(request, len(BODY), hashlib.sha256(BODY).hexdigest())
    for length, digest in ((len(BODY) + 1, request.content_sha256), (len(BODY), "0" * 64)):
        with pytest.raises(RequestSignatureError, match="content"):
            check_content(request, length, digest)


@pytest.mark.parametrize(
    "name", ["Signature", "Signature-Input", "Booth-Certificate", "Content-Digest", "Content-Length"]
)
def test_no_header_of_the_signature_may_be_missing_changed_or_twice(world, headers, name):
    assert refusal(world, {key: value for key, value in headers.items() if key != name})
    assert refusal(world, headers | {name: ""})
    assert refusal(world, headers | {name: "x" * (MAX_HEADER_CHARACTERS + 1)})
    assert refusal(world, headers | {name: headers[name] + "ü"})
    assert "twice" in refusal(world, headers | {name.lower(): headers[name]})


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_change_of_the_headers_is_refused_with_our_own_error(data):
    world, headers = signed_once()
    name = data.draw(st.sampled_from(sorted(headers)))
    value = headers[name]
    at = data.draw(st.integers(0, len(value) - 1))
    letter = data.draw(st.characters(min_codepoint=32, max_codepoint=126))
    changed = value[:at] + letter + value[at + 1 :]
    if changed == value:
        return
    with pytest.raises(RequestSignatureError):
        verify_request("PUT", URL, headers | {name: changed}, BODY, world.trust, NOW)


def signed_once(made: list[tuple[World, dict[str, str]]] = []) -> tuple[World, dict[str, str]]:  # noqa: B006 - made once
    if not made:
        world = make_world()
        made.append((world, sign_request("PUT", URL, {}, BODY, world.booth, created=NOW)))
    return made[0]


@given(st.dictionaries(st.sampled_from(["Signature", "Signature-Input", "Booth-Certificate"]), st.text(max_size=60)))
@settings(deadline=None)
def test_hostile_headers_give_our_own_error(changes):
    world, headers = signed_once()
    try:
        verify_request("PUT", URL, headers | changes, BODY, world.trust, NOW)
    except CryptoError:
        return
    assert all(headers[name] == value for name, value in changes.items())


def test_a_replay_outside_the_window_is_refused_and_told_as_a_clock_fault(world, headers):
    for seconds in (-WINDOW_S, 0, WINDOW_S):
        assert verify_request("PUT", URL, headers, BODY, world.trust, NOW + timedelta(seconds=seconds))
    for seconds in (-WINDOW_S - 1, WINDOW_S + 1, 86_400):
        with pytest.raises(RequestClockError):
            verify_request("PUT", URL, headers, BODY, world.trust, NOW + timedelta(seconds=seconds))


def test_only_booths_that_are_trusted_now_are_heard(world):
    def made(signer) -> dict[str, str]:
        return sign_request("PUT", URL, {}, BODY, signer, created=NOW)

    assert "purpose" in refusal(world, made(world.intake))
    assert "not issued by" in refusal(world, made(make_signer(make_authority("root"))))
    expired = make_signer(world.authority, start=NOW - timedelta(days=9), end=NOW - timedelta(days=1))
    assert "valid" in refusal(world, made(expired))


def test_a_booth_below_an_intermediate_authority_sends_its_chain(world):
    middle = make_authority("middle", world.authority)
    booth = make_signer(middle, chain=(middle.certificate,))
    made = sign_request("PUT", URL, {}, BODY, booth, created=NOW)
    assert verify_request("PUT", URL, made, BODY, world.trust, NOW).certificate == booth.certificate
    assert refusal(world, sign_request("PUT", URL, {}, BODY, replace(booth, chain=()), created=NOW))
    many = replace(booth, chain=(middle.certificate,) * 4)
    assert "more than" in refusal(world, sign_request("PUT", URL, {}, BODY, many, created=NOW))


def test_the_certificate_cannot_be_exchanged_for_another_of_the_same_booth(world, headers):
    other = sign_request("PUT", URL, {}, BODY, make_signer(world.authority), created=NOW)
    assert refusal(world, headers | {"Booth-Certificate": other["Booth-Certificate"]})


def forged(headers: dict[str, str], signer, parameters: str, lines: list[str]) -> dict[str, str]:
    """A request signed by a program of somebody else, who has the key but not the rules."""
    text = "\n".join([*lines, f'"@signature-params": {parameters}'])
    signature = signer.sign(text.encode())
    r, s = decode(signature)
    raw = base64.b64encode(r.to_bytes(48, "big") + s.to_bytes(48, "big")).decode()
    return headers | {"Signature-Input": f"booth={parameters}", "Signature": f"booth=:{raw}:"}


def decode(signature: bytes) -> tuple[int, int]:
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    r, s = decode_dss_signature(signature)
    assert encode_dss_signature(r, s) == signature
    return r, s


def test_an_independent_signature_by_the_text_of_the_rfc_is_accepted_and_fewer_components_are_not(world, headers):
    lines = [
        '"@method": PUT',
        f'"@target-uri": {URL}',
        f'"booth-certificate": {headers["Booth-Certificate"]}',
        f'"content-digest": {headers["Content-Digest"]}',
        f'"content-length": {headers["Content-Length"]}',
    ]
    names = [line.partition(":")[0] for line in lines]
    keyid = world.booth.certificate.fingerprint(hashes.SHA256()).hex()
    good = f';created={int(NOW.timestamp())};keyid="{keyid}";nonce="0123456789abcdef";alg="ecdsa-p384-sha384";tag="passbooth"'

    def made(keep: list[int], parameters: str) -> dict[str, str]:
        covered = f"({' '.join(names[i] for i in keep)}){parameters}"
        return forged(headers, world.booth, covered, [lines[i] for i in keep])

    everything = [0, 1, 2, 3, 4]
    assert verify_request("PUT", URL, made(everything, good), BODY, world.trust, NOW).nonce == "0123456789abcdef"
    for keep in ([1, 2, 3, 4], [0, 1, 2], [0, 2, 3, 4], [0, 1, 3, 4], [1, 0, 2, 3, 4], []):
        assert "cover" in refusal(world, made(keep, good))
    for wrong in (
        re.sub(r";created=\d+", "", good),
        re.sub(r';nonce="[^"]*"', "", good),
        good.replace("0123456789abcdef", "short"),
        good + ";expires=9999999999",
        re.sub(r';alg="[^"]*"', "", good),
        good.replace("ecdsa-p384-sha384", "hmac-sha256"),
        good.replace('tag="passbooth"', 'tag="other"'),
        good.replace(keyid, "0" * 64),
    ):
        assert refusal(world, made(everything, wrong))


def test_what_cannot_be_signed_is_told_before_it_is_sent(world):
    with pytest.raises(RequestSignatureError, match="already"):
        sign_request("PUT", URL, {"content-length": "1"}, BODY, world.booth)
    for url in ("/v1/packets", "https://host/a b", "https:///x"):
        with pytest.raises(RequestSignatureError):
            sign_request("PUT", url, {}, BODY, world.booth)
    with pytest.raises(RequestSignatureError):
        sign_request("put", URL, {}, b"", world.booth)


def test_a_key_that_answers_nonsense_is_the_devices_fault(world):
    class Broken:
        certificate = world.booth.certificate
        chain = ()

        def sign(self, data: bytes) -> bytes:
            return b"nonsense"

    with pytest.raises(SigningError):
        sign_request("PUT", URL, {}, BODY, Broken())


def test_a_signature_that_was_made_for_a_package_is_none_for_a_request(world, headers):
    """One booth key signs both; their first bytes differ (0x31 of a SET, 0x22 of a quote), so neither stands for the other."""
    key = serialization.load_der_public_key(
        world.booth.certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    signature = world.booth.sign(b"\x31package attributes")
    key.verify(signature, b"\x31package attributes", ec.ECDSA(hashes.SHA384()))
    r, s = decode(signature)
    raw = base64.b64encode(r.to_bytes(48, "big") + s.to_bytes(48, "big")).decode()
    assert "wrong" in refusal(world, headers | {"Signature": f"booth=:{raw}:"})


MORE = {
    "Booth-Software": "0.1.0",
    "Passbooth-Application": "a" * 64,
    "Passbooth-Status": "b" * 64,
    "Upload-Complete": "?1",
    "Upload-Length": "13",
    "Upload-Offset": "0",
}


def test_software_and_upload_headers_are_covered_when_they_are_sent(world):
    made = sign_request("PATCH", URL, MORE, BODY, world.booth, created=NOW)
    assert not set(MORE).intersection(made)
    assert verify_request("PATCH", URL, MORE | made, BODY, world.trust, NOW)
    for name, value in MORE.items():
        without = {other: kept for other, kept in MORE.items() if other != name}
        for headers in (without | made, MORE | made | {name: "7"}, MORE | made | {name.lower(): value}):
            refusal(world, headers, method="PATCH")
    bare = sign_request("PATCH", URL, {}, BODY, world.booth, created=NOW)
    refusal(world, bare | {"Upload-Offset": "0"}, method="PATCH")


def without_plain_reading(monkeypatch) -> None:
    monkeypatch.setattr(http_signature, "_verify_plain", lambda *_: None)


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_our_own_spelling_is_judged_without_the_library_and_alike(world, method, monkeypatch):
    extra = {"Booth-Software": "0.4.0", "Upload-Complete": "?1"}
    body = BODY if method == "PUT" else b""
    sent = extra | sign_request(method, URL, extra, body, world.booth, created=NOW)
    with monkeypatch.context() as patch:
        patch.setattr(http_signature, "_verify", lambda *_: pytest.fail("the library was asked"))
        plainly = verify_request(method, URL, sent, body, world.trust, NOW)
    without_plain_reading(monkeypatch)
    assert verify_request(method, URL, sent, body, world.trust, NOW) == plainly


@settings(max_examples=60)
@given(data=st.data())
def test_whatever_is_changed_both_ways_of_reading_say_the_same(world, data):
    sent = sign_request("PUT", URL, {"Booth-Software": "0.4.0"}, BODY, world.booth, created=NOW)
    sent |= {"Booth-Software": "0.4.0"}
    name = data.draw(st.sampled_from(sorted(sent)))
    at = data.draw(st.integers(0, len(sent[name]) - 1))
    sign = data.draw(st.sampled_from(' "();=:,\t0aZ?@-'))
    cut = data.draw(st.integers(0, 1))
    changed = sent | {name: sent[name][:at] + sign + sent[name][at + cut :]}
    verdicts = []
    for plain in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not plain:
                without_plain_reading(patch)
            http_signature._SENDERS.clear()
            try:
                verdicts.append(verify_request_head("PUT", URL, changed, world.trust, NOW))
            except CryptoError as error:
                verdicts.append(type(error))
    assert verdicts[0] == verdicts[1]


def test_senders_are_remembered_only_when_their_signature_was_right_and_are_judged_each_time(
    world, headers, monkeypatch
):
    http_signature._SENDERS.clear()
    with monkeypatch.context() as longer:
        longer.setattr(http_signature, "_REMEMBERED_CHARACTERS", len(headers["Booth-Certificate"]) - 1)
        verify_request("PUT", URL, headers, BODY, world.trust, NOW)
    assert http_signature._SENDERS == {}
    verify_request("PUT", URL, headers, BODY, world.trust, NOW)
    assert list(http_signature._SENDERS) == [headers["Booth-Certificate"]]
    stranger = make_signer(make_authority("stranger"))
    refusal(world, sign_request("PUT", URL, {}, BODY, stranger, created=NOW))
    refusal(world, headers | {"Signature": "booth=:" + "A" * 128 + ":"})
    assert len(http_signature._SENDERS) == 1
    assert "refused" in refusal(world, headers, now=NOW + timedelta(days=40_000))
    assert "refused" in refusal(replace(world, trust=TrustStore(())), headers)
