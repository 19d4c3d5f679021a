"""Booths for a load: each with a key and certificate of its own, and packets that it really sealed, in files that client processes read.

Rules: a folder holds the keys of one installation (`pki`), and for booth n `booths/booth-n.key|.pem` and `packets/booth-n-i.packet`. Packets are
made as a booth makes them (crypto.package, crypto.seal) with one part of random bytes, so that they have the size that was asked for.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from crypto.development import make_development_pki
from crypto.issuance import Issuer, Profile, issue
from crypto.key_folder import PRIVATE, PUBLIC, write_whole
from crypto.keys import FileSigner, load_certificates, load_key, load_recipient_public_key, open_signer
from crypto.package import ManifestFields, build_package
from crypto.private_key import private_pem
from crypto.seal import HeaderFields, seal, sign

WORKERS = 2


class Fleet:
    """Booths and their packets in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pki = folder, folder / "pki"

    def booths(self) -> list[str]:
        """Their names."""
        return sorted(path.stem for path in (self.folder / "booths").glob("*.key"))

    def signer(self, booth: str) -> FileSigner:
        """A booth's key."""
        signer = open_signer(f"file:{self.folder / 'booths' / booth}.key")
        assert isinstance(signer, FileSigner)
        return signer

    def packets(self, booth: str) -> list[Path]:
        """A booth's packets, oldest first."""
        found = (self.folder / "packets").glob(f"{booth}-*.packet")
        return sorted(found, key=lambda path: int(path.stem.rpartition("-")[2]))


def make_fleet(
    folder: Path, booths: int, packets: int, size: int, step: Callable[[int], None] = lambda _: None
) -> Fleet:
    """So many booths with so many packets each, made by several processes; `step` hears how many booths are ready."""
    fleet, names = _begin(folder, booths)
    shares = [names[at : at + 10] for at in range(0, booths, 10)]
    with ProcessPoolExecutor(WORKERS) as pool:
        made = 0
        for count in pool.map(_fill, *zip(*((folder, share, packets, size) for share in shares), strict=True)):
            made += count
            step(made)
    return fleet


def make_small_fleet(folder: Path, booths: int, packets: int, size: int) -> Fleet:
    """The same in this process."""
    fleet, names = _begin(folder, booths)
    _fill(folder, names, packets, size)
    return fleet


def _begin(folder: Path, booths: int) -> tuple[Fleet, list[str]]:
    fleet = Fleet(folder)
    make_development_pki(fleet.pki)
    for name in ("booths", "packets"):
        (folder / name).mkdir(exist_ok=True)
    return fleet, [f"booth-{number:04d}" for number in range(1, booths + 1)]


def _fill(folder: Path, names: list[str], packets: int, size: int) -> int:
    fleet, now = Fleet(folder), datetime.now(UTC).replace(microsecond=0)
    issuer = Issuer(load_certificates(fleet.pki / "ca.pem")[0], load_key(fleet.pki / "ca.key", None))
    recipient = load_recipient_public_key(fleet.pki / "desk.hpke.pub")
    for name in names:
        key = ec.generate_private_key(ec.SECP384R1())
        leaf = issue(issuer, key.public_key(), name, Profile.BOOTH, now)
        write_whole(folder / "booths" / f"{name}.key", private_pem(key), PRIVATE)
        write_whole(folder / "booths" / f"{name}.pem", leaf.public_bytes(serialization.Encoding.PEM), PUBLIC)
        signer = FileSigner(leaf, (), key)
        for at, packet in enumerate(_packets(signer, name, recipient, now, packets, size)):
            (folder / "packets" / f"{name}-{at}.packet").write_bytes(packet)
    return len(names)


def _packets(signer: FileSigner, booth: str, recipient, now: datetime, count: int, size: int) -> Iterator[bytes]:
    """Sealed packets of exactly `size` bytes or, when that is less than the smallest, of the smallest."""
    around = 0
    for _ in range(count + 1):  # the first shows what stands around the part
        name = uuid.uuid4().hex
        fields = ManifestFields(
            packet_id=name, booth=booth, centre="centre-1", recipients=(recipient.key_id,), created_at=now
        )
        package = build_package(fields, {"portrait.jpg": secrets.token_bytes(max(1, size - around))})
        header = HeaderFields(packet_id=name, booth=booth, created_at=now)
        sealed = seal(sign(package.data, signer, now), header, [recipient])
        if around:
            yield sealed
        else:
            around = len(sealed) - size
            around = around if around > 0 else len(sealed) - 1
