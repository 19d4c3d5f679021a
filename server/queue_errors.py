"""What cannot be done about the officers' queue."""

from __future__ import annotations

from server.errors import ServerError


class QueueSecretError(ServerError):
    """What desks keep of packets was made under another secret than this desk's."""

    code = "queue.secret"
    blame = "operator"
    status = 409
    title = "The queue belongs to another desk secret"
