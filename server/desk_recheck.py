"""The second opinion on the desk's pages: a part that the packet page loads by itself, and a page of its own for those without scripts.

Rules: nothing waits for it: the packet page is complete without. Each view of it is noted in the audit log before it is shown, once for a packet and session within some minutes
(server/audit.py). What went wrong is told in the same place in words, with the error's own status. It is kept no longer than the opened packet (server/rechecker.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import Response

from server.audit import Action
from server.auth import Session
from server.desk_api import find_packet
from server.desk_session import needs
from server.errors import DeskError, PacketNotOpenedError
from server.layout import Pages
from server.opening import Opener, summarise
from server.recheck_views import recheck_card
from server.rechecker import Rechecker
from server.roles import Permission
from server.store import Store
from server.views import heading

Looker = Annotated[Session, needs(Permission.PACKETS_READ, Action.PACKET_RECHECKED)]


@dataclass(frozen=True)
class RecheckRooms:
    """What the second opinion's pages work with."""

    store: Store
    opener: Opener
    rechecker: Rechecker
    pages: Pages


def make_recheck_pages(rooms: RecheckRooms) -> APIRouter:
    """The two routes."""
    router = APIRouter()

    async def told(request: Request, sha256: str, session: Session, name: str) -> Response:
        stored = await find_packet(rooms.store, sha256)
        content = await rooms.opener.content(stored)
        language = rooms.pages.language(request)
        values = heading(stored, summarise(content))
        try:
            opinion = await rooms.rechecker.opinion(content)
        except PacketNotOpenedError:
            raise
        except DeskError as error:
            answer = rooms.pages.page(
                request, name, error.status, session=session, error=error.code, card=None, **values
            )
            if error.retry_after_s:
                answer.headers["Retry-After"] = str(error.retry_after_s)
            return answer
        card = recheck_card(opinion, language)
        return rooms.pages.page(request, name, session=session, error=None, card=card, **values)

    @router.get("/packets/{sha256}/recheck")
    async def recheck_page(request: Request, sha256: str, session: Looker) -> Response:
        return await told(request, sha256, session, "recheck.html")

    @router.get("/packets/{sha256}/recheck/part")
    async def recheck_part(request: Request, sha256: str, session: Looker) -> Response:
        return await told(request, sha256, session, "recheck_answer.html")

    return router
