"""Asking the registry of applications whether a number may be captured: one signed request while the applicant waits.

`POST /v1/applications/lookup` with the number in the body, never in an address. The answer of an intake decides: filed or retake, go on; unknown,
expired, captured already, tell so. No such answer within `DEADLINE_S`, for whatever reason, is no reason to send anybody away: the visit goes on and is
marked UNREACHED, as with a network that is down. No number is ever logged or part of an error.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from types import MappingProxyType
from typing import Protocol

import httpx2

from booth.config import IntakeSection
from booth.delivery import own_version
from booth.errors import UplinkError
from booth.events import Notice
from booth.intake_answers import read_bounded, read_problem, why_unanswered
from crypto.errors import CryptoError
from crypto.http_signature import sign_request
from crypto.keys import Signer

log = logging.getLogger(__name__)

DEADLINE_S = 3.0
UNREACHED = "unreached"
OPEN_STATES = frozenset({"filed", "retake"})
MAX_ANSWER_BYTES = 8_192
_REFUSALS: Mapping[str, Notice] = MappingProxyType(
    {
        code: Notice(code, message)
        for code, message in (
            ("application.unknown", "identify.unknown"),
            ("application.expired", "identify.expired"),
            ("application.captured", "identify.captured"),
        )
    }
)


class Registry(Protocol):
    """Where numbers are asked for."""

    async def look_up(self, number: str) -> str | Notice:
        """The application's state or UNREACHED, or why there is nothing to capture."""
        ...


class IntakeRegistry:
    """The registry of the booth's intake."""

    def __init__(
        self, settings: IntakeSection, worker: Executor, client: httpx2.AsyncClient, signer: Callable[[], Signer]
    ) -> None:
        self._url = f"{settings.url}/v1/applications/lookup"
        self._worker, self._client, self._signer = worker, client, signer

    async def look_up(self, number: str) -> str | Notice:
        """The application's state or UNREACHED, or why there is nothing to capture; within `DEADLINE_S`."""
        body = json.dumps({"number": number}).encode()
        headers = {"Content-Type": "application/json", "Booth-Software": own_version()}
        try:
            async with asyncio.timeout(DEADLINE_S):
                loop = asyncio.get_running_loop()
                headers |= await loop.run_in_executor(self._worker, self._sign, headers, body)
                async with self._client.stream("POST", self._url, content=body, headers=headers) as response:
                    answer = await read_bounded(response, MAX_ANSWER_BYTES)
        except (httpx2.HTTPError, TimeoutError, OSError, UplinkError, CryptoError) as error:
            log.info("the registry was not reached: %s", why_unanswered(error))
            return UNREACHED
        return _judge(response.status_code, response.headers, answer)

    def _sign(self, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        return sign_request("POST", self._url, headers, body, self._signer())


def _judge(status: int, headers: Mapping[str, str], body: bytes) -> str | Notice:
    if status == 200:
        try:
            told = json.loads(body)
            state = told["state"]
        except (ValueError, RecursionError, TypeError, KeyError):
            state = None
        if isinstance(state, str) and state in OPEN_STATES:
            return state
        log.info("the registry's answer cannot be read")
        return UNREACHED
    problem = read_problem(status, headers, body)
    if problem.code in _REFUSALS:
        return _REFUSALS[problem.code]
    log.info("the registry did not look the number up: %d %s", status, problem.code)
    return UNREACHED
