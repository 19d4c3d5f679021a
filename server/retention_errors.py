"""The errors of retention, told at the desk and on a terminal; server/errors.py has the root and the rules.

RetentionError: ClocksApartError, HeldError, HoldUnknownError, HoldsUnavailableError, NotDueError, PacketDeletedError
"""

from __future__ import annotations

from server.errors import ServerError


class RetentionError(ServerError):
    """What is asked about keeping or deleting a packet cannot be done."""

    code = "retention"
    blame = "operator"
    status = 409
    title = "Retention does not allow this"


class ClocksApartError(RetentionError):
    """The clocks of this machine and of the database say different times: what would be deleted might not be due."""

    code = "retention.clock"
    title = "Clocks differ"


class HeldError(RetentionError):
    """A hold keeps the packet from being deleted."""

    code = "retention.held"
    title = "The packet is held"


class HoldUnknownError(RetentionError):
    """The packet is not held for this reason."""

    code = "retention.not_held"
    title = "The packet is not held for this reason"


class HoldsUnavailableError(RetentionError):
    """There is no key at this desk that signs holds."""

    code = "retention.no_key"
    title = "This desk cannot place holds"


class NotDueError(RetentionError):
    """The packet is not to be deleted yet: something happened to it meanwhile."""

    code = "retention.not_due"
    title = "The packet is not due for deletion"


class PacketDeletedError(RetentionError):
    """The packet was deleted; a signed record says when and why."""

    code = "retention.deleted"
    status = 410
    title = "The packet was deleted"
