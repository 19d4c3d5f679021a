"""Any change or removal, by direct SQL, of what was decided, handed over or answered is found by `intake log verify`."""

from __future__ import annotations

import contextlib

import pytest
import sqlalchemy as sa

from server.log_audit import Audit, audit_log
from server.log_command import accounts_for, checks_for
from server.order_audit import check_decisions, check_orders
from tests.handover_rig import opened_counter
from tests.sealed_packets import Keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("order-audit-keys") / "pki")


class UndoneError(Exception):
    """So that a transaction is rolled back."""


async def found(counter, *changes: str) -> set[str]:
    """The codes of the findings after these statements, which are undone again."""
    audit, trust = Audit(), counter.keys.trust
    with contextlib.suppress(UndoneError):
        async with counter.intake.rooms.store.writing() as connection:
            for change in changes:
                done = await connection.execute(sa.text(change))
                assert done.rowcount, change
            for check in (check_decisions(trust), check_orders(trust)):
                await check(connection, audit)
            raise UndoneError
    return {finding.code for finding in audit.findings}


# Number 1 waits, 2 was accepted by the producer, 3 was rejected and sent anew as the order with cursor 4.
CHANGES = [
    (["UPDATE decisions SET decided_at = '2026-01-01 00:00:00.000000' WHERE number = 2"], "decision.changed"),
    (["UPDATE decisions SET verdict = 'refused' WHERE number = 2"], "decision.changed"),
    (["UPDATE decisions SET packet_sha256 = replace(packet_sha256, '1', '2') WHERE number = 3"], "decision.packet"),
    (
        ["UPDATE decisions SET decision = (SELECT decision FROM decisions WHERE number = 1) WHERE number = 2"],
        "decision.changed",
    ),
    (
        ["UPDATE decisions SET link = (SELECT link FROM decisions WHERE number = 1) WHERE number = 2"],
        "decision.changed",
    ),
    (["UPDATE decisions SET link = decision WHERE number = 3"], "decision.changed"),
    (["UPDATE decisions SET number = 9 WHERE number = 3"], "decision.missing"),
    (["DELETE FROM decisions WHERE number = 1"], "decision.missing"),
    (["DELETE FROM decisions WHERE number = 2"], "decision.missing"),
    (["DELETE FROM decisions WHERE number = 3"], "order.decision"),
    (["DELETE FROM decisions WHERE number = 3", "DELETE FROM orders WHERE cursor > 2"], "order.missing"),
    (["DELETE FROM decisions"], "order.decision"),
    (["DELETE FROM orders WHERE cursor = 1"], "decision.order"),
    (["DELETE FROM orders WHERE cursor = 2"], "order.missing"),
    (["DELETE FROM orders WHERE cursor = 4"], "order.superseded"),
    (["DELETE FROM orders"], "order.missing"),
    (["DELETE FROM order_counter"], "order.counter"),
    (["UPDATE order_counter SET last = 2"], "order.missing"),
    (["UPDATE orders SET answer = NULL, answered_at = NULL, answer_verdict = NULL WHERE cursor = 2"], "order.answer"),
    (["UPDATE orders SET cursor = 7 WHERE cursor = 4"], "order.missing"),
    (["UPDATE orders SET id = replace(id, substr(id, 1, 1), 'z') WHERE cursor = 1"], "order.changed"),
    (["UPDATE orders SET producer = 'another' WHERE cursor = 1"], "order.changed"),
    (["UPDATE orders SET message_sha256 = packet_sha256 WHERE cursor = 1"], "order.changed"),
    (["UPDATE orders SET size = size + 1 WHERE cursor = 1"], "order.changed"),
    (["UPDATE orders SET created_at = '2026-01-01 00:00:00.000000' WHERE cursor = 1"], "order.changed"),
    (["UPDATE orders SET answer_by = '2036-01-01 00:00:00.000000' WHERE cursor = 1"], "order.changed"),
    (["UPDATE orders SET note = (SELECT note FROM orders WHERE cursor = 2) WHERE cursor = 1"], "order.changed"),
    (["UPDATE orders SET resend_of = NULL WHERE cursor = 4"], "order.changed"),
    (["UPDATE orders SET superseded_at = NULL WHERE cursor = 3"], "order.superseded"),
    (["UPDATE orders SET superseded_at = created_at WHERE cursor = 1"], "order.superseded"),
    (["UPDATE orders SET answer = NULL WHERE cursor = 2"], "order.changed"),
    (["UPDATE orders SET answered_at = NULL WHERE cursor = 2"], "order.changed"),
    (["UPDATE orders SET answered_at = '2026-01-01 00:00:00.000000' WHERE cursor = 2"], "order.changed"),
    (["UPDATE orders SET answer_verdict = 'accepted', answer_code = NULL WHERE cursor = 3"], "order.changed"),
    (["UPDATE orders SET answer_code = 'content' WHERE cursor = 3"], "order.changed"),
    (
        [
            "UPDATE orders SET (answer, answer_verdict, answered_at) = (SELECT answer, 'accepted', answered_at FROM orders WHERE cursor = 2) WHERE cursor = 1"
        ],
        "order.changed",
    ),
]


async def test_every_change_by_hand_is_found(keys, tmp_path):
    async with opened_counter(keys, tmp_path / "data") as counter:
        first, second, third = [await counter.accept() for _ in range(3)]
        await counter.answer(second)
        await counter.answer(third, "quality")
        await counter.orders.ask_again(third)
        assert await counter.hand_over.send_anew() == 1
        trust = keys.trust
        audit = await audit_log(
            counter.intake.rooms.store, trust, accounts=accounts_for(trust), checks=checks_for(trust)
        )
        assert audit.sound, audit.findings
        assert await found(counter) == set()
        missed = [(changes, wanted) for changes, wanted in CHANGES if wanted not in await found(counter, *changes)]
        assert not missed
        # Rows and keys of another kind, as SQL by hand may leave them, are told and do not end the look.
        async with counter.intake.rooms.store.writing() as connection:
            await connection.execute(sa.text("UPDATE orders SET note = 'text' WHERE cursor = 1"))
        audit = await audit_log(counter.intake.rooms.store, trust, checks=checks_for(trust))
        assert {"row.kind"} <= {finding.code for finding in audit.findings}
        assert first.cursor == 1
