"""What `intake log verify` looks at for proposals (server/log_audit.py takes this as a check).

Every row: signed by a desk, its columns what it says, numbers without a gap, each naming the one before. A withdrawal is by who proposed, a rejection by another
person. Every decision that names a second person stands on a proposal about its packet by the first; with that no proposal that counted can be taken off the end.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.decision import verify_decision
from crypto.errors import DecisionError
from crypto.keys import TrustStore
from server.handover_rows import decisions
from server.log_audit import Audit, Check
from server.log_rows import log_entries
from server.proposals import StoredProposal, proposal_faults, proposals

PAGE = 500


def check_proposals(trust: TrustStore) -> Check:
    """Every row of `proposals`, along the chain, and what stands on them."""

    async def check(connection: AsyncConnection, audit: Audit) -> None:
        in_log = sa.exists().where(log_entries.c.packet_sha256 == proposals.c.packet_sha256)
        query = sa.select(proposals, in_log.label("in_log")).order_by(proposals.c.number)
        number, previous = 0, None
        last: dict[str, StoredProposal] = {}  # of packets whose newest row is a proposal
        while True:
            rows = (await connection.execute(query.where(proposals.c.number > number).limit(PAGE))).all()
            for row in rows:
                proposal = StoredProposal(**{column.name: getattr(row, column.name) for column in proposals.c})
                if proposal.number != number + 1:
                    audit.add("proposal.missing", f"A proposal is gone before number {proposal.number}.")
                if not row.in_log:
                    audit.add(
                        "proposal.packet", f"Proposal {proposal.number} is about a packet that is not in the log."
                    )
                for fault in (*proposal_faults(proposal, previous, trust), *_order_faults(proposal, last)):
                    audit.add("proposal.changed", f"Proposal {proposal.number}: {fault}")
                if proposal.action == "proposed":
                    last[proposal.packet_sha256] = proposal
                else:
                    last.pop(proposal.packet_sha256, None)
                number, previous = proposal.number, proposal.record
            if not rows:
                break
        await _check_approvals(connection, audit, trust, {packet: one.officer for packet, one in last.items()})

    return check


async def _check_approvals(
    connection: AsyncConnection, audit: Audit, trust: TrustStore, proposed_by: dict[str, str]
) -> None:
    """That each decision by two persons stands on the first one's proposal."""
    number = 0
    while True:
        query = sa.select(decisions).where(decisions.c.number > number).order_by(decisions.c.number).limit(PAGE)
        rows = (await connection.execute(query)).all()
        for row in rows:
            number = row.number
            try:
                decision = verify_decision(bytes(row.decision), trust)
            except (DecisionError, TypeError):
                continue  # told by server/order_audit.py
            if decision.second_officer is not None and proposed_by.get(decision.packet_sha256) != decision.officer:
                audit.add("proposal.missing", f"The proposal behind decision {row.number} is gone.")
        if not rows:
            return


def _order_faults(row: StoredProposal, last: dict[str, StoredProposal]) -> Iterator[str]:
    """What does not follow from what stood before about the same packet."""
    before = last.get(row.packet_sha256)
    if row.action == "proposed":
        if before is not None:
            yield "another one stood already."
    elif before is None:
        yield "it ends nothing."
    elif (row.action == "withdrawn") != (row.officer == before.officer):
        yield "who made it could not."
