"""What is refused when a packet is decided about; server/errors.py has the root and the rules.

DeskError    SecondPersonError, SamePersonError, ProposalGoneError, DecidedOtherwiseError, RefusalReasonsError
"""

from __future__ import annotations

from server.errors import DeskError


class SecondPersonError(DeskError):
    """One person's acceptance is not enough for this packet."""

    code = "decision.second_person"
    status = 409
    title = "A second person has to accept this packet, too"


class SamePersonError(DeskError):
    """Who proposed an acceptance cannot be the second person."""

    code = "decision.same_person"
    status = 403
    title = "Another person has to approve this"


class ProposalGoneError(DeskError):
    """The proposal that somebody looked at is no longer the one that stands."""

    code = "decision.proposal_gone"
    status = 409
    title = "This proposal does not stand any more"


class DecidedOtherwiseError(DeskError):
    """Somebody else has decided otherwise meanwhile."""

    code = "decision.otherwise"
    status = 409
    title = "The packet was decided otherwise meanwhile"


class RefusalReasonsError(DeskError):
    """A refusal has one to three reasons of the catalogue, a rejected proposal one of its own."""

    code = "decision.reasons"
    status = 400
    title = "Choose the reasons from those on the page"
