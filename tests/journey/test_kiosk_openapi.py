"""The kiosk's interface is what its OpenAPI document says: generated requests, valid and not, against the running pages."""

from __future__ import annotations

import httpx2
import pytest
import schemathesis
from fastapi.openapi.utils import get_openapi
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection

from booth.page_document import ADDRESS, COMMANDS, describe_pages, name_of
from booth.web import create_app
from tests.doors import Door, open_kiosk, page_token, reveals
from tests.kiosk_door import CANARY
from tests.openapi import modes, operations, throw
from tests.unit.fake_booth import FakeBooth

EXAMPLES = 12  # for each operation and mode; the long run: tests/bench/fuzz_openapi.py
TOOLS_EXAMPLES = 3  # the technician's tools read every body by the same few lines
SCHEMA = schemathesis.openapi.from_dict(describe_pages("1"))
# An event stream has no end: tests/unit/test_web.py follows it.
OPERATIONS = [operation for operation in operations(SCHEMA) if operation.path != "/api/events"]
CASES = [(operation, mode) for operation in OPERATIONS for mode in modes(operation)]
PAGES = {"/", "/technician", ADDRESS}


@pytest.fixture(scope="module")
def kiosk(tmp_path_factory):
    with open_kiosk(tmp_path_factory.mktemp("kiosk")) as door:
        yield door


@pytest.fixture(scope="module")
def session(kiosk: Door) -> dict[str, str]:
    return kiosk_session(kiosk)


def kiosk_session(kiosk: Door) -> dict[str, str]:
    """Headers of a page in a technician's session."""
    token = page_token(kiosk)
    answer = httpx2.post(
        f"{kiosk.url}/api/technician/session",
        json={"passphrase": kiosk.ready["passphrase"]},
        headers={"X-Kiosk-Token": token},
        trust_env=False,
    )
    cookie = answer.headers["set-cookie"].split(";")[0]
    return {"X-Kiosk-Token": token, "X-Kiosk-Seen": "review 8f4a2c61", "Cookie": cookie}


@pytest.mark.parametrize(("operation", "mode"), CASES, ids=lambda each: getattr(each, "label", None) or each.value)
@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
def test_the_kiosk_does_what_its_document_says(operation, mode, inside, kiosk, session):
    def send(case, browser):
        answer = case.call(base_url=kiosk.url, session=browser, headers=session if inside else None)
        # Inside, a page's own headers stand over the generated ones: what was wrong may be right again.
        case.validate_response(answer, excluded_checks=[negative_data_rejection] if inside else [])
        if operation.path not in PAGES:
            told = answer.content.replace(CANARY.encode(), b"") if answer.status_code == 200 else answer.content
            assert reveals(told) is None
        return answer

    tools = "/technician/" in operation.path and "/session" not in operation.path
    told = throw(operation, mode, TOOLS_EXAMPLES if tools else EXAMPLES, send)
    assert max(told) < 500
    if inside and mode is GenerationMode.POSITIVE and "/visit/" in operation.path:
        assert set(told) <= {200, 202}, told


def test_the_document_is_served_and_has_every_route_and_no_other(kiosk):
    app = create_app(FakeBooth())
    by_framework = get_openapi(title="", version="", routes=app.routes)["paths"]
    routed = {(path, method) for path, methods in by_framework.items() for method in methods}
    routed -= {("/api/visit/{event}", "post")}
    routed |= {(f"/api/visit/{name_of(command)}", "post") for command in COMMANDS}
    routed |= {("/technician", "get"), (ADDRESS, "get")}
    document = httpx2.get(f"{kiosk.url}{ADDRESS}", trust_env=False).json()
    assert document == describe_pages("1")
    assert {(path, method) for path, methods in document["paths"].items() for method in methods} == routed
