"""The short kill test: twenty runs of tests/bench/kill_booth.py. The long one: `.venv/bin/python -m tests.bench.kill_booth --runs 500`."""

from __future__ import annotations

from tests.bench.kill_booth import VISITS, kill_again_and_again

RUNS = 20
LIMIT_S = 60.0


async def test_booth_and_intake_are_killed_again_and_again_and_what_was_confirmed_is_received_once(tmp_path):
    figures = await kill_again_and_again(RUNS, tmp_path, seed=5, limit_s=LIMIT_S)
    assert figures.wrong == []
    assert figures.runs == RUNS or figures.seconds > LIMIT_S  # a busy machine makes fewer
    assert sum(figures.kills.values()) == figures.runs
    assert VISITS < len(figures.confirmed) <= figures.received <= RUNS * VISITS
