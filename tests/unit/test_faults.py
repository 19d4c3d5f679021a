"""Every error of the house has a fault: nobody ever reads "Oops"."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from booth.errors import BoothError, OutboxFullError
from booth.faults import TABLE, UNKNOWN_CODE, Severity, fault_of

ROOMS = ("hardware", "capture", "validation", "crypto", "booth")
# Tools that run beside a booth, and never inside one: their errors end on a terminal.
TOOLS = (
    "booth.demo",
    "booth.demo_visit",
    "booth.check",
    "booth.dataset",
    "booth.evaluate",
    "booth.packet",
    "booth.keys_command",
    "booth.record_command",
    "booth.__main__",
    "booth.cli",
)


def error_classes():
    found = set()
    for room in ROOMS:
        package = importlib.import_module(room)
        for module in pkgutil.walk_packages(package.__path__, f"{room}."):
            if module.name.startswith("hardware.sim") or module.name in TOOLS:
                continue
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == module.name:
                    found.add(value)
    return found


@pytest.fixture(scope="module")
def leaves():
    classes = error_classes()
    return {
        error
        for error in classes
        if isinstance(getattr(error, "code", None), str) and not any(other.__base__ is error for other in classes)
    }


def test_every_leaf_of_every_error_tree_has_a_fault(leaves):
    unmapped = sorted(
        f"{error.__module__}.{error.__name__}: {error.code}" for error in leaves if error.code not in TABLE
    )
    assert not unmapped, "add these codes to booth.faults.TABLE"


def test_no_line_of_the_table_is_without_an_error():
    """Some errors are raised themselves and have a narrower kind below them, so not leaves alone count."""
    assert {getattr(error, "code", None) for error in error_classes()} >= set(TABLE) - {UNKNOWN_CODE}


def test_no_two_errors_share_a_code(leaves):
    codes = sorted(error.code for error in leaves)
    assert len(codes) == len(set(codes)), codes


def test_every_leaf_says_whose_fault_it_is_and_whether_to_retry_and_ends_in_error(leaves):
    for error in leaves:
        assert error.blame in {"us", "device", "peer", "operator"}, error
        assert isinstance(error.retry, bool), error
        assert error.__name__.endswith("Error"), error


def test_an_error_keeps_its_own_sentence_and_gets_a_hint():
    fault = fault_of(OutboxFullError("The outbox holds 5 packets, its limit."))
    assert fault.severity is Severity.OBSTRUCTS
    assert fault.notice.code == "outbox.full"
    assert "5 packets" in fault.detail
    assert fault.hint
    assert fault.retry


def test_a_stranger_error_is_told_by_its_type_alone():
    fault = fault_of(ValueError("AB-123456"))
    assert fault.code == UNKNOWN_CODE
    assert "AB-123456" not in fault.detail
    assert fault_of(BoothError("root")).code == UNKNOWN_CODE
