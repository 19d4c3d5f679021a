"""`booth packet show|verify|open|schema`: look at a sealed packet on the machine that has it.

`show` reads the public header and needs no key; nothing vouches for what it says. `verify` and `open` need the back office's
private key and the trust roots; they check everything that the desk checks, in the same order (crypto.seal). Several keys may be given: the
packet is opened with the first that it names.

`open` writes only after the packet has passed: into a new folder beside the wanted one, closed to others, which gets its name
last. So the wanted folder is there whole or not at all, and what was written is removed when anything fails.
Exit codes: 0 good, 1 the packet was refused, 2 it, a key or a folder could not be read or written.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from booth.terminal import output, printable

if TYPE_CHECKING:
    from crypto.errors import Stage
    from crypto.keys import RecipientKey, TrustStore
    from crypto.seal import Header, Opened

REFUSED, UNREADABLE = 1, 2

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Look at sealed packets: show the header, verify, open; print the schema of the manifest.

    [bold]Examples[/bold]

    booth packet show visit.packet                            public header, no key needed

    booth packet verify visit.packet --pki ./pki              is it genuine and unchanged?

    booth packet open visit.packet --pki ./pki --out opened   write portrait, report and the signed original
    """,
)

PacketFile = Annotated[Path, typer.Argument(metavar="FILE", help="A sealed packet.", show_default=False)]
PkiOption = Annotated[
    Path | None,
    typer.Option("--pki", help="Folder with desk.hpke and ca.pem, as `intake pki init` makes it.", show_default=False),
]
KeyOption = Annotated[
    list[Path] | None,
    typer.Option("--key", help="A private key of the back office; may be given more than once.", show_default=False),
]
TrustOption = Annotated[
    Path | None, typer.Option("--trust", help="Trusted authorities, a PEM file.", show_default=False)
]
CrlOption = Annotated[
    Path | None,
    typer.Option("--crl", help="Revocation lists of the authorities; with --pki, ca.crl there.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
ExplainOption = Annotated[
    bool, typer.Option("--explain", help="Say why a packet is refused. For you, not for whoever sent it.")
]


@app.command("show")
def show(file: PacketFile, *, as_json: JsonOption = False) -> None:
    """Show the public header. Anybody may have written it: only `verify` tells whether it is true.

    [bold]Example[/bold]: booth packet show visit.packet --json
    """
    with _failures(as_json=as_json):
        facts = _file_facts(file, _read_packet(file))
    if as_json:
        _print_json(facts)
    else:
        _print_table(f"Sealed packet {file.name}: public header, not verified", _header_rows(facts))


@app.command("verify")
def verify(
    file: PacketFile,
    *,
    pki: PkiOption = None,
    key: KeyOption = None,
    trust: TrustOption = None,
    crl: CrlOption = None,
    explain: ExplainOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check seal, signature, certificates, manifest and every part; write nothing.

    [bold]Example[/bold]: booth packet verify visit.packet --pki ./pki
    """
    with _failures(as_json=as_json, explain=explain):
        packet = _read_packet(file)
        opened = _open(packet, pki, key, trust, crl)
        facts = _file_facts(file, packet) | _verified_facts(opened)
    _report(facts, as_json=as_json)


@app.command("open")
def open_(
    file: PacketFile,
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder to make; it must not exist, or be empty.")],
    pki: PkiOption = None,
    key: KeyOption = None,
    trust: TrustOption = None,
    crl: CrlOption = None,
    explain: ExplainOption = False,
    as_json: JsonOption = False,
) -> None:
    """Verify, then write the parts, the package (ZIP) and its signed original (CMS), readable by you alone.

    [bold]Example[/bold]: booth packet open visit.packet --key desk.hpke --trust ca.pem --out opened
    """
    with _failures(as_json=as_json, explain=explain):
        packet = _read_packet(file)
        _check_free(out)
        opened = _open(packet, pki, key, trust, crl)
        _write(out, opened)
        facts = _file_facts(file, packet) | _verified_facts(opened) | {"out": str(out)}
    _report(facts, as_json=as_json)


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of the manifest, as it is published in docs/manifest.schema.json.

    [bold]Example[/bold]: booth packet schema > manifest.schema.json
    """
    from crypto.manifest_schema import manifest_schema

    _print_json(manifest_schema())


class _UnreadableError(Exception):
    """One sentence for exit code 2."""


def _read_packet(file: Path) -> bytes:
    """The bytes of a packet whose header can be read."""
    from crypto.errors import PacketFormatError
    from crypto.seal import MAX_PACKET_BYTES, read_header

    try:
        with open(file, "rb", opener=_open_without_waiting) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise _UnreadableError(f"{file} is not a file.")
            packet = stream.read(MAX_PACKET_BYTES + 1)
    except OSError as err:
        raise _UnreadableError(f"{file} cannot be read: {err.strerror}.") from err
    if len(packet) > MAX_PACKET_BYTES:
        raise _UnreadableError(f"{file} is larger than any packet ({MAX_PACKET_BYTES} bytes).")
    try:
        read_header(packet)
    except PacketFormatError as err:
        raise _UnreadableError(f"{file}: {err}") from err
    return packet


def _open_without_waiting(path: str, flags: int) -> int:
    """A FIFO must not hold us until somebody writes."""
    return os.open(path, flags | os.O_NONBLOCK)


def _open(packet: bytes, pki: Path | None, keys: list[Path] | None, trust: Path | None, crl: Path | None) -> Opened:
    from crypto.errors import KeyUnavailableError, RevocationListError
    from crypto.seal import open_packet

    try:
        recipients, roots = _load_keys(pki, keys or [], trust, crl)
    except (KeyUnavailableError, RevocationListError) as err:
        raise _UnreadableError(str(err)) from err
    return open_packet(packet, recipients, roots)


def _load_keys(
    pki: Path | None, keys: list[Path], trust: Path | None, crl: Path | None
) -> tuple[list[RecipientKey], TrustStore]:
    from crypto.keys import load_recipient_key, load_trust

    if pki is not None:
        lists = pki / "ca.crl"
        if trust is None and crl is None and lists.exists():  # the lists of other roots say nothing
            crl = lists
        keys, trust = keys or [pki / "desk.hpke"], trust or pki / "ca.pem"
    if not keys or trust is None:
        raise _UnreadableError(
            "A key and trusted authorities are needed: give --pki DIR, or --key FILE and --trust FILE."
        )
    return [load_recipient_key(path) for path in keys], load_trust(trust, crl)


def _check_free(out: Path) -> None:
    try:
        if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
            raise _UnreadableError(f"{out} is already there: give the name of a new folder.")
    except OSError as err:
        raise _UnreadableError(f"{out} cannot be used: {err.strerror}.") from err


def _write(out: Path, opened: Opened) -> None:
    """Everything into a new folder beside `out`, which then takes that name."""
    from crypto.package import MANIFEST

    parts = {MANIFEST: opened.manifest.to_bytes()} | dict(opened.parts)
    files = {"package.cms": opened.cms, "package.zip": opened.package_bytes}
    files |= {f"parts/{name}": data for name, data in parts.items()}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))  # 0700
    except OSError as err:
        raise _UnreadableError(f"{out} cannot be made: {err.strerror}.") from err
    try:
        for name, data in files.items():
            path = partial / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
        partial.rename(out)  # takes the place of an empty folder, never of a full one
    except OSError as err:
        raise _UnreadableError(f"{out} cannot be written: {err.strerror}. Nothing was left there.") from err
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # gone already when all went well


def _file_facts(file: Path, packet: bytes) -> dict[str, Any]:
    from crypto.seal import read_header

    facts = {"file": str(file), "size": len(packet), "sha256": hashlib.sha256(packet).hexdigest()}
    return facts | {"header": _header_facts(read_header(packet))}


def _header_facts(header: Header) -> dict[str, Any]:
    """The header in one form for both versions; the wraps say nothing to people."""
    facts: dict[str, Any] = json.loads(header.to_bytes())
    facts = {name: value for name, value in facts.items() if name not in {"recipient_key_id", "recipients"}}
    return facts | {"recipient_key_ids": list(header.recipient_key_ids)}


def _verified_facts(opened: Opened) -> dict[str, Any]:
    from crypto.package import write_instant
    from crypto.trust import common_name

    certificate = opened.signer
    signer = {
        "booth": common_name(certificate),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "valid_from": write_instant(certificate.not_valid_before_utc),
        "valid_to": write_instant(certificate.not_valid_after_utc),
        "signing_time": write_instant(opened.signing_time),
    }
    return {"verdict": "accepted", "signer": signer, "manifest": json.loads(opened.manifest.to_bytes())}


def _report(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        _print_json(facts)
        return
    signer, manifest = facts["signer"], facts["manifest"]
    rows = _header_rows(facts) | {
        "centre": manifest["centre"],
        "signed": f"{signer['signing_time']} by {signer['booth']}, certificate {signer['serial']}",
        "certificate": f"{signer['valid_from']} to {signer['valid_to']}, issued by {signer['issuer']}",
        "verdict": "accepted: genuine, unchanged, for this recipient",
    }
    _print_table(f"Sealed packet {Path(facts['file']).name}: verified", rows)
    table = Table(title="Parts", title_justify="left")
    table.add_column("part", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("SHA-256", overflow="fold")
    for name, part in manifest["parts"].items():
        table.add_row(escape(name), f"{part['size']:,}", part["sha256"])
    output().print(table)
    if "out" in facts:
        told = f"Written to {printable(facts['out'])}: parts/, package.zip, package.cms"
        output().print(told, markup=False, soft_wrap=True)


def _header_rows(facts: dict[str, Any]) -> dict[str, str]:
    header = facts["header"]
    return {
        "packet id": header["packet_id"],
        "booth": header["booth"],
        "made": header["created_at"],
        "recipient keys": " ".join(header["recipient_key_ids"]),
        "suite": header["suite"],
        "format version": str(header["version"]),
        "bytes": f"{facts['size']:,}",
        "SHA-256": facts["sha256"],
    }


def _print_table(title: str, rows: dict[str, str]) -> None:
    table = Table(title=escape(printable(title)), show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, escape(printable(value)))
    output().print(table)


def _print_json(facts: dict[str, Any]) -> None:
    print(json.dumps(facts, indent=2, sort_keys=True))


@contextmanager
def _failures(*, as_json: bool, explain: bool = False) -> Iterator[None]:
    from crypto.errors import PacketRefusedError

    try:
        yield
    except PacketRefusedError as err:
        reason = str(err)
        if explain:
            reason += f" Reason ({err.stage}): {err.__cause__}"
        elif not as_json:
            reason += " With --explain this machine tells you more."
        _fail("refused", reason, REFUSED, as_json=as_json, code=err.code, stage=err.stage if explain else None)
    except _UnreadableError as err:
        _fail("unreadable", str(err), UNREADABLE, as_json=as_json, code="packet.unreadable")


def _fail(verdict: str, reason: str, status: int, *, as_json: bool, code: str, stage: Stage | None = None) -> NoReturn:
    if as_json:
        _print_json({"verdict": verdict, "code": code, "reason": reason} | ({"stage": stage} if stage else {}))
    else:
        Console(stderr=True).print(printable(reason), markup=False, soft_wrap=True, style="red")
    raise typer.Exit(status)
