"""PURE. Who may do what at the desk: roles, permissions, and the one table that joins them.

Rules: a route names a permission, never a role; a person may hold several roles and may then do what any of them may. Roles are cut so that nobody checks
himself: an auditor reads everything that was done and decides nothing, an administrator makes users and sees no portrait, a technician sees booths and no
applicant. A second person's approval needs another person, whatever roles both have (server/decisions.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType


class Role(StrEnum):
    """What somebody is at the desk."""

    OFFICER = "officer"
    SUPERVISOR = "supervisor"
    AUDITOR = "auditor"
    TECHNICIAN = "technician"
    ADMINISTRATOR = "administrator"
    CLERK = "clerk"  # at a centre's counter


class Permission(StrEnum):
    """What a route asks for."""

    PACKETS_READ = "packets.read"  # queue, search, packet page with portrait and report
    PACKETS_DECIDE = "packets.decide"  # accept, refuse
    PACKETS_APPROVE = "packets.approve"  # as the second person
    PACKETS_EXPORT = "packets.export"  # original records leave the desk
    PACKETS_HOLD = "packets.hold"
    HANDOVER_READ = "handover.read"
    HANDOVER_RESEND = "handover.resend"
    APPLICATIONS = "applications"  # counter: register, print, look up
    FLEET_READ = "fleet.read"
    FLEET_ACT = "fleet.act"  # remote actions, sites, enrolment tokens
    STATISTICS = "statistics"
    AUDIT_READ = "audit.read"
    USERS = "users"


_P = Permission
_DESK = (_P.PACKETS_READ, _P.PACKETS_DECIDE, _P.HANDOVER_READ)

GRANTS: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.OFFICER: frozenset(_DESK),
        Role.SUPERVISOR: frozenset(
            {
                *_DESK,
                *(_P.PACKETS_APPROVE, _P.PACKETS_EXPORT, _P.PACKETS_HOLD, _P.HANDOVER_RESEND),
                *(_P.APPLICATIONS, _P.FLEET_READ, _P.STATISTICS),
            }
        ),
        Role.AUDITOR: frozenset({_P.PACKETS_READ, _P.HANDOVER_READ, _P.FLEET_READ, _P.STATISTICS, _P.AUDIT_READ}),
        Role.TECHNICIAN: frozenset({_P.FLEET_READ, _P.FLEET_ACT, _P.STATISTICS}),
        Role.ADMINISTRATOR: frozenset({_P.USERS, _P.FLEET_READ, _P.STATISTICS}),
        Role.CLERK: frozenset({_P.APPLICATIONS}),
    }
)


def granted(roles: Iterable[Role]) -> frozenset[Permission]:
    """What these roles may do together."""
    return frozenset[Permission]().union(*(GRANTS[role] for role in roles))
