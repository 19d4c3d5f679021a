"""The errors of heartbeats and of the fleet's pages; server/errors.py has the root and the rules.

HeartbeatError               what a booth tells: HeartbeatRefusedError, HeartbeatBoothError, HeartbeatsAtOnceError
FleetError                   what somebody changes at the desk: BoothUnknownError, SiteUnknownError, SiteInUseError, FleetEntryError, TokensUnavailableError
"""

from __future__ import annotations

from server.errors import DeskError, RequestError


class HeartbeatError(RequestError):
    """A heartbeat cannot be taken."""

    code = "heartbeat"
    title = "The heartbeat cannot be taken"


class HeartbeatRefusedError(HeartbeatError):
    """The heartbeat has another form than it must; the answer names the places."""

    code = "heartbeat.malformed"
    title = "The heartbeat has the wrong form"


class HeartbeatBoothError(HeartbeatError):
    """The heartbeat names another booth than the one that signed the request."""

    code = "heartbeat.booth"
    status = 403
    title = "The heartbeat is of another booth"


class HeartbeatsAtOnceError(HeartbeatError):
    """One booth tells more often than it is asked to."""

    code = "heartbeat.too_often"
    status = 429
    retry = True
    title = "The booth tells too often"


class FleetError(DeskError):
    """What is asked about booths and sites cannot be done."""

    code = "fleet"
    blame = "operator"
    status = 409
    title = "The fleet does not allow this"


class BoothUnknownError(FleetError):
    """There is no booth of this name."""

    code = "fleet.booth_unknown"
    status = 404
    title = "No such booth"


class SiteUnknownError(FleetError):
    """There is no site of this name."""

    code = "fleet.site_unknown"
    status = 404
    title = "No such site"


class SiteInUseError(FleetError):
    """Booths stand at the site."""

    code = "fleet.site_in_use"
    title = "Booths stand at this site"


class FleetEntryError(FleetError):
    """A name has another form than it must, or is taken."""

    code = "fleet.entry"
    status = 422
    title = "The name cannot be used"


class TokensUnavailableError(FleetError):
    """The desk does not reach the authority's folder of tokens."""

    code = "fleet.tokens"
    status = 503
    title = "Tokens are not made here"
