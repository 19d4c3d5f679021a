"""The server's command line: `intake serve`, `intake desk`, `intake pki init|recipient`; `intake ca`, `intake staff` and `intake log` have files of their own.

The intake and the desk are two programs with one name: they share the data folder and no key. Each prints one line when it accepts
connections (`--json-ready`: one JSON object) and stops well on SIGTERM or Ctrl-C with exit code 0; 2 means that it could not start, and one
sentence on stderr says why. Web and database are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto.program import telling_version
from server.applications_command import applications_app
from server.audit_command import audit_app
from server.backup_command import backup_app, restore
from server.ca_command import app as ca_app
from server.command_options import Data
from server.log_command import log_app
from server.orders_command import orders_app
from server.queue_command import queue_app
from server.retention_command import retention_app
from server.scrub_command import scrub
from server.slip_command import slip_app
from server.staff_command import staff_app
from server.users_command import users_app

if TYPE_CHECKING:
    from pydantic import ValidationError

app = typer.Typer(
    name="intake",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="""The central intake of photo booths, and the officers' desk.

    [bold]Examples[/bold]

    intake pki init ./pki                                  development keys (never for production)
    intake serve --data ./data --pki ./pki --port 8443     take packets from booths
    intake users add "Anna Berg" --role administrator --data ./data --pki ./pki   who may sign in at the desk
    intake desk --data ./data --pki ./pki --port 8444      look at what was received
    intake ca token ./ca booth-0001                        let a booth enrol
    intake slip make --signer file:$PWD/centre.key         print the slip of an application
    intake staff add --data ./data                         a personal code for who helps at booths
    intake applications import open.csv --data ./data      which applications were filed
    intake log verify --data ./data --pki ./pki            nothing was removed from the receipt log
    intake audit verify --data ./data --pki ./pki          nothing was changed in the desk's audit log
    intake orders late --data ./data                       what no producer has answered in time
    intake queue check --data ./data                       the officers' queue is what packets and decisions say
    intake retention plan --data ./data --pki ./pki        what is due for deletion
    intake scrub --data ./data                             every stored packet is whole
    intake backup /mnt/backup --data ./data --pki ./pki    copy everything; `intake restore` brings it back
    """,
)
pki_app = typer.Typer(no_args_is_help=True, help="Keys and certificates.")
app.add_typer(pki_app, name="pki")
app.add_typer(ca_app, name="ca")
app.add_typer(applications_app, name="applications")
app.add_typer(audit_app, name="audit")
app.add_typer(backup_app, name="backup")
app.command()(restore)
app.add_typer(log_app, name="log")
app.command()(scrub)
app.add_typer(orders_app, name="orders")
app.add_typer(queue_app, name="queue")
app.add_typer(retention_app, name="retention")
app.add_typer(slip_app, name="slip")
app.add_typer(staff_app, name="staff")
app.add_typer(users_app, name="users")

Pki = Annotated[Path, typer.Option("--pki", help="Folder of the keys, as `intake pki init` makes it.")]
Host = Annotated[str, typer.Option("--host", help="Address to listen on.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
Crl = Annotated[
    Path | None,
    typer.Option("--crl", help="Revocation list, read again when it changes; --pki's ca.crl when it is there."),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port", min=0, max=65535, help="Tell Prometheus metrics on this port of 127.0.0.1; 0: a free one."
    ),
]
JsonReady = Annotated[bool, typer.Option("--json-ready", help="Print one JSON line once connections are accepted.")]
ReadyFile = Annotated[Path | None, typer.Option("--ready-file", help="Also write that JSON line to this file (0600).")]


app.callback()(telling_version("intake"))


@app.command()
def serve(
    data: Data,
    pki: Pki,
    host: Host = "127.0.0.1",
    port: Port = 8443,
    public_url: Annotated[
        str | None, typer.Option(help="The address booths use, when a proxy stands in front.")
    ] = None,
    crl: Crl = None,
    issuer: Annotated[
        Path | None, typer.Option("--issuer", help="Folder of the authority that enrols booths (`intake ca init`).")
    ] = None,
    metrics_port: MetricsPort = None,
    json_ready: JsonReady = False,
    ready_file: ReadyFile = None,
) -> None:
    """Take sealed packets from booths, keep them, give signed receipts.

    Several may run on one database and one folder of packets, behind a load balancer (docs/scale.md): /v1/ready says whether one takes work.
    With --issuer it also enrols booths that have a token (`intake ca token`), renews their certificates, and keeps the revocation list fresh.
    Settings that have no option here come from variables, as INTAKE_ISSUER_PASSPHRASE_FILE.

    [bold]Example[/bold]: intake serve --data ./data --pki ./pki --port 8443
    """
    from server.config import IntakeSettings

    def work() -> Coroutine[Any, Any, None]:
        named = {"crl": crl, "issuer_dir": issuer, "metrics_port": metrics_port}
        given = {name: value for name, value in named.items() if value is not None}
        settings = IntakeSettings.from_pki(pki, data, host=host, port=port, public_url=public_url, **given)
        from server.intake import run_intake
        from server.memory import forbid_dumps

        if settings.issuer_dir is not None:  # then this process holds the authority's key
            forbid_dumps()
        return run_intake(settings, lambda url: _tell_ready("intake", {"url": url}, json_ready, ready_file))

    _run(work)


@app.command()
def desk(
    data: Data,
    pki: Pki,
    host: Host = "127.0.0.1",
    port: Port = 8444,
    crl: Crl = None,
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait for an intake to make the store; 0 refuses at once.")
    ] = 0.0,
    metrics_port: MetricsPort = None,
    json_ready: JsonReady = False,
    ready_file: ReadyFile = None,
) -> None:
    """Show received packets to officers. The store must be there: an intake makes it; and so must a user: `intake users add`.

    Settings that have no option here come from variables, as DESK_TOTP=optional, which lets users sign in without an authenticator.

    [bold]Example[/bold]: intake desk --data ./data --pki ./pki --port 8444
    """
    from server.config import DeskSettings
    from server.memory import forbid_dumps

    def work() -> Coroutine[Any, Any, None]:
        forbid_dumps()
        named = {"crl": crl, "metrics_port": metrics_port}
        chosen = {name: value for name, value in named.items() if value is not None}
        settings = DeskSettings.from_pki(pki, data, host=host, port=port, **chosen)
        from server.desk import run_desk

        return run_desk(settings, lambda url: _tell_ready("desk", {"url": url}, json_ready, ready_file), wait_s)

    _run(work)


@pki_app.command("init")
def pki_init(
    folder: Annotated[Path, typer.Argument(help="Folder to fill; what exists is kept.")],
    booth: Annotated[str, typer.Option(help="Name of the booth whose key is made.")] = "booth-0001",
) -> None:
    """Make development keys: authority, booth, intake, desk. Never for production.

    [bold]Example[/bold]: intake pki init ./pki --booth booth-0001
    """
    from crypto.errors import CryptoError
    from crypto.keys import make_development_pki

    try:
        made = make_development_pki(folder, booth=booth)
    except CryptoError as error:
        _fail(str(error))
    print(made)


@pki_app.command("recipient")
def pki_recipient(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File for the private key (0600).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a desk's key pair: booths seal for the public key, and the private one alone opens their packets. An existing one is never replaced.

    The public key lies beside it as FILE.pub; it goes into [keys] recipients of every booth. Without the private key all packets are lost: keep a copy.

    [bold]Example[/bold]: intake pki recipient ./pki/desk.hpke
    """
    from crypto.errors import CryptoError
    from crypto.key_folder import PRIVATE, PUBLIC, only_writer, write_whole
    from crypto.recipient import generate_recipient_key, load_recipient_key
    from server.memory import forbid_dumps

    forbid_dumps()
    public = file.with_name(f"{file.name}.pub")
    try:
        with only_writer(file.parent):
            # A private key without its public one was left by a kill between the two.
            if file.exists() and public.exists():
                _fail(f"{file} is a key already: it is never replaced.")
            if not file.exists():
                write_whole(file, generate_recipient_key().to_pem(), PRIVATE)
            key = load_recipient_key(file)
            write_whole(public, key.public.to_pem(), PUBLIC)
    except CryptoError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{file} cannot be made: {error.strerror}.")
    if as_json:
        print(json.dumps({"private": str(file), "public": str(public), "key_id": key.key_id}))
    else:
        print(f"{file}: key {key.key_id}; for the booths: {public}")


