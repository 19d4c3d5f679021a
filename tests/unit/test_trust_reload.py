"""Roots and lists that are read again while requests come in: no state of the files makes a revoked booth good again or stops anything."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import os
from pathlib import Path
from unittest.mock import Mock

import pytest
from cryptography import x509

from crypto.errors import CertificateRefusedError, CertificateRevokedError
from crypto.issuance import Revoked
from crypto.keys import Purpose
from server.booth_trust import BoothTrust
from tests.packets import NOW, Authority, make_authority, make_signer
from tests.revocation_lists import DER, PEM, list_of, pem_list


class Fleet:
    """Two authorities in one trust file; the second has revoked its booth."""

    def __init__(self, folder: Path) -> None:
        self.first, self.second = make_authority("one"), make_authority("two")
        self.booth = make_signer(self.second)
        self.roots, self.lists = folder / "ca.pem", folder / "lists.pem"
        self.trust_both()
        self.firsts = pem_list(list_of(self.first, number=3))
        self.seconds = pem_list(self.second_list(3, self.revoked()))
        self.lists.write_bytes(self.firsts + self.seconds)
        self.time = 0.0
        self.trust = BoothTrust(self.roots, self.lists, monotonic=lambda: self.time)

    def trust_both(self) -> None:
        self.roots.write_bytes(b"".join(one.certificate.public_bytes(PEM) for one in (self.first, self.second)))

    def revoked(self) -> Revoked:
        return Revoked(self.booth.certificate.serial_number, NOW, x509.ReasonFlags.key_compromise)

    def second_list(self, number: int, *entries: Revoked) -> bytes:
        return list_of(self.second, *entries, number=number)

    async def look(self) -> str:
        """What becomes of the booth, by the files of now."""
        self.time += 1
        trust = await self.trust.current()
        try:
            trust.path(self.booth.certificate, [], Purpose.BOOTH, NOW)
        except CertificateRevokedError:
            return "revoked"
        except CertificateRefusedError:
            return "refused"
        return "accepted"


@pytest.fixture
def fleet(tmp_path) -> Fleet:
    return Fleet(tmp_path)


async def test_a_list_that_a_new_file_leaves_out_stays(fleet):
    assert await fleet.look() == "revoked"
    fleet.lists.write_bytes(fleet.firsts)  # a file of two lists that is being written, between the two
    assert await fleet.look() == "revoked"
    fleet.lists.write_bytes(fleet.firsts + pem_list(fleet.second_list(4)))
    assert await fleet.look() == "accepted"


async def test_another_list_of_the_same_number_counts_as_none(fleet):
    fleet.lists.write_bytes(fleet.firsts + pem_list(fleet.second_list(3)))  # by an authority from an old backup
    assert await fleet.look() == "revoked"
    assert fleet.trust.state == "unreadable"


async def test_a_disk_that_does_not_give_a_new_list_now_is_asked_again(fleet, monkeypatch, caplog):
    fleet.lists.write_bytes(fleet.firsts + pem_list(fleet.second_list(4)))
    with monkeypatch.context() as patch:
        patch.setattr("crypto.trust.read_file", Mock(side_effect=OSError(errno.EMFILE, "Too many open files")))
        assert [await fleet.look() for _ in range(3)] == ["revoked"] * 3
        assert fleet.trust.state == "unreadable"
    assert await fleet.look() == "accepted"
    assert len([one for one in caplog.records if "cannot be used" in one.message]) == 1


async def test_lists_of_roots_that_are_trusted_no_more_go(fleet):
    root: Authority = fleet.first
    fleet.roots.write_bytes(root.certificate.public_bytes(PEM))
    fleet.lists.write_bytes(fleet.firsts)
    assert await fleet.look() == "refused"
    assert [one.issuer for one in (await fleet.trust.current()).crls] == [root.certificate]


async def test_a_certificate_that_the_library_stumbles_over_changes_nothing_and_is_told(fleet):
    der = fleet.first.certificate.public_bytes(DER).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1)
    fleet.roots.write_text(
        f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"
    )
    assert await fleet.look() == "revoked"
    assert fleet.trust.state == "unreadable"
    fleet.trust_both()
    assert await fleet.look() == "revoked"
    assert fleet.trust.state == "current"


async def test_who_goes_away_while_lists_are_read_leaves_them_to_the_next(fleet):
    fleet.lists.write_bytes(fleet.firsts + pem_list(fleet.second_list(4)))
    fleet.time += 1
    reading = asyncio.create_task(fleet.trust.current())
    await asyncio.sleep(0)
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    assert await fleet.look() == "accepted"


@pytest.mark.parametrize("which", ["roots", "lists"])
async def test_a_fifo_in_place_of_a_file_holds_nobody(fleet, which):
    make_fifo(getattr(fleet, which))
    async with asyncio.timeout(5):
        assert await fleet.look() == "revoked"
    assert fleet.trust.state == "unreadable"


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)
