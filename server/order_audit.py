"""What `intake log verify` looks at for decisions and orders (server/log_audit.py takes these as checks).

- Every decision: signed by a desk; its columns are what it says; its packet is in the receipt log; numbers have no gap, and each link names the decision and
  the link before it; of an acceptance, and of nothing else, an order was made.
- Every order: its columns are what the desk's note says; cursors have no gap up to the counter's, nor are there fewer answers than it says; it stands on a decision about its packet; it is superseded
  where, and only where, another order was sent in its place; an answer is the producer's, about this very order and message, and its columns say the same.

Rows or answers taken away together with what the counter says of them leave no gap: the producer's own copies (docs/handover.md) show them. `resend_asked_at` is a
wish and `answered_at` the intake's clock: neither is signed. Producers with an authority of their own are believed when the roots given hold it.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.decision import verify_decision, verify_link
from crypto.errors import DecisionError, HandOverError
from crypto.handover import verify_answer, verify_order
from crypto.keys import TrustStore
from server.handover_rows import (
    Order,
    StoredDecision,
    decisions,
    order_counter,
    orders,
)
from server.log_audit import Audit, Check
from server.log_rows import log_entries
from server.orders import CLOCK_SLACK

PAGE = 500


def check_decisions(trust: TrustStore) -> Check:
    """Every row of `decisions`, along the chain."""

    async def check(connection: AsyncConnection, audit: Audit) -> None:
        in_log = sa.exists().where(log_entries.c.packet_sha256 == decisions.c.packet_sha256)
        ordered = sa.exists().where(orders.c.packet_sha256 == decisions.c.packet_sha256)
        query = sa.select(decisions, in_log.label("in_log"), ordered.label("ordered")).order_by(decisions.c.number)
        number, previous = 0, None
        while True:
            rows = (await connection.execute(query.where(decisions.c.number > number).limit(PAGE))).all()
            for row in rows:
                decision = StoredDecision(**{column.name: getattr(row, column.name) for column in decisions.c})
                if decision.number != number + 1:
                    audit.add("decision.missing", f"A decision is gone before number {decision.number}.")
                if not row.in_log:
                    audit.add(
                        "decision.packet", f"Decision {decision.number} is about a packet that is not in the log."
                    )
                if decision.verdict == "accepted" and not row.ordered:
                    audit.add("decision.order", f"The order of decision {decision.number} is gone.")
                if decision.verdict != "accepted" and row.ordered:
                    audit.add("order.decision", f"An order was made of decision {decision.number}, which refuses.")
                for fault in _decision_faults(decision, previous, trust):
                    audit.add("decision.changed", f"Decision {decision.number}: {fault}")
                number, previous = decision.number, decision.link
            if not rows:
                return

    return check


def check_orders(trust: TrustStore) -> Check:
    """Every row of `orders`, and the counter of their cursors."""

    async def check(connection: AsyncConnection, audit: Audit) -> None:
        following = orders.alias()
        next_at = sa.select(following.c.created_at).where(following.c.resend_of == orders.c.id).scalar_subquery()
        decided = sa.exists().where(decisions.c.packet_sha256 == orders.c.packet_sha256)
        query = sa.select(orders, next_at.label("next_at"), decided.label("decided")).order_by(orders.c.cursor)
        cursor = 0
        while True:
            rows = (await connection.execute(query.where(orders.c.cursor > cursor).limit(PAGE))).all()
            for row in rows:
                order = Order(**{column.name: getattr(row, column.name) for column in orders.c})
                if order.cursor != cursor + 1:
                    audit.add("order.missing", f"An order is gone before cursor {order.cursor}.")
                if not row.decided:
                    audit.add("order.decision", f"The decision behind order {order.id} is gone.")
                if order.superseded_at != row.next_at:
                    audit.add("order.superseded", f"Order {order.id} is not superseded as it says.")
                for fault in (*_order_faults(order, trust), *_answer_faults(order, trust)):
                    audit.add("order.changed", f"Order {order.id}: {fault}")
                cursor = order.cursor
            if not rows:
                break
        # One statement, so that it is one moment, whatever desks and intakes write meanwhile.
        newest = sa.select(sa.func.coalesce(sa.func.max(orders.c.cursor), 0)).scalar_subquery()
        answered = sa.select(sa.func.count()).where(orders.c.answered_at.is_not(None)).scalar_subquery()
        counted = sa.select(order_counter.c.last, order_counter.c.answered, newest, answered)
        counters = (await connection.execute(counted)).all()
        if len(counters) != 1:
            audit.add("order.counter", "The counter of orders is gone.")
            return
        last, answers, newest_cursor, answers_there = counters[0]
        if last != newest_cursor:
            audit.add("order.missing", f"{last} orders were made, and the newest has the cursor {newest_cursor}.")
        if answers != answers_there:
            audit.add("order.answer", f"{answers} orders were answered, and {answers_there} have an answer.")

    return check


def _decision_faults(row: StoredDecision, previous: bytes | None, trust: TrustStore) -> Iterator[str]:
    try:
        decision = verify_decision(row.decision, trust)
        verify_link(row.link, trust, number=row.number, decision=row.decision, previous=previous)
    except DecisionError as error:
        yield str(error)
        return
    said = (decision.packet_sha256, decision.decided_at, decision.verdict)
    if said != (row.packet_sha256, row.decided_at, row.verdict):
        yield "its row says something else than its signature covers."


def _order_faults(row: Order, trust: TrustStore) -> Iterator[str]:
    try:
        note = verify_order(row.note, trust)
    except HandOverError as error:
        yield str(error)
        return
    names = ("packet_sha256", "producer", "message_sha256", "size", "created_at", "answer_by", "resend_of")
    if note.order != row.id or any(getattr(note, name) != getattr(row, name) for name in names):
        yield "its row says something else than the desk's note."


def _answer_faults(row: Order, trust: TrustStore) -> Iterator[str]:
    if row.answer is None or row.answered_at is None:
        if (row.answer, row.answered_at, row.answer_verdict, row.answer_code) != (None, None, None, None):
            yield "its answer is there in part alone."
        return
    try:
        answer = verify_answer(row.answer, trust)
    except HandOverError as error:
        yield str(error)
        return
    said = (answer.order, answer.message_sha256, answer.producer, answer.verdict, answer.code)
    if said != (row.id, row.message_sha256, row.producer, row.answer_verdict, row.answer_code):
        yield "its row says something else than the producer's answer."
    if row.answered_at < answer.answered_at - CLOCK_SLACK:
        yield "its answer came before the producer gave it."
