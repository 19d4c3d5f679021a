"""The booth asks for certificates: what is sent, and what each answer becomes for the person at the booth."""

from __future__ import annotations

import json
import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest

from booth.config import IntakeSection
from booth.enrolling import request_first, request_next
from booth.errors import ConfigInvalidError, IntakeUnreachableError
from crypto.enrolment import MAX_CHAIN_BYTES
from crypto.errors import EnrolmentError
from crypto.http_signature import verify_request
from crypto.keys import load_trust, make_development_pki, open_signer

TOKEN = "7Q2MX-0B4TD-9KXVN-3HC5E"
CHAIN = b"-----BEGIN CERTIFICATE-----\n"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_development_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def settings(pki):
    return IntakeSection(url="https://intake.example", trust=pki / "ca.pem")


@pytest.fixture
def answering(monkeypatch):
    """Puts answers in the place of the network; returns what was asked."""
    asked: list[httpx2.Request] = []
    real = httpx2.Client

    def put(answer) -> list[httpx2.Request]:
        def handle(request: httpx2.Request) -> httpx2.Response:
            request.read()
            asked.append(request)
            if isinstance(answer, Exception):
                raise answer
            return answer

        def client(**options) -> httpx2.Client:
            assert options["trust_env"] is False
            return real(**options, transport=httpx2.MockTransport(handle))

        monkeypatch.setattr(httpx2, "Client", client)
        return asked

    return put


def because(cause: Exception) -> httpx2.ConnectError:
    """An error as the HTTP client raises it: the reason is its cause's cause."""
    between = OSError("between")
    between.__cause__ = cause
    error = httpx2.ConnectError(str(cause))
    error.__cause__ = between
    return error


def unverified() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "told by a stranger")
    error.verify_message = "unable to get local issuer certificate"
    return error


def problem(status: int, code: str, **headers: str) -> httpx2.Response:
    return httpx2.Response(
        status,
        json={"code": code, "detail": "Told by the intake.", "retry": False},
        headers={"content-type": "application/problem+json", **headers},
    )


def test_the_token_is_sent_in_the_body_alone(settings, answering):
    asked = answering(httpx2.Response(201, content=CHAIN))
    assert request_first(settings, TOKEN, b"request") == CHAIN
    assert (asked[0].method, str(asked[0].url)) == ("POST", "https://intake.example/v1/enrolments")
    assert json.loads(asked[0].content) == {"token": TOKEN, "csr": "request"}
    assert TOKEN not in str(asked[0].headers) + str(asked[0].url)


def test_the_next_certificate_is_asked_for_with_the_present_key(settings, answering, pki):
    signer = open_signer(f"file:{pki / 'booth.key'}")
    asked = answering(httpx2.Response(201, content=CHAIN))
    assert request_next(settings, signer, b"request") == CHAIN
    request = asked[0]
    verified = verify_request(
        request.method,
        str(request.url),
        request.headers,
        request.content,
        load_trust(pki / "ca.pem"),
        datetime.now(UTC),
    )
    assert verified.booth_id == "booth-0001"
    assert request.url.path == "/v1/certificates"


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (problem(403, "enrolment.refused"), EnrolmentError, "good once"),
        (problem(400, "enrolment.request"), EnrolmentError, "--fresh"),
        (problem(403, "booth.revoked"), EnrolmentError, "Ask why"),
        (problem(401, "signature.invalid"), EnrolmentError, "booth keys show"),
        (problem(429, "enrolment.locked"), IntakeUnreachableError, "Try again later"),
        (problem(503, "enrolment.unavailable"), IntakeUnreachableError, "Try again later"),
        (problem(418, "else.where"), EnrolmentError, "else.where: Told by the intake."),
        (httpx2.Response(404, text="not here"), EnrolmentError, "the address of an intake"),
        (httpx2.Response(302, headers={"location": "https://elsewhere.example/"}), EnrolmentError, "answered 302"),
        (httpx2.Response(200, content=CHAIN), EnrolmentError, "answered 200"),
        (httpx2.Response(201, content=b"x" * (MAX_CHAIN_BYTES + 1)), EnrolmentError, "too large"),
        (httpx2.ConnectError("refused"), IntakeUnreachableError, "did not answer: no connection comes about; see to"),
        (because(ConnectionRefusedError(111, "told by a stranger")), IntakeUnreachableError, "nothing listens there"),
        (because(socket.gaierror(-2, "told by a stranger")), IntakeUnreachableError, "name is not known here"),
        (because(ssl.SSLError(1, "told by a stranger")), IntakeUnreachableError, "does not speak TLS"),
        (
            because(unverified()),
            IntakeUnreachableError,
            "not accepted: unable to get local issuer certificate; see to intake.trust",
        ),
        (httpx2.ReadTimeout("slow"), IntakeUnreachableError, "silent for too long"),
    ],
)
def test_every_other_answer_says_what_to_do_and_never_the_token(settings, answering, answer, error, words):
    answering(answer)
    with pytest.raises(error, match=words) as caught:
        request_first(settings, TOKEN, b"request")
    assert TOKEN not in str(caught.value)
    assert "stranger" not in str(caught.value)


def test_a_clock_that_is_wrong_is_told_in_minutes(settings, answering):
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=90), usegmt=True)
    answering(problem(401, "signature.expired", Date=date))
    with pytest.raises(EnrolmentError, match=r"(89|90) min"):
        request_first(settings, TOKEN, b"request")


def test_a_trust_file_that_cannot_be_used_is_told(settings, tmp_path):
    (tmp_path / "ca.pem").write_text("none")
    with pytest.raises(ConfigInvalidError, match=r"intake\.trust"):
        request_first(settings.model_copy(update={"trust": tmp_path / "ca.pem"}), TOKEN, b"request")
