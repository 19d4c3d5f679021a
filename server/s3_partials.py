"""Interrupted uploads in a bucket, for any number of intakes: no lock is held between them.

One object per piece, `partial/<digest of the booth's name>/<packet digest>-<length>/<offset>`: an upload is the chain of pieces that begins at 0, each
where the one before ends, and its offset is the end of the chain. A piece is never changed. What lies behind a gap counts for nothing.

Order of operation
  append: in this process one request at a time adds to an upload; others are told to come back → the chain ends at the offset that the sender
      names → each PIECE_BYTES that gathered become a piece, created with If-None-Match: of two intakes at the same offset one wins, the other's
      sender is told to come back → whatever ends the request: the rest becomes the last piece.
  find: while a request of this process writes, its end is waited for, a moment. A request at another intake may still add a piece: who goes on
      at the offset that was told is then told the new one.
  complete: all pieces are fetched and joined with what gathered, with their digest → `keep`: one put among the packets → row and receipt are
      committed → the pieces are removed. A packet that came in one request and fits into a piece is put once and never is a piece.
  An upload without a piece is marked by an empty object `begun`, so that its sender is told to go on at 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from server.disk import Disk
from server.errors import (
    OverloadError,
    StorageError,
    UnknownPacketError,
    UploadLengthError,
    UploadOffsetError,
)
from server.partials import ENDING_S, LOOK_S, Append, Partial, PartialLimits
from server.s3_bucket import Bucket, Key, KeyTakenError
from server.spool import Spool

log = logging.getLogger(__name__)

# A kill of the intake costs at most so many bytes of an upload; each piece is a request to the store.
PIECE_BYTES = 1024 * 1024
# A line that breaks so often is no line: the upload begins anew, instead of becoming a request to the store for every few bytes.
MAX_PIECES = 1000
BEGUN = "begun"
FOLDER = "partial"
_KEY = re.compile(rf"({FOLDER}/[0-9a-f]{{64}}/[0-9a-f]{{64}}-[0-9]{{1,15}})/([0-9]{{1,15}}|{BEGUN})", re.ASCII)


@dataclass(slots=True)
class _Upload:
    """What lies there of one upload."""

    folder: str
    keys: list[Key] = field(default_factory=list)

    @property
    def sha256(self) -> str:
        return self.folder.rpartition("/")[2].partition("-")[0]

    @property
    def length(self) -> int:
        return int(self.folder.rpartition("-")[2])

    @property
    def size(self) -> int:
        return sum(key.size for key in self.keys)

    @property
    def at(self) -> float:
        """The time of the last byte."""
        return max(key.modified_at.timestamp() for key in self.keys)

    @property
    def offset(self) -> int:
        """How far it has come."""
        return sum(piece.size for piece in self.chain())

    def chain(self) -> list[Key]:
        """The pieces in order, without a gap."""
        starts = {int(name): key for key in self.keys if (name := key.name.rpartition("/")[2]) != BEGUN}
        chain, offset = [], 0
        while (piece := starts.get(offset)) is not None and piece.size:
            chain.append(piece)
            offset += piece.size
        return chain


class S3Partials:
    """The interrupted uploads of a bucket. What `packet_key` names is where a packet belongs."""

    def __init__(
        self,
        bucket: Bucket,
        disk: Disk,
        packet_key: Callable[[str], str],
        limits: PartialLimits,
        retry_after_s: int,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._bucket, self._disk, self._packet_key = bucket, disk, packet_key
        self._limits, self._retry_after_s, self._now = limits, retry_after_s, now
        self._written: set[tuple[str, str]] = set()

    async def find(self, booth: str, sha256: str) -> Partial | None:
        """How far the booth's upload of this packet has come; it waits for a request of this process that is just ending.

        Raises `OverloadError` when somebody goes on writing: an offset that moves would cost the sender its content.
        """
        mine = (_booth_folder(booth), sha256)
        for _ in range(int(ENDING_S / LOOK_S)):
            if mine not in self._written:
                break
            await asyncio.sleep(LOOK_S)
        else:
            raise self.busy()
        found = _newest(await self._uploads(mine[0]), sha256)
        return None if found is None else Partial(found.offset, found.length)

    @contextlib.asynccontextmanager
    async def append(self, booth: str, sha256: str, offset: int | None, length: int | None) -> AsyncIterator[S3Append]:
        """Go on at `offset`; None begins anew. What was written stays, whatever ends the block.

        Raises `UploadOffsetError`, `UploadLengthError`, `UnknownPacketError` (nothing to go on with), `OverloadError` (somebody else writes).
        """
        mine = (_booth_folder(booth), sha256)
        if mine in self._written:
            raise self.busy()
        self._written.add(mine)
        opened: S3Append | None = None
        try:
            opened = await self._open(mine[0], sha256, offset, length)
            yield opened
        finally:
            await asyncio.shield(self._close(mine, opened))

    async def sweep(self) -> int:
        """Remove what is too old or too much; returns how many that were."""
        uploads = sorted(await self._uploads(), key=lambda one: one.at)
        total, dropped, now = sum(one.size for one in uploads), 0, self._now()
        for one in uploads:
            if now - one.at <= self._limits.kept_s and total <= self._limits.total_bytes:
                break
            if await self._drop(one):
                total, dropped = total - one.size, dropped + 1
        return dropped

    def busy(self) -> OverloadError:
        """Somebody else adds to the upload."""
        return OverloadError("Another upload of this packet is under way.", retry_after_s=self._retry_after_s)

    async def offset(self, folder: str) -> int:
        """How far an upload has come by what lies there now."""
        return sum(one.offset for one in await self._uploads(folder.rpartition("/")[0]) if one.folder == folder)

    async def _open(self, booth_folder: str, sha256: str, offset: int | None, length: int | None) -> S3Append:
        uploads = await self._uploads(booth_folder)
        mine = [one for one in uploads if one.sha256 == sha256]
        others = sorted((one for one in uploads if one.sha256 != sha256), key=lambda one: one.at)
        if offset is None:
            if length is None:
                raise UploadLengthError("Tell the length of the packet (Upload-Length).")
            for old in mine:
                await self._remove(old)
            found = _Upload(f"{booth_folder}/{sha256}-{length}")
        else:
            newest = _newest(mine, sha256)
            if newest is None:
                raise UnknownPacketError("Nothing of this packet came from this booth: begin with PUT.")
            if length is not None and length != newest.length:
                raise UploadLengthError("The upload was begun with another length.")
            if offset != newest.offset:
                raise UploadOffsetError(f"The upload goes on at byte {newest.offset}.", offset=newest.offset)
            if len(newest.chain()) >= MAX_PIECES:
                await self._remove(newest)
                raise UnknownPacketError("The upload came in too many pieces: begin with PUT.")
            found = newest
        await self._make_room(others, found.length)
        return S3Append(self, self._bucket, Spool(self._disk), found, self._packet_key)

    async def _close(self, mine: tuple[str, str], opened: S3Append | None) -> None:
        try:
            if opened is not None:
                await opened.close()
        finally:
            self._written.discard(mine)

    async def _make_room(self, others: Sequence[_Upload], length: int) -> None:
        """The booth's other partials, oldest first, give way to one of this length."""
        bytes_left = self._limits.booth_bytes - length - sum(one.size for one in others)
        for at, one in enumerate(others):
            if bytes_left >= 0 and len(others) - at < self._limits.booth_count:
                break
            if await self._drop(one):
                bytes_left += one.size

    async def _drop(self, upload: _Upload) -> bool:
        """Remove a partial that no request of this process is writing to."""
        if (upload.folder.rpartition("/")[0], upload.sha256) in self._written:
            return False
        await self._remove(upload)
        return True

    async def _remove(self, upload: _Upload) -> None:
        # From the end, so that what is left of it half-way is still a chain.
        for key in sorted(upload.keys, key=lambda one: (len(one.name), one.name), reverse=True):
            await self._bucket.delete(key.name)

    async def _uploads(self, folder: str = FOLDER) -> list[_Upload]:
        """What lies below a folder, upload by upload."""
        found: dict[str, list[Key]] = defaultdict(list)
        async for key in self._bucket.keys(folder):
            if (named := _KEY.fullmatch(key.name)) is not None:  # what somebody else put there is not ours to judge
                found[named[1]].append(key)
        return [_Upload(name, keys) for name, keys in found.items()]


