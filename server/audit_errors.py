"""What is wrong with the desk's audit log, or with a question about it."""

from __future__ import annotations

from server.errors import DeskError


class AuditUnavailableError(DeskError):
    """The audit log takes no entry just now: what cannot be noted is not done, and not shown."""

    code = "audit.unavailable"
    status = 503
    retry = True
    title = "The audit log takes no entry"


class AuditFilterError(DeskError):
    """A filter of the auditor's page, or of a command, that means nothing."""

    code = "audit.filter"
    blame = "peer"
    title = "This filter is not understood"
