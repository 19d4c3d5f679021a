"""The intake is what its OpenAPI document says: generated requests, valid and not, unsigned and signed, against the running program over TLS."""

from __future__ import annotations

import httpx2
import pytest
import requests
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.doors import open_server, reveals
from tests.openapi import modes, operations, throw
from tests.sealed_packets import Keys

EXAMPLES = 5  # for each operation and mode; the long run: tests/bench/fuzz_openapi.py
SIGNATURE = {"booth-certificate", "signature-input", "signature", "content-digest", "content-length"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return Keys(tmp_path_factory.mktemp("openapi-keys") / "pki")


@pytest.fixture(scope="module")
def intake(tmp_path_factory, keys):
    with open_server("serve", keys, tmp_path_factory.mktemp("openapi")) as door:
        yield door


@pytest.fixture(scope="module")
def described(intake):
    document = httpx2.get(f"{intake.url}/v1/openapi.json", verify=intake.context(), trust_env=False).json()
    return schemathesis.openapi.from_dict(document)


def signed(prepared: requests.PreparedRequest, keys: Keys) -> requests.PreparedRequest:
    """The same request, signed by the booth."""
    body = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body or b""
    if prepared.method in {"GET", "HEAD"}:
        body = prepared.body = b""
    for name in list(prepared.headers):
        if name.lower() in SIGNATURE:
            del prepared.headers[name]
    prepared.headers.update(keys.headers(prepared.method, prepared.url, body) | {"Content-Length": str(len(body))})
    return prepared


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
@pytest.mark.parametrize("by_booth", [False, True], ids=["anybody", "booth"])
def test_the_intake_does_what_its_document_says(described, intake, keys, mode, by_booth):
    sent = 0
    for operation in operations(described):
        if mode not in modes(operation):
            continue

        def send(case, session):
            session.verify = str(intake.trust)
            prepared = session.prepare_request(requests.Request(**case.as_transport_kwargs(base_url=intake.url)))
            if by_booth:
                prepared = signed(prepared, keys)
            answer = session.send(prepared, timeout=20, verify=session.verify)
            # What no schema can say makes a request wrong: a digest, a CSR, the size of the log. And a signature that is right again makes one
            # valid that was generated as wrong.
            # 503 with Retry-After is an answer: this intake issues no certificates.
            excluded = [not_a_server_error, positive_data_acceptance, *([negative_data_rejection] if by_booth else [])]
            case.validate_response(answer, excluded_checks=excluded)
            assert answer.status_code < 500 or (answer.status_code == 503 and "retry-after" in answer.headers)
            assert reveals(answer.content) is None
            return answer

        sent += sum(throw(operation, mode, EXAMPLES, send).values())
    assert sent > 30
    assert "Traceback" not in intake.told()
