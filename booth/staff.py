"""Who a member of staff is, by a personal code typed on the booth's screen.

Rules: asking is blocking and belongs on the worker thread. The answer is the staff id, which says nothing about a person, or a notice why there
is none; one sentence for a code that is wrong, unknown, ended or of another centre. No code is ever logged, kept, or part of an error.
"""

from __future__ import annotations

from typing import Protocol

from booth.events import Notice

WRONG = Notice("staff.wrong", "staff.wrong")
WAIT = Notice("staff.wait", "staff.wait")
NO_LIST = Notice("staff.no_list", "staff.no_list")
NOT_NOW = Notice("staff.not_now", "staff.not_now")


class StaffCheck(Protocol):
    """Where codes are looked at."""

    @property
    def wait_s(self) -> int:
        """How long no code is looked at; 0 when one may be tried."""
        ...

    def check(self, code: str) -> str | Notice:
        """The staff id, or why there is none; blocking."""
        ...


class NoStaffList:
    """Nobody's code is known: every one is answered so."""

    wait_s = 0

    def check(self, code: str) -> Notice:
        """That no code can be looked at."""
        del code
        return NO_LIST
