"""Asking the registry: its answers in words, nobody sent away for want of an answer, no number outside the body."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

import booth.registry
from booth.config import IntakeSection
from booth.events import Notice
from booth.registry import UNREACHED, IntakeRegistry
from crypto.errors import SigningError
from tests.vectors.parties import BOOTH_1

NUMBER = "DEMO2026000017X"


class Asked:
    """A registry whose intake answers as told."""

    def __init__(self, worker):
        self.answer: httpx2.Response | Exception | None = None
        self.requests: list[httpx2.Request] = []
        self.client = httpx2.AsyncClient(transport=httpx2.MockTransport(self._give))
        settings = IntakeSection(url="https://intake.example", trust="ca.pem")
        self.signer = BOOTH_1
        self.registry = IntakeRegistry(settings, worker, self.client, self._sign)

    def _sign(self):
        if isinstance(self.signer, Exception):
            raise self.signer
        return self.signer

    async def _give(self, request):
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await asyncio.Event().wait()
        return self.answer

    async def says(self, answer):
        self.answer = answer
        return await self.registry.look_up(NUMBER)


@pytest.fixture
async def asked():
    with ThreadPoolExecutor(1) as worker:
        made = Asked(worker)
        async with made.client:
            yield made


def problem(status: int, code: str) -> httpx2.Response:
    body = {"code": code, "detail": "…", "retry": False}
    return httpx2.Response(status, json=body, headers={"Content-Type": "application/problem+json"})


@pytest.mark.parametrize("state", ["filed", "retake"])
async def test_an_open_application_goes_on(asked, state):
    assert (
        await asked.says(httpx2.Response(200, json={"state": state, "centre": "north", "expires": "2027-01-01"}))
        == state
    )
    (request,) = asked.requests
    assert (request.method, request.url.path) == ("POST", "/v1/applications/lookup")
    assert json.loads(request.content) == {"number": NUMBER}
    assert NUMBER not in str(request.url)
    assert not any(NUMBER in value for value in request.headers.values())
    assert {"signature", "signature-input", "content-digest", "booth-certificate"} <= set(request.headers)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "application.unknown", "identify.unknown"),
        (410, "application.expired", "identify.expired"),
        (409, "application.captured", "identify.captured"),
    ],
)
async def test_what_cannot_be_captured_is_told(asked, status, code, message):
    assert await asked.says(problem(status, code)) == Notice(code, message)


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.ConnectError("no"),
        TimeoutError(),
        problem(404, "request.route"),
        problem(503, "storage.unavailable"),
        problem(403, "booth.revoked"),
        httpx2.Response(404, text="a proxy"),
        httpx2.Response(200, text="{"),
        httpx2.Response(200, json=["filed"]),
        httpx2.Response(200, json={"state": "captured"}),
        httpx2.Response(200, json={"state": ["filed"]}),
        httpx2.Response(200, content=b" " * 10_000),
    ],
    ids=repr,
)
async def test_no_answer_of_a_registry_sends_nobody_away(asked, answer, caplog):
    assert await asked.says(answer) == UNREACHED
    assert NUMBER not in caplog.text


async def test_a_key_that_cannot_sign_now_sends_nobody_away(asked):
    asked.signer = SigningError("away")
    assert await asked.says(httpx2.Response(200, json={"state": "filed"})) == UNREACHED


async def test_the_applicant_waits_no_longer_than_the_deadline(asked, monkeypatch):
    monkeypatch.setattr(booth.registry, "DEADLINE_S", 0.05)
    assert await asked.says(None) == UNREACHED
