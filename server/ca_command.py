"""`intake ca`: the certificate authority at the operator's hands: init, issue, revoke, crl, token, list.

Exit codes: 0 done; 1 refused, or (`list`) something needs attention; 2 the authority cannot be used, or the command was misspelt. What was done is on stdout,
why not on stderr in one sentence. A result file is written whole or not at all, and only after the authority remembers what is in it: after a kill, `list` tells
what was done. A token is printed once and stored nowhere.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from server.command_options import AsJson

if TYPE_CHECKING:
    from server.authority import Authority

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""The certificate authority: who is a booth, an intake, a server, a centre.

    [bold]Examples[/bold]

    intake ca init ./ca --name "Interior photo booths" --passphrase-file ./ca.pass

    intake ca token ./ca booth-0001 --passphrase-file ./ca.pass

    intake ca revoke ./ca booth-0001 --reason key-compromise --passphrase-file ./ca.pass

    intake ca list ./ca
    """,
)

_MAX_REQUEST_FILE_BYTES = 16_384


class Kind(StrEnum):
    """What a certificate is issued for."""

    BOOTH = "booth"
    INTAKE = "intake"
    TLS = "tls"
    CENTRE = "centre"
    STAFF = "staff"
    DESK = "desk"
    PRODUCER = "producer"


class Reason(StrEnum):
    """Why a certificate is taken back (RFC 5280, 5.3.1)."""

    KEY_COMPROMISE = "key-compromise"
    AFFILIATION_CHANGED = "affiliation-changed"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessation-of-operation"
    PRIVILEGE_WITHDRAWN = "privilege-withdrawn"
    UNSPECIFIED = "unspecified"


Folder = Annotated[Path, typer.Argument(help="The authority's folder.", show_default=False)]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        help="File (0600) with the passphrase of the authority's key.",
        envvar="INTAKE_CA_PASSPHRASE_FILE",
    ),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file instead of stdout.")]
Copy = Annotated[Path | None, typer.Option("--out", "-o", help="Write the list to this file too.")]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.", show_default=False)],
    name: Annotated[str, typer.Option(help="Common name of the authority.", show_default=False)],
    organisation: Annotated[str, typer.Option(help="Organisation in every certificate.")] = "Passbooth",
    days: Annotated[int, typer.Option(min=1, max=10_950, help="How long the root is valid.")] = 3_650,
    passphrase_file: PassphraseFile = None,
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Leave the key unencrypted on the disk.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a new authority: root certificate, encrypted key, empty revocation list. An existing one is never replaced.

    Give ca.pem and ca.crl to every booth, intake and desk. Keep a copy of ca.key and of the passphrase apart from each other.

    [bold]Example[/bold]: intake ca init ./ca --name "Interior photo booths" --passphrase-file ./ca.pass
    """
    from server.authority import init_authority, read_passphrase
    from server.ca_listing import iso
    from server.memory import forbid_dumps

    with _told():
        forbid_dumps()
        if (passphrase_file is None) != no_passphrase:
            _stop("Give --passphrase-file FILE, or ask for an unencrypted key with --no-passphrase.", 2)
        passphrase = None if passphrase_file is None else read_passphrase(passphrase_file)
        authority = init_authority(folder, name, organisation, passphrase, days=days)
        subject = authority.certificate.subject.rfc4514_string()
        ends = authority.certificate.not_valid_after_utc
    if as_json:
        print(json.dumps({"folder": str(folder), "subject": subject, "not_after": iso(ends)}))
    else:
        print(f"{folder}: {subject}, valid until {ends:%Y-%m-%d}.")


@app.command()
def issue(
    folder: Folder,
    request: Annotated[Path, typer.Argument(help="The certificate request (PKCS#10, PEM).", show_default=False)],
    kind: Annotated[Kind, typer.Option("--for", help="What the certificate is for.", show_default=False)],
    names: Annotated[
        list[str] | None, typer.Option("--name", help="DNS name or address of a TLS certificate; repeat it.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=1_826, help="How long it is valid; TLS at most 397.")] = 397,
    out: Out = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign a certificate request. Of the request only the key and the common name are believed.

    [bold]Examples[/bold]

    intake ca issue ./ca booth-0001.csr --for booth --out booth-0001.pem

    intake ca issue ./ca intake.csr --for intake --out intake.pem

    intake ca issue ./ca centre-north.csr --for centre --out centre-north.pem

    intake ca issue ./ca tls.csr --for tls --name intake.example.org --name 10.0.0.7 --out intake-tls.pem
    """
    from cryptography.x509 import load_pem_x509_certificate

    from crypto.issuance import LEAF_DAYS, Profile, read_csr

    with _told():
        if kind is Kind.TLS and days > LEAF_DAYS:
            _stop(f"A TLS certificate is valid for at most {LEAF_DAYS} days: browsers refuse a longer one.", 2)
        if kind is Kind.TLS and not names:
            _stop("A TLS certificate needs --name: each DNS name or address by which the server is called.", 2)
        try:
            with request.open("rb") as file:
                pem = file.read(_MAX_REQUEST_FILE_BYTES)
        except OSError as error:
            _stop(f"The request {request} cannot be read: {error.strerror}.", 2)
        identity = read_csr(pem, Profile(kind.value)).identity
        chain = _open(folder, passphrase_file).issue(pem, Profile(kind.value), identity, names or (), days=days)
        _give(chain, out)
    if out is not None:
        ends = load_pem_x509_certificate(chain).not_valid_after_utc
        print(f"{out}: {identity}, for {kind}, valid until {ends:%Y-%m-%d}.")


