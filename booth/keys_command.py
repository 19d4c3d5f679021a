"""`booth keys`: the life of the booth's signing key, from the first request to the next certificate, on the booth itself.

No private key is printed, sent, or taken from anywhere: it is made here, in a file or in the token that keys.signer names. A token for
enrolment is typed without being shown, or read from a file; it is never an argument, which every user of the machine could read.
A booth that runs needs no restart: it notices the exchanged pair. Exit codes: 0 done, 1 (show) the certificate needs care, 2 it could not be done.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.markup import escape
from rich.table import Table

from booth.terminal import output, printable

if TYPE_CHECKING:
    from booth.config import Config
    from crypto.enrolment import BoothKeys

RENEW_DAYS = 30
MAX_TOKEN_CHARACTERS = 64
LOOKS_LIKE = "it looks like XXXXX-XXXXX-XXXXX-XXXXX, 20 letters and digits"

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Make, certify, renew and look at the booth's signing key.

    [bold]Examples[/bold]

    booth keys init                       make the key that keys.signer names

    booth keys enrol                      get its certificate with a one-time token, which is asked for

    booth keys csr > booth.csr            or by hand: the request, and what the authority made of it
    booth keys install booth.pem

    booth keys rotate                     a new key with a new certificate, asked for with the present one

    booth keys show                       certificate, days left, recipients, token
    """,
)

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The booth's settings.", envvar="PASSBOOTH_CONFIG")]
CONFIG = Path("booth.toml")
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("init")
def init(
    *,
    config: ConfigOption = CONFIG,
    following: Annotated[
        bool, typer.Option("--next", help="Make the key of the next certificate; the present one stays in use.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option(help="Throw away a key that waits for its certificate, and make another.")
    ] = False,
) -> None:
    """Make the booth's key: in a file (encrypted when keys.passphrase_file is set), or in the token.

    [bold]Example[/bold]: booth keys init --config /etc/passbooth/booth.toml
    """
    with _keys(config) as (settings, keys):
        if keys.present() is not None and not following:
            _stop(
                "This booth has a key with a certificate: renew both with `booth keys rotate`, or make the next key with `booth keys init --next`."
            )
        keys.make(fresh=fresh)
    print(f"The key is there: {_place(settings)}. Next: `booth keys enrol`, or `booth keys csr`.")


@app.command("csr")
def csr(*, config: ConfigOption = CONFIG) -> None:
    """Print the certificate request of the key that waits for its certificate, else of the present key.

    [bold]Example[/bold]: booth keys csr > booth.csr
    """
    with _keys(config) as (_, keys):
        request = keys.request()
    print(request.decode("ascii"), end="")


@app.command("install")
def install(
    file: Annotated[Path, typer.Argument(metavar="CERTIFICATE", help="What the authority issued, in PEM.")],
    *,
    config: ConfigOption = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Put an issued certificate into use, if it is for this booth's key, valid now and of the trusted root.

    [bold]Example[/bold]: booth keys install booth-0001.pem
    """
    with _keys(config) as (settings, keys):
        try:
            pem = file.read_bytes()
        except OSError as error:
            _stop(f"{file} cannot be read: {error.strerror}.")
        _installed(settings, keys, pem, as_json=as_json)


@app.command("enrol")
def enrol(
    *,
    config: ConfigOption = CONFIG,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token; without it the token is asked for.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Get a certificate with a one-time token of the intake. Makes the key when there is none, or a new one beside the present.

    [bold]Example[/bold]: booth keys enrol
    """
    from booth.enrolling import request_first

    with _keys(config) as (settings, keys):
        request = keys.make()
        _installed(settings, keys, request_first(settings.intake, _token(token_file), request), as_json=as_json)


@app.command("rotate")
def rotate(*, config: ConfigOption = CONFIG, as_json: AsJson = False) -> None:
    """Make a new key and get its certificate with the present one. May be repeated whenever it did not come to its end.

    [bold]Example[/bold]: booth keys rotate
    """
    from booth.rotation import next_chain

    with _keys(config) as (settings, keys):
        if keys.present() is None:
            _stop("This booth has no certificate yet: get the first one with `booth keys enrol`.")
        _installed(settings, keys, next_chain(settings, keys), as_json=as_json)


@app.command("pin")
def pin(*, config: ConfigOption = CONFIG) -> None:
    """Try the PIN in keys.passphrase_file once, after a wrong one was given. The booth does not do that by itself: tokens lock.

    [bold]Example[/bold]: booth keys pin
    """
    from crypto.key_places import TokenPlace

    with _keys(config, insist=True) as (_, keys):
        if not isinstance(keys.place, TokenPlace):
            _stop("The key that keys.signer names is a file: it has no PIN.")
        keys.place.token.log_in()
    print("The token takes the PIN.")


@app.command("show")
def show(
    *,
    config: ConfigOption = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show certificate, days left, key, token and recipients; exit code 1 when something needs care.

    [bold]Example[/bold]: booth keys show --json
    """
    with _keys(config) as (settings, keys):
        facts = _facts(settings, keys, datetime.now(UTC))
    if as_json:
        print(json.dumps(facts))
    else:
        _print_facts(facts)
    if facts["care"]:
        raise typer.Exit(1)


@contextlib.contextmanager
def _keys(path: Path, *, insist: bool = False) -> Iterator[tuple[Config, BoothKeys]]:
    """Settings and keys; the house's errors become one sentence and exit code 2."""
    from booth.config import Config
    from booth.errors import BoothError, IntakeUnreachableError
    from booth.faults import fault_of
    from booth.serve import forbid_core_dumps
    from crypto.enrolment import open_booth_keys
    from crypto.errors import CryptoError, EnrolmentError, KeyUnavailableError

    forbid_core_dumps()
    try:
        config = Config.load(path)
        keys = open_booth_keys(
            config.booth.id, config.keys.signer, config.passphrase, config.keys.certificate, insist=insist
        )
        try:
            yield config, keys
        finally:
            keys.close()
    except (BoothError, CryptoError) as error:
        # These say themselves what to do, or name the file.
        told = isinstance(error, (EnrolmentError, KeyUnavailableError, IntakeUnreachableError))
        _stop(str(error) if told else f"{error} {fault_of(error).hint}")


def _stop(sentence: str) -> NoReturn:
    print(f"booth: {printable(sentence)}", file=sys.stderr)
    raise typer.Exit(2)


def _token(file: Path | None) -> str:
    """The one-time token, typed or from a file."""
    from crypto.enrolment_token import read_token

    if file is not None:
        try:
            text = file.read_text("ascii")
        except OSError as error:
            _stop(f"The token file {file} cannot be read: {error.strerror}.")
        except ValueError:
            _stop(f"The token file {file} holds no enrolment token: {LOOKS_LIKE}.")
    elif sys.stdin.isatty():
        text = getpass.getpass("Enrolment token (not shown): ")
    else:
        text = sys.stdin.buffer.readline(MAX_TOKEN_CHARACTERS + 2).decode("ascii", "replace")
    # Judged here, so that a slip of the finger costs none of the few tries that an intake allows.
    if read_token(text) is None:
        _stop(f"That is no enrolment token: {LOOKS_LIKE}.")
    return text.strip()


def _installed(config: Config, keys: BoothKeys, pem: bytes, *, as_json: bool) -> None:
    from crypto.keys import load_trust

    leaf = keys.install(pem, load_trust(config.intake.trust), datetime.now(UTC))
    if as_json:
        facts = {"booth": keys.booth, "file": str(keys.certificate), "serial": f"{leaf.serial_number:040x}"}
        print(json.dumps(facts | {"valid_until": f"{leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"}))
        return
    print(
        f"The certificate of {keys.booth} is in use: valid until {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, "
        f"serial number {leaf.serial_number:040x}, in {keys.certificate}."
    )


def _place(config: Config) -> str:
    from crypto.keys import in_token, key_file
    from crypto.token_uri import read_token_uri

    signer = config.keys.signer
    return f"in the token {read_token_uri(signer).name}" if in_token(signer) else f"in {key_file(signer).parent}"


def _facts(config: Config, keys: BoothKeys, now: datetime) -> dict[str, Any]:
    """Everything that `show` tells; `care` says what needs a person."""
    from crypto.errors import CryptoError
    from crypto.key_places import TokenPlace
    from crypto.keys import load_recipient_public_key

    care: list[str] = []
    facts: dict[str, Any] = {"booth": keys.booth, "signer": config.keys.signer, "clock": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
    facts["certificate"] = _certificate_facts(config, keys, now, care)
    facts["token"] = None
    try:
        if isinstance(keys.place, TokenPlace):
            facts["token"] = asdict(keys.place.token.state())
        facts["waiting"] = keys.waits()
    except CryptoError as error:
        facts["waiting"] = None
        care.append(str(error))
    facts["recipients"] = []
    for path in config.keys.recipients:
        try:
            facts["recipients"].append({"file": str(path), "key_id": load_recipient_public_key(path).key_id})
        except CryptoError as error:
            care.append(str(error))
    return facts | {"care": list(dict.fromkeys(care))}


def _certificate_facts(config: Config, keys: BoothKeys, now: datetime, care: list[str]) -> dict[str, Any] | None:
    from cryptography.hazmat.primitives import hashes

    from booth.revocation_list import RevocationLists
    from crypto.enrolment import check_issued
    from crypto.errors import CryptoError
    from crypto.keys import SignerSource, load_trust
    from crypto.trust import load_certificates

    try:
        if keys.present() is None:
            care.append(
                "There is no certificate yet: `booth keys enrol`; without a network `booth keys init`, `csr`, `install`."
            )
            return None
        leaf, *others = load_certificates(keys.certificate)
    except CryptoError as error:
        care.append(str(error))
        return None
    days = (leaf.not_valid_after_utc - now).total_seconds() / 86_400
    usable = True
    try:
        with contextlib.closing(SignerSource(config.keys.signer, config.passphrase, keys.certificate)) as source:
            source.check()
    except CryptoError as error:
        usable = False
        care.append(str(error))
    try:
        known = RevocationLists(config.booth.data_dir, load_trust(config.intake.trust))
        check_issued(leaf, others, keys.booth, known.trust, now)
    except CryptoError as error:
        care.append(str(error))
    else:
        if days <= RENEW_DAYS:
            care.append(f"The certificate ends in {days:.0f} days: renew it with `booth keys rotate`.")
    return {
        "file": str(keys.certificate),
        "subject": leaf.subject.rfc4514_string(),
        "issuer": leaf.issuer.rfc4514_string(),
        "serial": f"{leaf.serial_number:040x}",
        "sha256": leaf.fingerprint(hashes.SHA256()).hex(),
        "valid_from": f"{leaf.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "valid_until": f"{leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "days_left": round(days, 2),
        "key_usable": usable,
    }


def _print_facts(facts: dict[str, Any]) -> None:
    table = Table("Keys of", facts["booth"])
    table.columns[1].overflow = "fold"
    table.add_row("signer", escape(printable(facts["signer"])))
    for name, value in (facts["certificate"] or {}).items():
        table.add_row(f"certificate {name.replace('_', ' ')}", escape(printable(str(value))))
    for name, value in (facts["token"] or {}).items():
        table.add_row(f"token {name.replace('_', ' ')}", escape(printable(str(value))))
    table.add_row("key waiting for its certificate", {True: "yes", False: "no", None: "unknown"}[facts["waiting"]])
    for recipient in facts["recipients"]:
        table.add_row("recipient", escape(f"{recipient['key_id']}  {recipient['file']}"))
    table.add_row("this machine's clock", facts["clock"])
    console = output()
    console.print(table)
    for sentence in facts["care"]:
        console.print(f"[yellow]! {escape(printable(sentence))}[/yellow]", highlight=False, soft_wrap=True)
