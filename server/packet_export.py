"""The original records of one packet in one ZIP, for who has to check them elsewhere: a court, a complaint's office, an expert.

What leaves is what was signed, byte by byte, and nothing that this desk says of it: the sealed packet, the booth's signed package and the ZIP inside it, the intake's
receipt with its place in the receipt log, and what was decided. README.txt tells how each is checked with openssl and a hash program, and what to
compare; the root certificate is not among them, because who checks has to have it from elsewhere.

The ZIP is stored without compression, in one order and with the time of arrival, so that the same packet gives the same bytes until something is decided about it.
"""

from __future__ import annotations

import binascii
import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC

import sqlalchemy as sa

from crypto.errors import ReceiptError
from crypto.merkle import leaf_hash
from crypto.receipt import read_receipt
from server.errors import StorageCorruptError
from server.handover_rows import decisions
from server.opening import PacketContent
from server.proposals import proposals_of
from server.store import Store, StoredPacket

MEDIA_TYPE = "application/zip"


@dataclass(frozen=True, slots=True)
class Decided:
    """What was signed about a packet: the decision with its link, and proposals before it, each None or empty where there is none."""

    decision: bytes | None
    link: bytes | None
    proposals: Sequence[bytes]


async def read_decided(store: Store, sha256: str) -> Decided:
    """The signed decision and proposals of a packet."""
    query = sa.select(decisions.c.decision, decisions.c.link).where(decisions.c.packet_sha256 == sha256)
    async with store.reading() as connection:
        row = (await connection.execute(query)).one_or_none()
        proposed = [bytes(one.record) for one in await proposals_of(connection, sha256)]
    if row is None:
        return Decided(None, None, proposed)
    return Decided(bytes(row.decision), bytes(row.link), proposed)


def make_export(stored: StoredPacket, content: PacketContent, sealed: bytes, decided: Decided) -> bytes:
    """The ZIP. Raises `StorageCorruptError` when the stored receipt is none."""
    files = {"packet.packet": sealed, "package.p7m": content.opened.cms, "package.zip": content.opened.package_bytes}
    files |= _receipt_files(stored.receipt)
    if decided.decision is not None and decided.link is not None:
        files |= {"decision.p7m": decided.decision, "decision-link.p7m": decided.link}
    files |= {f"proposal-{number}.p7m": data for number, data in enumerate(decided.proposals, start=1)}
    packet_id = content.opened.manifest.packet_id  # as it was signed: a row's may be anything
    files = {"README.txt": _readme(stored, packet_id, files).encode(), **files}
    at = stored.received_at.astimezone(UTC).timetuple()[:6]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(f"{packet_id}/{name}", at)
            entry.external_attr = 0o600 << 16
            archive.writestr(entry, data)
    return packed.getvalue()


def _receipt_files(receipt: bytes) -> dict[str, bytes]:
    try:
        read = read_receipt(receipt)
        head = read.signed_head
    except (ReceiptError, binascii.Error) as error:
        raise StorageCorruptError("The packet's stored receipt is none: look with `intake log verify`.") from error
    return {"receipt.json": receipt, "log-entry.json": read.entry.to_bytes(), "log-head.p7m": head}


def _readme(stored: StoredPacket, packet_id: str, files: Mapping[str, bytes]) -> str:
    receipt = read_receipt(files["receipt.json"])
    sums = "\n".join(f"  {hashlib.sha256(data).hexdigest()}  {name}" for name, data in files.items())
    proposals = [name for name in files if name.startswith("proposal-")]
    decided = ""
    if "decision.p7m" in files:
        decided = _DECISION
    if proposals:
        decided += _PROPOSALS.format(names=", ".join(proposals))
    return _README.format(
        packet_id=packet_id,
        sha256=stored.sha256,
        booth=stored.booth,
        received=stored.received_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        position=receipt.entry.position,
        hashes=len(receipt.inclusion),
        leaf=leaf_hash(files["log-entry.json"]).hex(),
        sums=sums,
        decided=decided,
    )


_README = """ORIGINAL RECORDS OF ONE PACKET
==============================

packet id     {packet_id}
SHA-256       {sha256}
booth         {booth}
received      {received}
log position  {position}

These files hold personal data: keep them as such, and delete them when they are no longer needed.

SHA-256 of each file
{sums}

How to check them
-----------------
You need openssl 3, unzip, find, sha256sum, and the root certificate of the authority (ca.pem), which you must have from the operator by another way than
this archive. Checks below look at time and chain as they were when something was signed; add -attime SECONDS, the signing time, when certificates have
ended since.

1. package.p7m: the booth signed this, and nobody changed it since.

     openssl cms -verify -inform DER -in package.p7m -CAfile ca.pem -purpose any -out again.zip
     cmp again.zip package.zip
     openssl cms -cmsout -print -inform DER -in package.p7m | grep -A2 signingTime

   The signer's common name is the booth. The package is a ZIP; its manifest.json names packet id, booth, and size and SHA-256 of every part:

     unzip package.zip -d package && cat package/manifest.json && find package -type f -exec sha256sum {{}} +

2. packet.packet: what the booth sent, encrypted. Its SHA-256 is that of the packet above. Its content is package.p7m; only the key of the desk opens it.

3. log-head.p7m, log-entry.json, receipt.json: the intake received this packet, and put it into its receipt log at position {position}.

     openssl cms -verify -inform DER -in log-head.p7m -CAfile ca.pem -purpose any

   prints the signed head of the log: its size and its root_hash. log-entry.json names the packet's SHA-256. The hash of its leaf is SHA-256 over one
   zero byte and the file (RFC 9162, 2.1.1):

     (printf '\\0'; cat log-entry.json) | sha256sum        {leaf}

   The {hashes} hashes in "inclusion" of receipt.json lead from this leaf to root_hash (RFC 9162, 2.1.3.2).
{decided}
What is not in this archive
---------------------------
No entry of the desk's audit log: it tells who exported this, and stays at the desk (`intake audit list --subject {sha256}`).
"""
_DECISION = """
4. decision.p7m, decision-link.p7m: what the desk decided, by whom (an opaque id), and its place in the chain of decisions.

     openssl cms -verify -inform DER -in decision.p7m -CAfile ca.pem -purpose any
     openssl cms -verify -inform DER -in decision-link.p7m -CAfile ca.pem -purpose any

   packet_sha256 is that of the packet above, cms_sha256 that of package.p7m; decision_sha256 in the link is that of decision.p7m;
   previous is the SHA-256 of the link of the decision before it, zeros for the first.
"""
_PROPOSALS = """
5. {names}: what one person proposed before a second one decided; checked in the same way.
"""
