"""What is refused because of who asks."""

from __future__ import annotations

from server.errors import DeskError


class PermissionDeniedError(DeskError):
    """The person who signed in may not do this."""

    code = "access.denied"
    blame = "peer"
    status = 403
    title = "You may not do this"
