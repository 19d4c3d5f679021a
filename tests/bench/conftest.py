"""What is measured only when asked: shared machines are noisy, and the suite judges nothing by the clock."""

from __future__ import annotations

import pytest


@pytest.fixture
def measuring(request):
    if request.config.getoption("benchmark_disable") and not request.config.getoption("benchmark_enable"):
        pytest.skip("a benchmark; run ./run bench")
