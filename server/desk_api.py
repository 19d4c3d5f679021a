"""The desk's machine interface: the same packets as JSON and as files, for an officer's session alone.

What a packet holds leaves only as an attachment with a fixed type and `nosniff`, or as JSON: nothing of it is ever served as a page.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic_core import from_json

from server.audit import Action
from server.auth import Session
from server.deletions import find_deletions
from server.desk_session import needs, note_shown
from server.errors import PartUnknownError, UnknownPacketError
from server.opening import Opener, PacketContent, Summary
from server.packet_export import MEDIA_TYPE, make_export, read_decided
from server.records import MAX_DOCUMENT_BYTES
from server.retention_errors import PacketDeletedError
from server.roles import Permission
from server.store import Store, StoredPacket, check_digest

# Types by name; whatever else a packet holds is bytes.
TYPES = {".jpg": "image/jpeg", ".jp2": "image/jp2", ".json": "application/json"}
UNNAMEABLE = re.compile(r"[^A-Za-z0-9._\-]")


async def find_packet(store: Store, sha256: str) -> StoredPacket:
    """The row of a packet. Raises `MalformedRequestError`, `UnknownPacketError`, `PacketDeletedError`."""
    check_digest(sha256)
    stored = await store.find(sha256)
    if stored is not None:
        return stored
    async with store.reading() as connection:
        if await find_deletions(connection, [sha256]):
            raise PacketDeletedError("The packet was deleted when its time was over.")
    raise UnknownPacketError("No packet with this digest is stored.")


def make_api(store: Store, opener: Opener, list_length: int) -> APIRouter:
    """The routes under /api. What a packet holds as a file leaves the desk with it: that needs the right to export."""
    api = APIRouter(prefix="/api")

    def exports(part: str) -> list[Any]:
        return [needs(Permission.PACKETS_EXPORT, Action.PACKET_EXPORTED, part=part)]

    @api.get("/packets")
    async def list_packets(
        request: Request,
        session: Annotated[Session, needs(Permission.PACKETS_READ, Action.PACKETS_LISTED, later=True)],
        before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = list_length,
    ) -> dict[str, Any]:
        """Received packets, newest first."""
        rows = await store.newest(limit, before)
        await note_shown(request, session, Action.PACKETS_LISTED, [stored.sha256 for stored in rows])
        return {
            "packets": [_row(stored) | {"summary": _summary(await opener.summary(stored))} for stored in rows],
            "next": rows[-1].serial if len(rows) == limit else None,
        }

    @api.get("/packets/{sha256}", dependencies=[needs(Permission.PACKETS_READ, Action.PACKET_SEEN, page="api")])
    async def packet(sha256: str) -> JSONResponse:
        """Facts, report and visit of one packet."""
        content = await opener.content(await find_packet(store, sha256))
        return JSONResponse(_facts(content))

    @api.get("/packets/{sha256}/parts/{name:path}", dependencies=exports("part"))
    async def part(sha256: str, name: str) -> Response:
        """One part as the booth made it."""
        content = await opener.content(await find_packet(store, sha256))
        data = content.opened.parts.get(name)
        if data is None:
            raise PartUnknownError("The packet holds no part of this name.")
        extension = "." + name.rpartition(".")[2]
        return attachment(data, name.rpartition("/")[2], TYPES.get(extension, "application/octet-stream"))

    @api.get("/packets/{sha256}/packet", dependencies=exports("packet"))
    async def sealed(sha256: str) -> Response:
        """The sealed packet as it arrived."""
        stored = await find_packet(store, sha256)
        return attachment(await opener.sealed(stored), f"{stored.packet_id}.packet", "application/vnd.passbooth.packet")

    @api.get("/packets/{sha256}/records.zip", dependencies=exports("records"))
    async def records(sha256: str) -> Response:
        """All original records in one ZIP, with how to check them."""
        stored = await find_packet(store, sha256)
        content, sealed = await opener.content(stored), await opener.sealed(stored)
        decided = await read_decided(store, sha256)
        data = await asyncio.to_thread(make_export, stored, content, sealed, decided)
        return attachment(data, f"{stored.packet_id}-records.zip", MEDIA_TYPE)

    @api.get("/packets/{sha256}/package.zip", dependencies=exports("package"))
    async def package(sha256: str) -> Response:
        """The signed package: a ZIP."""
        content = await opener.content(await find_packet(store, sha256))
        return attachment(content.opened.package_bytes, f"{content.stored.packet_id}.zip", "application/zip")

    @api.get("/packets/{sha256}/cms", dependencies=exports("cms"))
    async def cms(sha256: str) -> Response:
        """The signature around the package: CMS SignedData in DER."""
        content = await opener.content(await find_packet(store, sha256))
        return attachment(content.opened.cms, f"{content.stored.packet_id}.p7m", "application/pkcs7-mime")

    return api


def attachment(data: bytes, name: str, media_type: str) -> Response:
    """Bytes to be saved, not shown. `name` holds letters, digits, dot, dash and underscore only (crypto.package); what a row made of it by hand is no header."""
    plain = UNNAMEABLE.sub("_", name)
    return Response(data, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{plain}"'})


def _row(stored: StoredPacket) -> dict[str, Any]:
    return {
        "serial": stored.serial,
        "position": stored.position,
        "sha256": stored.sha256,
        "packet_id": stored.packet_id,
        "booth": stored.booth,
        "recipient": stored.recipient,
        "size": stored.size,
        "state": stored.state,
        "sealed_at": stored.sealed_at.isoformat() if stored.sealed_at else None,
        "received_at": stored.received_at.isoformat(),
    }


def _summary(summary: Summary) -> dict[str, Any] | None:
    """Null for a packet that did not open."""
    if not summary.opened:
        return None
    return {
        "application_number": summary.application_number,
        "typed": summary.typed,
        "unsigned": summary.unsigned,
        "released": summary.released,
        "suspected": summary.suspected,
        "compliant": summary.compliant,
        "rules": summary.rules,
        "failed": summary.failed,
        "warnings": summary.warnings,
    }


def _facts(content: PacketContent) -> dict[str, Any]:
    opened = content.opened
    return _row(content.stored) | {
        "signature": {
            "verified": True,
            "signer": opened.signer.subject.rfc4514_string(),
            "issuer": opened.signer.issuer.rfc4514_string(),
            "certificate_serial": f"{opened.signer.serial_number:x}",
            "valid_from": opened.signer.not_valid_before_utc.isoformat(),
            "valid_to": opened.signer.not_valid_after_utc.isoformat(),
            "signed_at": opened.signing_time.isoformat(),
        },
        "centre": opened.manifest.centre,
        "parts": {name: {"size": f.size, "sha256": f.sha256} for name, f in opened.manifest.parts.items()},
        "report": _document(opened.parts.get("report.json")),
        "visit": _document(opened.parts.get("visit.json")),
        "pad": _document(opened.parts.get("pad/score.json")),
    }


def _document(data: bytes | None) -> Any:
    """A JSON part, or null when it is none or cannot be written again (lone surrogates, integers of thousands of digits)."""
    if data is None or len(data) > MAX_DOCUMENT_BYTES:
        return None
    try:
        document = from_json(data, allow_inf_nan=False, cache_strings="keys")  # as in server/records.py
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return None
    return document
