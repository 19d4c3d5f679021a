"""Orders from afar: pulled from the intake, believed for a desk's signature alone, done between visits, answered (crypto/booth_order.py, booth/order_work.py).

Order of operation for one: the booth asks for what waits, by a signed request → each document is verified up to a root → it is for this booth, newer than the
last, made after this booth's book was begun, not from a time to come → nobody is in the booth and no technician works → written down as begun → done → its
outcome is written down → told to the intake, signed, again and again until it took it.

Rules
  - What is no order of a trusted desk for this booth is not done and not answered; it is told to the technician, and the next good look ends that.
  - An order that is past its end, or older than the book, is answered as refused. One that was taken before is not done again. When it still waits at an intake
    that took its answer, that intake lost it (it was restored from an older backup): the answer is told again, without a bundle.
  - One answer that the intake does not take keeps no other one back. A bundle has BUNDLE_S to arrive, as the intake has it, and goes last;
    what is not taken is sent again after ever longer times, an hour at most.
  - While somebody is here, or a technician works or looks, nothing is begun; an order waits for that until its end. What an order begins (self-tests) keeps
    visits away as a technician's own work does; he sees it and can cancel it.
  - The booth asks when a heartbeat says that something waits, at its start, and every LOOK_S otherwise; a quarter more or
    less by chance, so that booths that got their power back at once do not all ask at once. `[fleet] orders = false` ends it: nothing is asked for.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import logging
import random
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from datetime import datetime, timedelta
from typing import TypeVar

import httpx2

from booth.config import FleetSection, IntakeSection
from booth.delivery import own_version
from booth.errors import UplinkError
from booth.intake_answers import Problem, read_bounded, read_problem, why_unanswered
from booth.order_book import INTERRUPTED, OrderBook, OrderLine
from booth.order_work import Came, OrderWork
from booth.presence import Presence
from booth.revocation_list import Tell
from crypto.booth_order import (
    ANSWER_TYPE,
    BUNDLE_TYPE,
    MAX_ORDER_BYTES,
    BoothOrder,
    OrderKind,
    Outcome,
    sign_booth_answer,
    verify_booth_order,
)
from crypto.errors import BoothOrderError, CryptoError
from crypto.http_signature import sign_request
from crypto.keys import Signer, TrustStore

log = logging.getLogger(__name__)
T = TypeVar("T")

SOURCE = "remote orders"
LOOK_S, FIRST_S, LONGEST_S = 3600.0, 60.0, 3600.0
JITTER = 0.25
# An order waits for its answer, or for an empty booth.
AGAIN_S = 30.0
PATIENCE_S = 600.0
CLOCK_SLACK = timedelta(seconds=300)  # as for requests (crypto/http_signature.py, WINDOW_S)
MOST_ORDERS = 16
MAX_LIST_BYTES = MOST_ORDERS * MAX_ORDER_BYTES * 2
MAX_ANSWER_BYTES = 8_192
# Five megabytes over a poor line (server/booth_order_routes.py has the same).
BUNDLE_S = 120.0
# The intake does not know the order, or has another answer to it, or takes this one never: asking again changes nothing.
FINAL = frozenset({"booth_order.unknown", "booth_order.answered", "booth_order.answer"})


class RemoteOrders:
    """One booth's; run as a task."""

    def __init__(
        self,
        settings: FleetSection,
        intake: IntakeSection,
        booth: str,
        book: OrderBook,
        work: OrderWork,
        presence: Presence,
        client: httpx2.AsyncClient,
        worker: Executor,
        signer: Callable[[], Signer],
        trust: Callable[[], TrustStore],
        tell: Tell,
        note: Callable[[str], None],
        now: Callable[[], datetime],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings, self._url, self._timeout_s = settings, f"{intake.url}/v1/booth-orders", intake.timeout_s
        self._booth, self._book, self._work, self._presence = booth, book, work, presence
        self._client, self._worker, self._signer, self._trust = client, worker, signer, trust
        self._tell, self._note, self._now = tell, note, now
        self._chance = chance
        self._wake = asyncio.Event()
        self._failures = 0

    @property
    def enabled(self) -> bool:
        """Whether this booth asks for orders."""
        return self._settings.orders

    @property
    def lines(self) -> tuple[OrderLine, ...]:
        """The orders that this booth got, newest first."""
        return self._book.lines

    def wake(self) -> None:
        """Something waits."""
        self._wake.set()

    async def run(self) -> None:
        """Asks for ever."""
        if not self._settings.orders:
            return
        wait_s = FIRST_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s * (1 - JITTER + 2 * JITTER * self._chance())):
                    await self._wake.wait()
            self._wake.clear()
            wait_s = await self.turn()

    async def turn(self) -> float:
        """Asks once and does what waits; returns how long to wait for the next time."""
        try:
            await self._close_interrupted()
            waits = await self.look()
            told = await self._tell_answers()
        except (httpx2.HTTPError, TimeoutError, OSError, UplinkError) as error:
            return self._failed(why_unanswered(error))
        except CryptoError as error:  # the booth's own key: told by who follows it
            return self._failed(str(error))
        except Exception as error:
            # A defect of ours must not end the listening of months.
            log.exception("remote orders go on after an unexpected error")
            return self._failed(type(error).__name__)
        if not told:
            return self._failed("an answer was not taken")
        self._failures = 0
        if waits:
            return AGAIN_S
        if self._work.restart_waits:
            await self._presence.until_idle(PATIENCE_S)
            if self._work.may_begin():  # nor a technician's work is cut off
                self._work.restart()
        return AGAIN_S if self._work.restart_waits else LOOK_S

    async def look(self) -> bool:
        """Asks for what waits and does what can be done now; whether something has to wait."""
        documents = await self._pull()
        trouble: BoothOrderError | None = None
        for document in documents:
            try:
                order = await self._on_worker(self._verified, document)
            except BoothOrderError as error:
                trouble = error
                continue
            if order is not None and not await self._handle(order, document):
                self._tell(SOURCE, trouble)
                return True
        self._tell(SOURCE, trouble)
        return False

    def _verified(self, document: bytes) -> BoothOrder | None:
        """The order, None for one that was taken before. Raises BoothOrderError."""
        order = verify_booth_order(document, self._trust())
        if order.booth != self._booth:
            raise BoothOrderError("An order came that is for another booth.")
        if self._book.is_known(order):
            self._book.tell_again(order, document)
            return None
        if self._book.is_old(order):
            raise BoothOrderError("An order came whose number is not above that of the last one.")
        if order.made_at > self._now() + CLOCK_SLACK:
            raise BoothOrderError("An order came that was made in the future: one of the two clocks is wrong.")
        return order

    async def _handle(self, order: BoothOrder, document: bytes) -> bool:
        """Does it, or refuses it; False when it has to wait."""
        refused = await self._on_worker(self._objection, order)
        if refused is None:
            await self._presence.until_idle(PATIENCE_S)
            if not self._work.may_begin():
                return False
            refused = await self._on_worker(self._objection, order)  # its end may have come meanwhile
        line = await self._on_worker(self._book.take, order, document)
        self._note(f"order {line.id[:8]} of {line.by} ({line.office}): {line.kind}")
        came = Came(Outcome.REFUSED, refused) if refused is not None else await self._work.do(line)
        await self._finish(line, came)
        return True

    def _objection(self, order: BoothOrder) -> str | None:
        """Why an order is refused whatever it asks."""
        if self._now() >= order.expires_at:
            return "expired"
        return "predates" if self._book.predates(order) else None

    async def _close_interrupted(self) -> None:
        for line in self._book.interrupted():
            await self._finish(line, Came(Outcome.FAILED, INTERRUPTED))

    async def _finish(self, line: OrderLine, came: Came) -> None:
        """The outcome is written down; then it is told."""
        if came.sealed_bundle is not None:
            await self._on_worker(self._book.keep_bundle, line.id, came.sealed_bundle)
        done = {"outcome": came.outcome, "code": came.code, "counts": dict(came.counts)}
        await self._on_worker(self._book.finish, line.model_copy(update=done))
        self._note(f"order {line.id[:8]}: {came.outcome}" + (f" ({came.code})" if came.code else ""))

    # --- the intake ----------------------------------------------------------------------------------------------------

    async def _pull(self) -> list[bytes]:
        """The documents that wait. Raises what a request raises, UplinkError."""
        status, headers, body = await self._ask("GET", "", b"", None, MAX_LIST_BYTES)
        if status != 200:
            log.info("no orders from the intake: %s", read_problem(status, headers, body).said)
            return []
        try:
            told = json.loads(body)["orders"][:MOST_ORDERS]
            return [base64.b64decode(one, validate=True) for one in told]
        except (ValueError, RecursionError, TypeError, KeyError, binascii.Error):
            log.info("the intake's orders cannot be read")
            return []

    async def _tell_answers(self) -> bool:
        """Tells every outcome that waits, signed anew each time: an intake that has an answer already says so. Whether none is left."""
        settled = True
        for line in sorted(self._book.untold(), key=lambda one: one.kind is OrderKind.SUPPORT_BUNDLE):
            settled = await self._settle(line) and settled
        return settled

    async def _settle(self, line: OrderLine) -> bool:
        """Tells one outcome; whether it is settled."""
        bundle = await self._on_worker(self._book.bundle, line.id)
        if bundle is not None and not await self._tell_one("PUT", f"/{line.id}/bundle", bundle, BUNDLE_TYPE):
            return False
        answer = await self._on_worker(self._answer, line, bundle)
        if not await self._tell_one("POST", f"/{line.id}/answer", answer, ANSWER_TYPE):
            return False
        await self._on_worker(self._book.told, line.id)
        return True

    def _answer(self, line: OrderLine, bundle: bytes | None) -> bytes:
        assert line.outcome is not None
        return sign_booth_answer(
            order=line.id,
            order_document=self._book.document(line.id),
            outcome=line.outcome,
            code=line.code,
            counts=line.counts,
            bundle=bundle,
            at=self._now(),
            signer=self._signer(),
        )

    async def _tell_one(self, method: str, path: str, body: bytes, kind: str) -> bool:
        """Whether that is settled: taken, or never to be taken."""
        status, headers, answer = await self._ask(method, path, body, kind, MAX_ANSWER_BYTES)
        if status in {200, 204}:
            return True
        problem: Problem = read_problem(status, headers, answer)
        log.info("the answer to an order was not taken: %s", problem.said)
        return problem.code in FINAL

    async def _ask(
        self, method: str, path: str, body: bytes, kind: str | None, most: int
    ) -> tuple[int, Mapping[str, str], bytes]:
        told = {"Booth-Software": own_version()} | ({} if kind is None else {"Content-Type": kind})
        url = f"{self._url}{path}"
        headers = told | await self._on_worker(lambda: sign_request(method, url, told, body, self._signer()))
        async with asyncio.timeout(max(self._timeout_s, BUNDLE_S) if kind == BUNDLE_TYPE else self._timeout_s):
            async with self._client.stream(method, url, content=body, headers=headers) as response:
                return response.status_code, response.headers, await read_bounded(response, most)

    def _failed(self, why: str) -> float:
        log.info("remote orders: %s", why)
        pause_s = min(LONGEST_S, AGAIN_S * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return pause_s

    async def _on_worker(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)
