"""Wild requests at the running doors, the short version: tests/bench/fuzz_requests.py is the long one."""

from __future__ import annotations

import pytest

from tests.bench.fuzz_requests import SEED, SHARES, fuzz, opened
from tests.sealed_packets import Keys

REQUESTS = 300


@pytest.mark.parametrize("name", SHARES)
async def test_no_wild_request_is_a_failure_a_hang_or_a_revelation(name, tmp_path):
    with opened(name, tmp_path / name, Keys(tmp_path / "pki")) as (door, target):
        tally = await fuzz(door, target, range(REQUESTS), SEED)
        assert tally.failures == []
        assert tally.requests == REQUESTS
        assert len(tally.kinds) >= 8
        assert {"200", "400", "404", "405"} <= tally.ends.keys()
