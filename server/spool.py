"""Bytes on their way to an object store: in memory while they are few, in an unnamed file of a local folder when they are more.

The file has no name, so nothing is left of it however the process ends. It need not be durable: what is confirmed is durable in the store.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from io import FileIO

from server.disk import Disk
from server.errors import StorageCorruptError

# Most packets never touch the disk (0.3 MB, product.md); 32 uploads at once (config.max_uploads) hold 32 MiB.
MEMORY_BYTES = 1024 * 1024


class Spool:
    """Bytes that gather. `drop` lets go of them.

    The lock orders the disk work of a request that was cancelled half-way before the closing of its file.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._gathered = bytearray()
        self._file: FileIO | None = None
        self._busy = threading.Lock()

    async def write(self, chunk: bytes) -> None:
        """Append bytes."""
        self._gathered += chunk
        if len(self._gathered) >= MEMORY_BYTES:
            await self._disk.finish(self._spill)

    async def whole(self, sha256: str) -> bytes:
        """All bytes, proven to have this digest. Raises `StorageCorruptError` when the local disk changed them."""
        return await self._disk.run(self._whole, sha256)

    async def drop(self) -> None:
        """Let go of everything."""
        await self._disk.finish(self._close)

    def _spill(self) -> None:
        with self._busy:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._disk.incoming, buffering=0)  # noqa: SIM115 (`_close` closes it)
            view = memoryview(bytes(self._gathered))
            self._gathered.clear()
            while view:
                view = view[self._file.write(view) :]

    def _whole(self, sha256: str) -> bytes:
        with self._busy:
            data = bytes(self._gathered)
            if self._file is not None:
                self._file.seek(0)
                data = self._file.read() + data
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StorageCorruptError("Bytes changed on the local disk on their way to the object store.")
        return data

    def _close(self) -> None:
        with self._busy:
            self._gathered.clear()
            if self._file is not None:
                self._file.close()
                self._file = None
