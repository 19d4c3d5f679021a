"""`booth config`: what is set once at the booth itself.

`booth config passphrase` sets who sees the technician's pages. The passphrase is typed twice without being shown, or read from a file; it is never
an argument, which every user of the machine could read. A booth that runs takes it at once and ends the sessions of the old one.
Exit codes: 0 done, 2 it could not be done.
"""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

MAX_FILE_BYTES = 2048

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Set what is set once at the booth.

    [bold]Examples[/bold]

    booth config passphrase                       of the technician's pages; asked for twice

    booth config passphrase --file passphrase.txt
    """,
)


@app.callback()
def _config() -> None:
    """Makes `passphrase` a command of its own, beside those to come."""


@app.command("passphrase")
def set_passphrase(
    *,
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The booth's settings.", envvar="PASSBOOTH_CONFIG")
    ] = Path("booth.toml"),
    file: Annotated[Path | None, typer.Option(help="Read the passphrase from this file (mode 0600) instead.")] = None,
) -> None:
    """Set the passphrase of the technician's pages: 12 to 128 characters, kept as an argon2id hash.

    [bold]Example[/bold]: booth config passphrase --config /etc/passbooth/booth.toml
    """
    from booth.config import Config
    from booth.errors import BoothError
    from booth.passphrase import write_passphrase

    try:
        settings = Config.load(config)
        path = settings.technician_file
        write_passphrase(path, _asked() if file is None else _from_file(file))
    except BoothError as error:
        _stop(str(error))
    print(f"The passphrase is set: its hash is in {path}. Sessions of an older one are ended.")


def _asked() -> str:
    if not _terminal():
        _stop("There is no terminal to ask for the passphrase: give it with --file.")
    passphrase = getpass.getpass("New passphrase of the technician's pages: ")
    if getpass.getpass("The same again: ") != passphrase:
        _stop("The two are not the same: nothing is changed.")
    return passphrase


def _terminal() -> bool:
    return sys.stdin.isatty()


def _from_file(path: Path) -> str:
    from crypto.key_folder import read_file

    try:
        if path.stat().st_mode & 0o077:
            _stop(f"The file {path} can be read by others: make it 0600 (chmod 600).")
        data = read_file(path, MAX_FILE_BYTES)
        if len(data) > MAX_FILE_BYTES:
            _stop(f"The file {path} is longer than a passphrase.")
        return data.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        _stop(f"The file {path} cannot be read: {error.strerror}.")
    except UnicodeDecodeError:
        _stop(f"The file {path} is not UTF-8 text.")


def _stop(sentence: str) -> NoReturn:
    print(f"booth: {sentence}", file=sys.stderr)
    raise typer.Exit(2)