@pki_app.command("secret")
def pki_secret(file: Annotated[Path, typer.Argument(metavar="FILE", help="File for the secret (0600).")]) -> None:
    """Make a desk's secret: what it keeps of opened packets, and of its users, lies in the database under it. An existing one is never replaced.

    All desks of one database have the same. Without it they open the database, but find nothing of what they kept: keep a copy beside the private key's.

    [bold]Example[/bold]: intake pki secret ./pki/desk.secret
    """
    from crypto.desk_secret import generate_desk_secret
    from crypto.errors import CryptoError
    from crypto.key_folder import PRIVATE, only_writer, write_whole

    try:
        with only_writer(file.parent):
            if file.exists():
                _fail(f"{file} is there already: it is never replaced.")
            write_whole(file, generate_desk_secret().to_pem(), PRIVATE)
    except CryptoError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{file} cannot be made: {error.strerror}.")
    print(file)


def _tell_ready(name: str, facts: dict[str, str], json_ready: bool, ready_file: Path | None) -> None:
    """Say that connections are accepted."""
    line = json.dumps({"ready": True, **facts})
    if ready_file is not None:
        partial = ready_file.with_name(f".{ready_file.name}.partial")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(line + "\n")
        partial.replace(ready_file)
    if json_ready:
        print(line, flush=True)
        return
    print(f"{name}: {facts['url']}", flush=True)


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a program to its end; one sentence and exit code 2 when it cannot start."""
    from pydantic import ValidationError

    from crypto.heap import return_freed_memory
    from server.errors import ServerError
    from server.logs import configure_logs

    return_freed_memory()
    configure_logs()
    try:
        asyncio.run(work())
    except ServerError as error:
        _fail(str(error))
    except ValidationError as error:
        _fail(_wrong_setting(error))


def _wrong_setting(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"The setting {'.'.join(map(str, first['loc']))} is wrong: {first['msg']}."


def _fail(sentence: str) -> None:
    print(f"intake: {sentence}", file=sys.stderr)
    raise typer.Exit(2)


def main() -> None:
    """Entry point of the console script. A variable with a wrong value is told in one sentence by commands too."""
    try:
        app()
    except ValueError as error:
        from pydantic import ValidationError

        if not isinstance(error, ValidationError) or not error.title.endswith("Settings"):
            raise
        print(f"intake: {_wrong_setting(error)}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
