"""The long run of generated requests against both OpenAPI documents: `.venv/bin/python -m tests.bench.fuzz_openapi 1000`.

The number is of requests for each operation, valid and not, from outside and from inside (a page in a technician's session; a booth that signs). The
tests are the short ones' own (tests/journey/test_kiosk_openapi.py, test_intake_openapi.py); the exit code is pytest's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

JOURNEYS = Path(__file__).resolve().parents[1] / "journey"


class _Examples:
    """Puts the number where the tests look for it. They are imported by pytest alone, which wants to see Hypothesis first."""

    def __init__(self, examples: int) -> None:
        self._examples = examples

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            module = item.getparent(pytest.Module)
            assert module is not None
            module.obj.EXAMPLES = self._examples


def main() -> int:
    """Run both; pytest's exit code."""
    files = [str(JOURNEYS / f"test_{door}_openapi.py") for door in ("kiosk", "intake")]
    return int(pytest.main(["-q", "--timeout=0", *files], plugins=[_Examples(int(sys.argv[1]))]))


if __name__ == "__main__":
    sys.exit(main())
