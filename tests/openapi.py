"""Generated requests against an OpenAPI document: what it calls valid, what it does not, and every answer held against it.

Schemathesis makes the requests and judges the answers; its own pytest plugin is not used, so that the number of requests is ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

Send = Callable[[Any, requests.Session], Any]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


def operations(schema: Any) -> Iterator[Any]:
    """Every operation of a schema; one that cannot be read is an error."""
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found.err()
        yield found.ok()


def modes(operation: Any) -> tuple[GenerationMode, ...]:
    """Valid requests, and invalid ones where something of it can be wrong."""
    return MODES if operation.definition.raw.keys() & {"parameters", "requestBody"} else MODES[:1]


def throw(
    operation: Any, mode: GenerationMode, examples: int, send: Send, *, fixed_seed: int | None = None
) -> Counter[int]:
    """Send generated requests for one operation; returns how many got which status. Raises schemathesis' failures."""
    told: Counter[int] = Counter()
    session = requests.Session()
    session.trust_env = False

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        answer = send(case, session)
        told[answer.status_code] += 1

    try:
        (run if fixed_seed is None else seed(fixed_seed)(run))()
    finally:
        session.close()
    return told


# What a booth or a producer sends: bytes to schemathesis.
schemathesis.serializer.alias(
    [
        "application/vnd.passbooth.packet",
        "application/vnd.passbooth.answer",
        "application/vnd.passbooth.booth-answer",
        "application/vnd.passbooth.booth-bundle",
        "application/partial-upload",
        "application/x-pem-file",
    ],
    "application/octet-stream",
)
