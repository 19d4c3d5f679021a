"""`intake slip`: a centre's key, and the slips that its counter prints.

The number comes from stdin, or as an argument where nobody else sees what runs on the machine. It stands on the slip and nowhere else: not in messages,
not in names of files. Exit codes: 0 done; 1 refused; 2 a key or file cannot be used, or the command was misspelt.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from server.typed_number import read_number

slip_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Slips that counters print: the application number with the centre's signature.

    [bold]Examples[/bold]

    intake slip request ./centre-north.key --centre centre-north       then: intake ca issue … --for centre

    echo DEMO2026000017Q | intake slip make --signer file:$PWD/centre-north.key --out slip.html
    """,
)

MAX_DAYS = 366  # as in server/slips.py, which is slow to import


class Form(StrEnum):
    """What is written."""

    HTML = "html"
    SVG = "svg"
    TEXT = "text"


class CodeKind(StrEnum):
    """The code on the slip."""

    QR = "qr"
    DATAMATRIX = "datamatrix"
    PDF417 = "pdf417"
    CODE128 = "code128"


@slip_app.command()
def request(
    key: Annotated[Path, typer.Argument(metavar="FILE", help="File for the new private key (0600).")],
    centre: Annotated[str, typer.Option(help="The centre's name.", show_default=False)],
    passphrase_file: Annotated[
        Path | None, typer.Option(help="File (0600) with a passphrase that encrypts the key.")
    ] = None,
) -> None:
    """Make a centre's key, and the request for its certificate beside it (FILE with .csr). An existing key is never replaced.

    [bold]Example[/bold]: intake slip request ./centre-north.key --centre centre-north
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    from crypto.issuance import check_identity
    from crypto.key_folder import PRIVATE, PUBLIC, write_whole
    from crypto.private_key import private_pem
    from server.memory import forbid_dumps

    with _told():
        forbid_dumps()
        check_identity(centre)
        if key.exists():
            _stop(f"{key} is a key already: it is never replaced.", 1)
        if key.suffix == ".csr":
            _stop(
                f"{key} is where the request goes: name the key otherwise, {key.with_suffix('.key').name} for example.",
                2,
            )
        made = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, centre)])
        asked = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(made, hashes.SHA256())
        csr = key.with_suffix(".csr")
        write_whole(key, private_pem(made, _passphrase(passphrase_file)), PRIVATE)
        write_whole(csr, asked.public_bytes(serialization.Encoding.PEM), PUBLIC)
    print(f"{key}: key of {centre}; for the authority: {csr}")


@slip_app.command()
def make(
    signer: Annotated[str, typer.Option(help="The centre's key: file:/path/to/centre.key, its certificate beside it.")],
    number: Annotated[
        str, typer.Argument(help="The application number; - reads it from stdin.", show_default=False)
    ] = "-",
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day on which the slip counts.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=MAX_DAYS, help="Or for how many days it counts.")] = 90,
    form: Annotated[Form, typer.Option("--format", help="What to write; text is what the code holds.")] = Form.HTML,
    code: Annotated[
        CodeKind, typer.Option(help="The code; code128 has room for the number alone, unsigned.")
    ] = CodeKind.QR,
    certificate: Annotated[Path | None, typer.Option(help="The centre's certificate, when it lies elsewhere.")] = None,
    passphrase_file: Annotated[Path | None, typer.Option(help="File (0600) with the key's passphrase.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file instead of stdout.")] = None,
) -> None:
    """Print one application's slip in four languages, signed by the centre.

    [bold]Examples[/bold]

    echo DEMO2026000017Q | intake slip make --signer file:$PWD/centre.key --out slip.html

    intake slip make DEMO2026000017Q --signer file:$PWD/centre.key --until 2027-02-28 --format svg --code datamatrix
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    from crypto.application import parse_number
    from crypto.keys import Purpose, open_signer
    from crypto.trust import check_leaf, common_name
    from server.memory import forbid_dumps
    from server.messages import load_messages
    from server.slip_paper import Code, slip_page
    from server.slips import slip_drawing, slip_text

    with _told():
        forbid_dumps()
        plain = parse_number(read_number() if number == "-" else number)
        today = datetime.now().astimezone().date()
        last = today + timedelta(days=days) if until is None else until.date()
        key = open_signer(signer, _passphrase(passphrase_file), certificate, ec.SECP256R1)
        check_leaf(key.certificate, Purpose.CENTRE)
        _check_day(last, today, key.certificate.not_valid_after_utc.date())
        text = slip_text(plain, last, key)
        kind = Code(code.value)
        if kind is Code.CODE128:
            text = plain
        if form is Form.TEXT:
            _give(f"{text}\n", out)
            return
        svg = slip_drawing(plain, last, common_name(key.certificate), text, load_messages(), kind)
        _give(svg if form is Form.SVG else slip_page(svg), out)


def _check_day(last: date, today: date, end: date) -> None:
    if last < today:
        _stop(f"{last} has passed: the slip would never count.", 1)
    if last > end:
        _stop(f"The centre's certificate ends on {end}, before the slip: renew it, or shorten the slip's time.", 1)
    if (last - today).days > MAX_DAYS:
        _stop(f"A slip counts for {MAX_DAYS} days at most.", 1)


def _passphrase(path: Path | None) -> bytes | None:
    from server.authority import read_passphrase

    return None if path is None else read_passphrase(path)


@contextmanager
def _told() -> Iterator[None]:
    """Errors as one sentence and an exit code."""
    from crypto.errors import ApplicationNumberError, CertificateRefusedError, CryptoError, EnrolmentError
    from server.errors import ServerError

    try:
        yield
    except (ApplicationNumberError, CertificateRefusedError, EnrolmentError) as error:
        _stop(str(error), 1)
    except (CryptoError, ServerError) as error:
        _stop(str(error), 2)
    except OSError as error:
        _stop(f"{error.filename} cannot be written: {error.strerror}.", 2)


def _stop(sentence: str, code: int) -> NoReturn:
    print(f"intake: {sentence}", file=sys.stderr)
    raise typer.Exit(code)


def _give(text: str, out: Path | None) -> None:
    from crypto.key_folder import PRIVATE, write_whole

    if out is None:
        sys.stdout.write(text)
    else:
        write_whole(out, text.encode("utf-8"), PRIVATE)
