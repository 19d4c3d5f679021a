"""How an order for a producer is made: the booth's unchanged package and the desk's decision sealed for the keys of now, and the desk's note of it.

Order of operation: the producer's present keys are read → message and note are signed and sealed, off the event loop → the message is durable in the place's `orders`,
under its digest. Only then may a row speak of it (server/decisions.py): a crash before leaves a message that nobody is shown and the orphan collector removes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from crypto.errors import CryptoError, HandOverError
from crypto.handover import make_message, sign_order
from crypto.keys import RecipientPublicKey, Signer
from crypto.seal import Opened
from server.handover_errors import AcceptRefusedError, HandOverUnavailableError
from server.objects import ObjectStore
from server.producers import keys_of
from server.store import StoredPacket

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MadeOrder:
    """A message that is durable, and what its order will say; each field is a column."""

    id: str
    producer: str
    message_sha256: str
    size: int
    created_at: datetime
    answer_by: datetime
    note: bytes
    resend_of: str | None

    def columns(self, packet_sha256: str, cursor: int) -> dict[str, Any]:
        """The row of `orders`."""
        return asdict(self) | {"packet_sha256": packet_sha256, "cursor": cursor}


class DecisionKey:
    """The desk's key for decisions, where there is one."""

    def __init__(self, source: Callable[[], Signer] | None) -> None:
        self._source = source

    def source(self) -> Callable[[], Signer]:
        """Gives the present signer. Raises `HandOverUnavailableError`."""
        if self._source is None:
            raise HandOverUnavailableError("This desk has no key for decisions (decision_signer).")
        return self._source

    async def signed(self, work: Callable[[Signer], T]) -> T:
        """What `work` makes with the present signer, off the event loop: a token takes its time."""
        source = self.source()
        with _translated():
            return await asyncio.to_thread(lambda: work(source()))


class OrderMaker:
    """Makes messages and notes."""

    def __init__(
        self, messages: ObjectStore, producers: Path | None, key: DecisionKey, answer_within: timedelta
    ) -> None:
        self._messages, self._producers, self._key, self._answer_within = messages, producers, key, answer_within

    async def make(
        self,
        stored: StoredPacket,
        opened: Opened,
        decision: bytes,
        producer: str,
        at: datetime,
        resend_of: str | None = None,
    ) -> MadeOrder:
        """A message and its note, the message durable. Raises `AcceptRefusedError`, `HandOverUnavailableError`, `StorageError`."""
        keys: list[RecipientPublicKey] = await asyncio.to_thread(keys_of, self._producers, producer)
        order, answer_by = secrets.token_hex(16), at + self._answer_within

        def make(signer: Signer) -> tuple[bytes, bytes]:
            message = make_message(opened.cms, decision, opened.manifest, keys, signer, at)
            note = sign_order(
                order=order,
                packet_sha256=stored.sha256,
                producer=producer,
                recipients=[key.key_id for key in keys],
                message=message,
                at=at,
                answer_by=answer_by,
                resend_of=resend_of,
                signer=signer,
            )
            return message, note

        message, note = await self._key.signed(make)
        digest = hashlib.sha256(message).hexdigest()
        async with self._messages.writer() as writer:
            await writer.write(message)
            await writer.keep(digest)
        return MadeOrder(order, producer, digest, len(message), at, answer_by, note, resend_of)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except HandOverError as error:
        raise AcceptRefusedError("The packet cannot be handed over: it is too large for a message.") from error
    except CryptoError as error:
        raise HandOverUnavailableError(
            "This desk cannot sign decisions just now: look at its key and its certificate."
        ) from error
