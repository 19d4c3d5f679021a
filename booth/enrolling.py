"""The booth asks its authority for a certificate: the first one with a token, the next one signed with the present key.

Rules: over TLS, by the configured trust root alone, to `intake.url`; no redirect is followed; the answer is bounded. A token stands in the body of
one request and nowhere else. An answer that is no certificate is told with the intake's own code and sentence, and what a person does next.
Who may be asked again is a question of the key that waits: the same key asks as often as it must, so a lost answer costs nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

import httpx2

from booth.config import IntakeSection
from booth.errors import IntakeUnreachableError
from booth.intake_answers import clock_difference, read_problem, read_skew_s, trusting, why_unanswered
from crypto.enrolment import MAX_CHAIN_BYTES
from crypto.errors import EnrolmentError
from crypto.http_signature import sign_request
from crypto.keys import Signer

REQUEST_TYPE = "application/x-pem-file"
# What the intake says, and what a person does then.
REMEDIES: Mapping[str, str] = {
    "enrolment.refused": "Each token is good once, for one booth, for a limited time.",
    "enrolment.request": "Look at booth.id; another key is made with `booth keys init --next --fresh`.",
    "booth.revoked": "Ask why, then enrol the booth again with a new token (`booth keys enrol`).",
    "signature.invalid": "The present certificate is not accepted: look at `booth keys show`, or enrol with a token.",
}


def request_first(settings: IntakeSection, token: str, request: bytes) -> bytes:
    """The certificate chain for a one-time token. Raises EnrolmentError or IntakeUnreachableError."""
    body = json.dumps({"token": token, "csr": request.decode("ascii")}).encode()
    return _post(settings, "/v1/enrolments", {"content-type": "application/json"}, body)


def request_next(settings: IntakeSection, signer: Signer, request: bytes) -> bytes:
    """The certificate chain for the next key, asked for with the present one. Raises a CryptoError or IntakeUnreachableError."""
    headers = {"content-type": REQUEST_TYPE}
    path = "/v1/certificates"
    headers |= sign_request("POST", f"{settings.url}{path}", headers, request, signer)
    return _post(settings, path, headers, request)


def _post(settings: IntakeSection, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    answer = bytearray()
    try:
        with (
            httpx2.Client(verify=trusting(settings.trust), timeout=settings.timeout_s, trust_env=False) as client,
            client.stream("POST", f"{settings.url}{path}", content=body, headers=headers) as response,
        ):
            for chunk in response.iter_bytes():
                answer += chunk
                if len(answer) > MAX_CHAIN_BYTES:
                    raise EnrolmentError(f"The answer of {settings.url} is too large; is intake.url right?")
    except (httpx2.HTTPError, OSError) as error:
        raise IntakeUnreachableError(
            f"The intake {settings.url} did not answer: {why_unanswered(error)}. Then try again."
        ) from error
    if response.status_code == 201:
        return bytes(answer)
    raise _refusal(settings.url, response, bytes(answer))


def _refusal(url: str, response: httpx2.Response, body: bytes) -> EnrolmentError | IntakeUnreachableError:
    problem = read_problem(response.status_code, response.headers, body)
    if problem.code == "signature.expired":
        return EnrolmentError(
            f"The intake {url} refuses: {clock_difference(read_skew_s(response.headers, time.time()))}"
        )
    said = f"The intake {url} answered {problem.status}" + (
        f" {problem.code}: {problem.detail}" if problem.code else "."
    )
    if problem.status in {429, 503}:
        return IntakeUnreachableError(f"{said} Try again later.")
    remedy = REMEDIES.get(problem.code, "" if problem.code else "Is intake.url the address of an intake?")
    return EnrolmentError(f"{said} {remedy}".rstrip())
