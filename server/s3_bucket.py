"""A bucket of an S3-compatible store: the only file that imports obstore, and the only place where its errors are translated.

Rules: an object is put in one request, with its SHA-256 as checksum, and is durable when the store has answered; `create` adds If-None-Match, so
that of several writers of one key one wins. The store must be strongly consistent (Amazon S3 is) and must not keep old versions: what is deleted
would stay there. A bucket that does is refused at the start, and one that begins to is not ready any more.
Only loopback may be spoken to without TLS. What fails is tried again by the client, RETRIES times and not longer than the time of one request;
then it is `StorageUnavailableError`, and nothing is known of a put: it may be there or not, and putting it again is harmless.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from server.config import StoreSettings
from server.errors import SettingsError, StorageUnavailableError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config, S3Store

RETRIES = 2
# Each put holds its object in memory up to three times, 20 MiB at most (config.max_packet_bytes): 240 MB of the unit's 512 (docs/operations.md).
PUTS_AT_ONCE = 4
# S3 lists at most so many keys in one answer (Amazon S3 API, ListObjectsV2: max-keys).
LISTED_AT_ONCE = 1000
# Says that an intake made this place; a desk does not make one.
MARK, MARK_BYTES = "passbooth", b"A place for sealed packets of Passbooth.\n"


@dataclass(frozen=True, slots=True)
class Key:
    """One key as a listing tells it."""

    name: str
    size: int
    modified_at: datetime


class KeyTakenError(Exception):
    """Somebody else created this key before. Never leaves the rooms of the bucket."""


class Bucket:
    """A prefix of a bucket. Use `make_bucket`."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self._putting = asyncio.Semaphore(PUTS_AT_ONCE)

    async def put(self, key: str, data: bytes, *, create: bool = False) -> None:
        """Store an object; returns when it is durable. Raises `KeyTakenError` when it is to be created and is there."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with _translated():
            try:
                mode: Literal["create", "overwrite"] = "create" if create else "overwrite"
                put = await obstore.put_async(self._store, key, data, use_multipart=False, mode=mode)
            except AlreadyExistsError as error:
                raise KeyTakenError from error
        if put["version"] not in {None, "null"} and key == MARK:
            raise SettingsError(
                "The bucket keeps old versions of its objects, so that nothing could be deleted: suspend its versioning, remove the versions."
            )

    @contextlib.asynccontextmanager
    async def putting(self) -> AsyncIterator[None]:
        """A place among those that hold an object in memory to put it."""
        async with self._putting:
            yield

    async def get(self, key: str) -> bytes | None:
        """The bytes of an object; none when there is none."""
        import obstore

        with _translated():
            try:
                return bytes(await (await obstore.get_async(self._store, key)).bytes_async())
            except FileNotFoundError:
                return None

    async def find(self, key: str) -> Key | None:
        """Size and age of an object; none when there is none."""
        import obstore

        with _translated():
            try:
                told = await obstore.head_async(self._store, key)
            except FileNotFoundError:
                return None
        return Key(told["path"], told["size"], told["last_modified"])

    async def keys(self, folder: str, after: str = "") -> AsyncIterator[Key]:
        """The keys below `folder/`, by name, those behind `folder/after`."""
        import obstore

        with _translated():
            offset = f"{folder}/{after}" if after else None
            async for chunk in obstore.list(self._store, folder, offset=offset, chunk_size=LISTED_AT_ONCE):
                for one in chunk:
                    yield Key(one["path"], one["size"], one["last_modified"])

    async def delete(self, key: str) -> None:
        """Remove an object, if it is there; returns when it is gone."""
        import obstore

        with _translated(), contextlib.suppress(FileNotFoundError):
            await obstore.delete_async(self._store, key)

    async def prove(self) -> None:
        """Make the mark, and see that the store is one to rely on. Raises `SettingsError`, `StorageUnavailableError`."""
        await self.put(MARK, MARK_BYTES)
        try:
            await self.put(MARK, MARK_BYTES, create=True)
        except KeyTakenError:
            return
        raise SettingsError("The object store ignores If-None-Match, by which intakes keep out of each other's way.")

    async def check(self) -> None:
        """Raises `StorageUnavailableError` when nothing can be written just now."""
        try:
            await self.put(MARK, MARK_BYTES)
        except SettingsError as error:
            raise StorageUnavailableError(str(error)) from error


def make_bucket(settings: StoreSettings) -> Bucket:
    """The bucket that the settings name; nothing is asked of it yet. Raises `SettingsError`."""
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    url = urlsplit(settings.objects_url or "")
    if url.scheme != "s3" or not url.hostname or url.query or url.fragment or url.netloc != url.hostname:
        raise SettingsError(
            "objects_url is s3://bucket/prefix, without keys, port or query: they are settings of their own."
        )
    config: S3Config = {
        "region": settings.s3_region,
        "checksum_algorithm": "SHA256",
        # One DELETE for one object: not every store has the one for many.
        "disable_bulk_delete": True,
    } | _credentials(settings)
    seconds = timedelta(seconds=settings.s3_timeout_s)
    client: ClientConfig = {"timeout": seconds, "connect_timeout": seconds, "allow_http": False}
    if settings.s3_endpoint is not None:
        config["endpoint"] = settings.s3_endpoint.rstrip("/")
        client["allow_http"] = _plain_allowed(settings.s3_endpoint)
    if settings.s3_root_certificate is not None:
        try:
            client["root_certificate"] = settings.s3_root_certificate.read_bytes()
        except OSError as error:
            raise SettingsError(f"{settings.s3_root_certificate} cannot be read: {error.strerror}.") from error
    try:
        store = S3Store(
            url.hostname,
            prefix=url.path.strip("/") or None,
            config=config,
            client_options=client,
            retry_config={"max_retries": RETRIES, "retry_timeout": seconds},
        )
    except (BaseError, ValueError) as error:
        raise SettingsError("The settings of the object store contradict themselves: see docs/storage.md.") from error
    return Bucket(store)


def _credentials(settings: StoreSettings) -> S3Config:
    """The key from settings or its file; nothing when the machine has a role of its own."""
    if settings.s3_access_key_id is None:
        if settings.s3_secret_key is not None or settings.s3_secret_key_file is not None:
            raise SettingsError("s3_access_key_id is missing: a secret key alone says nothing.")
        return {}
    if (settings.s3_secret_key is None) == (settings.s3_secret_key_file is None):
        raise SettingsError("Give s3_secret_key_file or s3_secret_key, one of them, with s3_access_key_id.")
    if settings.s3_secret_key_file is None:
        assert settings.s3_secret_key is not None
        secret = settings.s3_secret_key.get_secret_value()
    else:
        try:
            secret = settings.s3_secret_key_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{settings.s3_secret_key_file} cannot be read as a secret key.") from error
    return {"access_key_id": settings.s3_access_key_id, "secret_access_key": secret}


def _plain_allowed(endpoint: str) -> bool:
    """Whether the endpoint is spoken to without TLS. Raises `SettingsError` when it must not be."""
    url = urlsplit(endpoint)
    if url.scheme not in {"http", "https"} or not url.hostname or url.username or url.query or url.fragment:
        raise SettingsError("s3_endpoint is https://host, with a port if need be, and nothing else.")
    if url.scheme == "https":
        return False
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(url.hostname).is_loopback:
            return True
    if url.hostname == "localhost":
        return True
    raise SettingsError("s3_endpoint is plain HTTP: only a store on this machine may be spoken to without TLS.")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise StorageUnavailableError(
            "The object store refuses the key: look at the key and at what it may do (docs/storage.md)."
        ) from error
    except FileNotFoundError as error:
        raise StorageUnavailableError(
            "The object store has no such bucket: make it, or correct objects_url."
        ) from error
    except (BaseError, OSError, TimeoutError) as error:
        raise StorageUnavailableError(
            "The object store did not answer as it should: look at its address, its keys, and whether it runs."
        ) from error