class S3Append(Append):
    """One partial while a request of this process adds to it."""

    def __init__(
        self,
        partials: S3Partials,
        bucket: Bucket,
        spool: Spool,
        begun: _Upload,
        packet_key: Callable[[str], str],
    ) -> None:
        super().__init__(Partial(begun.offset, begun.length), PIECE_BYTES)
        self._partials, self._bucket, self._spool = partials, bucket, spool
        self._folder, self._packet_key = begun.folder, packet_key
        self._before = [key.name for key in begun.chain()]
        self._lying = [key.name for key in begun.keys]
        self._added: list[str] = []
        self._ended = False  # nothing more is to be put

    async def _put_gathered(self) -> None:
        if not self._gathered:
            return
        key, data = f"{self._folder}/{self._offset}", bytes(self._gathered)
        try:
            await self._bucket.put(key, data, create=True)
        except KeyTakenError as error:
            self._gathered.clear()  # another intake has a piece there: this one's sender asks where to go on
            self._ended = True
            raise self._partials.busy() from error
        self._added.append(key)
        self._offset += len(data)
        del self._gathered[: len(data)]

    async def sync(self) -> None:
        """Make everything written durable."""
        await self._put_gathered()

    async def forget_content(self) -> None:
        """What this request brought is not what was signed: its pieces are removed."""
        self._gathered.clear()
        self._offset = self.begun.offset
        while self._added:
            await self._bucket.delete(self._added[-1])
            self._added.pop()

    async def read(self, head_bytes: int) -> tuple[str, bytes]:
        """All came: digest and first bytes of the whole. Raises `UploadOffsetError` when pieces of it are gone."""
        digest, head = hashlib.sha256(), b""
        for key in (*self._before, *self._added):
            piece = await self._bucket.get(key)
            if piece is None:  # swept by another intake, or begun anew there
                reached = await self._partials.offset(self._folder)
                raise UploadOffsetError(f"The upload goes on at byte {reached}.", offset=reached)
            digest.update(piece)
            head += piece[: head_bytes - len(head)]
            await self._spool.write(piece)
        digest.update(self._gathered)
        head += self._gathered[: head_bytes - len(head)]
        await self._spool.write(bytes(self._gathered))
        return digest.hexdigest(), bytes(head)

    async def keep(self, sha256: str) -> None:
        """Put the whole among the packets; the pieces stay until `remove`."""
        async with self._bucket.putting():
            await self._bucket.put(self._packet_key(sha256), await self._spool.whole(sha256))

    async def remove(self) -> None:
        """Drop the partial. What the store does not remove now is swept later: the packet has its receipt, or is none."""
        self._gathered.clear()
        self._ended = True
        try:
            for key in (*reversed(self._added), *self._lying):
                await self._bucket.delete(key)
        except StorageError as error:
            log.warning("Pieces of an upload were not removed.", exc_info=error)

    async def close(self) -> None:
        """Keep what came, as the last piece."""
        try:
            if self._ended:
                return
            if self._offset or self._gathered:
                with contextlib.suppress(OverloadError):  # another intake has a piece there, and its chain goes on
                    await self._put_gathered()
            elif not self._lying:
                await self._bucket.put(f"{self._folder}/{BEGUN}", b"")
        finally:
            await self._spool.drop()


def _booth_folder(booth: str) -> str:
    return f"{FOLDER}/{hashlib.sha256(booth.encode()).hexdigest()}"


def _newest(uploads: Sequence[_Upload], sha256: str) -> _Upload | None:
    """The upload of this packet; should there be two, of different lengths, the one that was added to last."""
    return max((one for one in uploads if one.sha256 == sha256), key=lambda one: one.at, default=None)
