"""What `intake ca` prints of certificates and lists: a table for people, plain values for JSON. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography.x509 import ReasonFlags
from rich.table import Column, Table

from crypto.revocation import RevocationList
from server.authority_index import Issued, hex_of

WARN_DAYS = 30
_SOON_DAYS = 7


def table_of(certificates: Sequence[Issued], now: datetime) -> Table:
    """One line for each certificate, with the days it has left."""
    table = Table(
        "Name", "For", Column("Days left", justify="right"), "Until", "Revoked", Column("Serial", overflow="fold")
    )
    for one in certificates:
        table.add_row(
            one.identity,
            one.profile,
            "" if one.revoked_at else coloured(days_left(one.not_after, now)),
            f"{one.not_after:%Y-%m-%d}",
            f"{one.revoked_at:%Y-%m-%d} {_words(one.reason)}" if one.revoked_at else "",
            hex_of(one.serial),
        )
    return table


def coloured(days: int) -> str:
    """Days left: green, yellow from a month ahead, red in the last week."""
    colour = "red" if days <= _SOON_DAYS else "yellow" if days <= WARN_DAYS else "green"
    return f"[{colour}]{days}[/{colour}]"


def days_left(end: datetime, now: datetime) -> int:
    """Whole days until an end; negative after it."""
    return (end - now).days


def certificate_facts(one: Issued) -> dict[str, object]:
    """A certificate for JSON."""
    return {
        "name": one.identity,
        "for": one.profile.value,
        "serial": hex_of(one.serial),
        "issued_at": iso(one.issued_at),
        "not_after": iso(one.not_after),
        "revoked_at": None if one.revoked_at is None else iso(one.revoked_at),
        "reason": _words(one.reason) or None,
    }


def list_facts(crl: RevocationList) -> dict[str, object]:
    """A revocation list for JSON."""
    return {
        "number": crl.number,
        "revoked": len(crl.entries),
        "issued_at": iso(crl.issued_at),
        "next_update": iso(crl.next_update_at),
    }


def list_text(crl: RevocationList) -> str:
    """A revocation list for people."""
    return f"number {crl.number}, {len(crl.entries)} certificates, next one due {crl.next_update_at:%Y-%m-%d}."


def iso(at: datetime) -> str:
    """A time for JSON."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _words(reason: ReasonFlags | None) -> str:
    """A reason as `revoke` takes it."""
    return "" if reason is None else reason.name.replace("_", "-")
