"""`GET /v1/staff`: the signed list of staff codes, for booths alone.

The request is signed by a booth (RFC 9421), as for packets: whoever has the list may try secrets against its hashes for as long as he likes, so it is not
told to strangers. A booth that has the present list already says so (`If-None-Match`, the list's number) and gets no second copy.
"""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from crypto.staff_list import MEDIA_TYPE
from server.signed_requests import SignedRequests
from server.staff import StaffLists


def make_staff_routes(lists: StaffLists, signed: SignedRequests) -> APIRouter:
    """The route."""
    api = APIRouter(prefix="/v1")

    @api.get(
        "/staff",
        response_class=Response,
        responses={
            200: {
                "description": "The signed list.",
                "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
            },
            304: {"description": "If-None-Match names the present list."},
        },
    )
    async def staff(request: Request) -> Response:
        """Give the signed list of staff codes to a booth."""
        verified = await signed.verify(request)
        await signed.use_nonce(verified)
        found = await lists.current()
        tag = f'"{found.number}"'
        headers = {"Cache-Control": "no-store", "ETag": tag, "X-Content-Type-Options": "nosniff"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(found.data, HTTPStatus.OK, headers, MEDIA_TYPE)

    return api
