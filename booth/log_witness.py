"""The booth as a witness of the intake's receipt log: what a receipt says of the log must continue what earlier receipts said.

Order of operation for a verified receipt, before the packet's copy is deleted: its tree head against the newest one that this booth knows of that
log. Same size: the roots are equal. Otherwise the intake is asked, within a few seconds, for the proof that the smaller tree is the beginning of
the larger one. A proof that holds for a larger tree makes that head the newest one, stored whole on the disk.

Rules: only a contradiction keeps a packet: other roots, or a proof that does not lead from the one to the other. The technician is told, and told
again at every receipt until the contradiction is gone; both heads are signed and are evidence. No answer, or one that is no proof, keeps nothing back
and changes nothing: the next receipt asks again from the same head. A receipt from a log of another name is told, once for each log, and kept
beside the others: it may be a new intake, or an intake whose log was thrown away.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import httpx2

from booth.config import IntakeSection
from booth.errors import UplinkError
from booth.intake_answers import read_bounded, why_unanswered
from crypto.errors import LogProofError, ReceiptError
from crypto.key_folder import PUBLIC, write_whole
from crypto.keys import TrustStore
from crypto.merkle import HASH_BYTES, MAX_PROOF_HASHES, verify_consistency
from crypto.receipt import VerifiedReceipt
from crypto.tree_head import TreeHead, verify_tree_head

log = logging.getLogger(__name__)

NAME = "receipt-log.json"
SOURCE = "receipt log"
ASK_S = 5.0
# 55 hashes in hex, quoted, and room.
MAX_ANSWER_BYTES = 8_192
# Intakes that a booth meets in its life; the oldest are forgotten first.
MAX_LOGS = 8

Tell = Callable[[str, BaseException | None], None]


class LogWitness:
    """The newest tree heads that this booth knows, one for each log."""

    def __init__(self, folder: Path, trust: TrustStore) -> None:
        """Reads what is stored, blocking; what cannot be used is logged and counts as nothing known."""
        self._path = folder / NAME
        self._signed: dict[str, bytes] = {}
        self._heads: dict[str, TreeHead] = {}
        try:
            stored = [base64.b64decode(one, validate=True) for one in json.loads(self._path.read_bytes())]
            for signed in stored[-MAX_LOGS:]:
                self._take(verify_tree_head(signed, trust), signed)
        except FileNotFoundError:
            log.info("no tree head of a receipt log is known yet")
        except OSError as error:
            log.warning(
                "the known tree heads in %s cannot be read (%s): nothing is compared with them",
                self._path,
                error.strerror,
            )
        except (ValueError, TypeError, RecursionError, ReceiptError):
            log.warning("the file %s does not hold what the booth wrote: nothing is compared with it", self._path)

    def newest(self, name: str) -> TreeHead | None:
        """The newest head of a log."""
        return self._heads.get(name)

    async def judge(
        self,
        receipt: VerifiedReceipt,
        client: httpx2.AsyncClient,
        settings: IntakeSection,
        worker: Executor,
        tell: Tell,
    ) -> None:
        """Compares a receipt with what is known. Raises LogProofError for a contradiction."""
        new = TreeHead(
            log=receipt.log,
            size=receipt.tree_size,
            root_hash=receipt.root_hash,
            at=receipt.signed_at,
            intake=receipt.intake,
        )
        known = self._heads.get(receipt.log)
        try:
            proved = known is None or await _continues(known, new, client, settings)
        except LogProofError as error:
            tell(SOURCE, error)
            raise
        if known is None and self._heads:
            text = f"The intake's receipts come from another log ({receipt.log[:8]}…) than before: ask whether it was replaced."
            tell(SOURCE, LogProofError(text))
        elif proved:
            tell(SOURCE, None)
        if proved and (known is None or new.size > known.size):
            self._take(new, receipt.signed_head)
            try:
                await asyncio.get_running_loop().run_in_executor(worker, self._store)
            except OSError as error:
                log.warning("the newest tree head cannot be stored (%s)", error.strerror)

    def _take(self, head: TreeHead, signed: bytes) -> None:
        for known in (self._heads, self._signed):
            known.pop(head.log, None)  # so that the log used last stands last
        self._heads[head.log], self._signed[head.log] = head, signed
        for oldest in list(self._heads)[:-MAX_LOGS]:
            del self._heads[oldest], self._signed[oldest]

    def _store(self) -> None:
        text = json.dumps([base64.b64encode(one).decode("ascii") for one in tuple(self._signed.values())])
        write_whole(self._path, text.encode(), PUBLIC)


async def _continues(known: TreeHead, new: TreeHead, client: httpx2.AsyncClient, settings: IntakeSection) -> bool:
    """Whether two heads of a log were shown to belong together. Raises LogProofError when they do not."""
    first, second = sorted((known, new), key=lambda head: head.size)
    proof = [] if first.size == second.size else await _ask(first.size, second.size, client, settings)
    if proof is None:
        return False
    try:
        verify_consistency(first.size, second.size, first.root, second.root, proof)
    except LogProofError as error:
        raise LogProofError(
            f"The intake contradicts itself: its log of {second.size} entries is no continuation of its log of {first.size}."
        ) from error
    return True


async def _ask(first: int, second: int, client: httpx2.AsyncClient, settings: IntakeSection) -> list[bytes] | None:
    """The intake's proof, None when it gives none just now."""
    url = f"{settings.url}/v1/log/consistency?first={first}&second={second}"
    try:
        async with asyncio.timeout(min(ASK_S, settings.timeout_s)), client.stream("GET", url) as response:
            body = await read_bounded(response, MAX_ANSWER_BYTES)
    except (httpx2.HTTPError, TimeoutError, OSError, UplinkError) as error:
        log.info("no consistency proof from the intake: %s", why_unanswered(error))
        return None
    try:
        told = json.loads(body)["proof"] if response.status_code == httpx2.codes.OK else None
        proof = [bytes.fromhex(one) for one in told] if isinstance(told, list) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        proof = None
    if proof is None or len(proof) > MAX_PROOF_HASHES or any(len(one) != HASH_BYTES for one in proof):
        log.warning("the intake gives no consistency proof from %d to %d: %d", first, second, response.status_code)
        return None
    return proof