@app.command()
def revoke(
    folder: Folder,
    which: Annotated[
        str,
        typer.Argument(
            metavar="NAME|SERIAL",
            help="A booth's name (all its certificates), or a serial number in hex.",
            show_default=False,
        ),
    ],
    reason: Annotated[Reason, typer.Option(help="Why; a stolen or copied key is key-compromise.", show_default=False)],
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Take certificates back and write the new revocation list in the same step.

    With key-compromise nothing that the key ever signed counts any more, whatever time it claims; with every other reason, what was
    signed before stays valid.

    [bold]Examples[/bold]

    intake ca revoke ./ca booth-0001 --reason key-compromise

    intake ca revoke ./ca 5f3a09c1d2e4b6a7 --reason superseded
    """
    from cryptography.x509 import ReasonFlags

    from server.authority_index import hex_of
    from server.ca_listing import certificate_facts, list_facts, list_text

    with _told():
        flag = ReasonFlags[reason.name.lower()]
        authority = _open(folder, passphrase_file)
        revoked = authority.revoke(which, flag)
        crl = authority.current_list()
    if as_json:
        print(json.dumps({"revoked": [certificate_facts(one) for one in revoked], "list": list_facts(crl)}))
        return
    for one in revoked:
        print(f"revoked {one.identity} {hex_of(one.serial)} ({reason.value})")
    print(f"{folder / 'ca.crl'}: {list_text(crl)}")


@app.command()
def crl(
    folder: Folder,
    days: Annotated[int, typer.Option(min=1, max=365, help="How long the new list counts as fresh.")] = 7,
    out: Copy = None,
    pem: Annotated[bool, typer.Option("--pem", help="With --out: PEM instead of DER.")] = False,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Write a new revocation list with the same entries. Do it regularly: an old list still refuses, but booths and intakes warn of it.

    [bold]Example[/bold]: intake ca crl ./ca --days 7
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from server.ca_listing import list_facts, list_text

    with _told():
        renewed = _open(folder, passphrase_file).renew_crl(days)
        if out is not None:
            _give(x509.load_der_x509_crl(renewed.der).public_bytes(Encoding.PEM) if pem else renewed.der, out)
    if as_json:
        print(json.dumps(list_facts(renewed)))
    else:
        print(f"{folder / 'ca.crl'}: {list_text(renewed)}")


@app.command()
def token(
    folder: Folder,
    booth: Annotated[str, typer.Argument(help="The booth's name.", show_default=False)],
    valid_hours: Annotated[float, typer.Option(min=0.1, max=720.0, help="How long it can be used.")] = 24.0,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Make the booth's unused tokens useless instead.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the token alone to this file (0600) instead of showing it."),
    ] = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a token that enrols one booth once; it is shown here and never again. Tell it to the technician, not by e-mail.

    [bold]Examples[/bold]

    intake ca token ./ca booth-0001

    intake ca token ./ca booth-0001 --valid-hours 2 --json

    intake ca token ./ca booth-0001 --out booth-0001.token

    intake ca token ./ca booth-0001 --withdraw
    """
    from server.ca_listing import iso

    if withdraw:
        with _told():
            count = _open(folder, passphrase_file).withdraw_tokens(booth)
        print(
            json.dumps({"booth": booth, "withdrawn": count})
            if as_json
            else f"{booth}: {count} unused tokens withdrawn."
        )
        return
    with _told():
        expires_at = datetime.now(UTC) + timedelta(hours=valid_hours)
        text = _open(folder, passphrase_file).make_token(booth, timedelta(hours=valid_hours))
    told = {"token": text} if out is None else {"file": str(out)}
    if out is not None:
        _give(f"{text}\n".encode("ascii"), out, private=True)
    if as_json:
        print(json.dumps({"booth": booth, **told, "expires_at": iso(expires_at)}))
    else:
        print(*told.values(), f"{booth}, once, until {expires_at:%Y-%m-%d %H:%M} UTC.", sep="\n")


@app.command("list")
def list_certificates(
    folder: Folder,
    everything: Annotated[bool, typer.Option("--all", help="Revoked and expired certificates too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the certificates with the days they have left; needs no key. Exit code 1 when one in use ends within 30 days, or the list is old.

    A certificate that a newer one of the same name has followed does not count.

    [bold]Examples[/bold]

    intake ca list ./ca

    intake ca list ./ca --all --json
    """
    from rich.console import Console

    from server.authority_records import open_records
    from server.ca_listing import WARN_DAYS, certificate_facts, coloured, days_left, list_facts, list_text, table_of

    now = datetime.now(UTC)
    with _told():
        authority = open_records(folder)
        certificates, crl_now = authority.certificates(), authority.current_list()
        root_days = days_left(authority.certificate.not_valid_after_utc, now)
    last = {(one.identity, one.profile): one.serial for one in certificates if one.revoked_at is None}
    used = [one for one in certificates if last.get((one.identity, one.profile)) == one.serial]
    shown = certificates if everything else [one for one in used if one.not_after > now]
    stale = crl_now.next_update_at <= now
    if as_json:
        rows = [
            {**certificate_facts(one), "days_left": days_left(one.not_after, now), "in_use": one in used}
            for one in shown
        ]
        root = {"days_left": root_days}
        print(json.dumps({"root": root, "list": {**list_facts(crl_now), "stale": stale}, "certificates": rows}))
    else:
        console = Console()
        console.print(table_of(shown, now) if shown else "No certificate is in use.")
        console.print(f"Root: {coloured(root_days)} days left.", highlight=False)
        late = f"[red]The revocation list was due on {crl_now.next_update_at:%Y-%m-%d}: run intake ca crl.[/red]"
        console.print(late if stale else f"Revocation list: {list_text(crl_now)}", highlight=False)
    if stale or root_days <= WARN_DAYS or any(days_left(one.not_after, now) <= WARN_DAYS for one in used):
        raise typer.Exit(1)


def _open(folder: Path, passphrase_file: Path | None) -> Authority:
    from server.authority import open_authority, read_passphrase
    from server.memory import forbid_dumps

    forbid_dumps()
    return open_authority(folder, None if passphrase_file is None else read_passphrase(passphrase_file))


@contextmanager
def _told() -> Iterator[None]:
    """Errors as one sentence and an exit code."""
    from crypto.errors import EnrolmentError
    from server.errors import AuthorityError, CsrRefusedError, ServerError

    try:
        yield
    except (AuthorityError, CsrRefusedError, EnrolmentError) as error:
        _stop(str(error), 1)
    except ServerError as error:
        _stop(str(error), 2)


def _stop(sentence: str, code: int) -> NoReturn:
    print(f"intake: {sentence}", file=sys.stderr)
    raise typer.Exit(code)


def _give(data: bytes, out: Path | None, *, private: bool = False) -> None:
    from crypto.key_folder import PRIVATE, PUBLIC, write_whole

    if out is None:
        sys.stdout.write(data.decode("ascii"))
        return
    try:
        write_whole(out, data, PRIVATE if private else PUBLIC)
    except OSError as error:
        _stop(f"{out} cannot be written: {error.strerror}.", 2)
