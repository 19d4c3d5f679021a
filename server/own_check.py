"""Whether this desk's own check of a portrait asks for a second person (server/second_person.py).

Rules: it does where a rule that must hold does not, where the chip image shows another picture than the portrait, where the booth judged by a profile that is none of this
office's (DESK_PROFILES), where there is no portrait, and where it ends the checker, takes it too long or cannot be read: a picture that nobody can judge is no reason to look less. It does not
where the desk cannot judge for reasons of its own: it has no such profile or no libraries. Then the booth's report counts, and the packet's page says that there is no second
opinion. Where too many portraits wait, nothing is said yet (`RecheckBusyError`): whoever wants to accept alone could make them wait.
"""

from __future__ import annotations

from server.opening import PacketContent
from server.recheck_errors import (
    RecheckEndedError,
    RecheckForeignProfileError,
    RecheckNothingError,
    RecheckPictureError,
    RecheckProfileError,
    RecheckTimeoutError,
    RecheckUnavailableError,
)
from server.rechecker import Rechecker


async def check_objects(rechecker: Rechecker, content: PacketContent) -> bool:
    """Whether the desk's own check objects to an opened packet; what was judged before is not judged again. Raises `RecheckBusyError`."""
    try:
        opinion = await rechecker.opinion(content)
    except (
        *(RecheckForeignProfileError, RecheckNothingError, RecheckPictureError),
        *(RecheckEndedError, RecheckTimeoutError),
    ):
        return True
    except (RecheckProfileError, RecheckUnavailableError):
        return False
    return opinion.blocks or (opinion.chip is not None and not opinion.chip.same_picture)
