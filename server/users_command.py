"""`intake users`: who may sign in at the desk: add, list, roles, disable, enable, reset. The first administrator is made here; others can be made on the desk's page.

Exit codes: 0 done; 1 refused; 2 the list cannot be used, or the command was misspelt. A password is random, told once and kept nowhere; it is good for seven days and for being
replaced by its owner at the first sign-in, unless `--final` says that nobody but the owner sees it. It needs the desk's secret, so it runs where the desk does. A desk that runs
takes every change over within seconds. Each change is in the audit log before it is made, as of "operator".
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from server.command_options import AsJson, Data
from server.roles import Role

if TYPE_CHECKING:
    from crypto.keys import Signer
    from server.audit import Action
    from server.users import NewSecrets, User, Users

T = TypeVar("T")
ISSUER = "Passbooth"
OPERATOR = "operator"  # in the audit log: who uses this command

users_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Users of the desk: who may sign in there, and as what.

    [bold]Examples[/bold]

    intake users add "Anna Berg" --role administrator --data ./data --pki ./pki

    intake users add "Omar Saleh" --role officer --role clerk --data ./data --pki ./pki

    intake users roles u-3f9a1c07 --role supervisor --data ./data --pki ./pki

    intake users disable u-3f9a1c07 --data ./data --pki ./pki

    intake users list --data ./data --pki ./pki
    """,
)

Pki = Annotated[Path, typer.Option("--pki", help="Folder of the desk's keys, with desk.secret in it.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        envvar=["DESK_DATABASE_URL", "INTAKE_DATABASE_URL"],
        help="SQLAlchemy URL; SQLite inside --data if none.",
    ),
]
Roles = Annotated[list[Role], typer.Option("--role", help="What the user is; more than one when it is given again.")]
UserId = Annotated[str, typer.Argument(metavar="USER", help="The user's id, as `intake users list` shows it.")]
NoTotp = Annotated[
    bool, typer.Option("--no-totp", help="Make no authenticator: the user sets one up at the first sign-in.")
]
Final = Annotated[
    bool, typer.Option("--final", help="The password stays: only its owner sees it here, as with your own.")
]
Code = Annotated[Path | None, typer.Option("--qr", help="Write the authenticator's code to this SVG file (0600), too.")]


@users_app.command()
def add(
    name: Annotated[str, typer.Argument(help="The name to sign in with, as colleagues know it.")],
    roles: Roles,
    data: Data,
    pki: Pki,
    no_totp: NoTotp = False,
    final: Final = False,
    qr: Code = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make a user; password and authenticator are shown here and never again.

    [bold]Example[/bold]: intake users add "Anna Berg" --role administrator --data ./data --pki ./pki
    """
    from server.audit import Action
    from server.users import make_user_id

    new, totp = make_user_id(), not no_totp
    made = _with_users(
        *(data, pki, database_url),
        lambda users: users.add(name, roles, user=new, with_totp=totp, temporary=not final),
        _Note(Action.USER_ADDED, new, roles),
    )
    _tell_secrets(made, qr, as_json=as_json)


@users_app.command("list")
def list_users(data: Data, pki: Pki, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Show everybody: id, name, roles, state. A row that no desk with this secret wrote is told as changed.

    [bold]Example[/bold]: intake users list --data ./data --pki ./pki
    """
    rows = _with_users(data, pki, database_url, lambda users: users.rows())
    if as_json:
        print(json.dumps([_facts(user) for user in rows]))
        return
    for user in rows:
        code = "authenticator" if user.has_totp else "no authenticator"
        print(f"{user.id}  {user.state:<9}  {', '.join(sorted(user.roles)) or '-'}  {code}  {user.name}")
    if not rows:
        print("There are no users.")


@users_app.command("roles")
def set_roles(
    user: UserId, roles: Roles, data: Data, pki: Pki, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """Give a user these roles and no other.

    [bold]Example[/bold]: intake users roles u-3f9a1c07 --role officer --role clerk --data ./data --pki ./pki
    """
    from server.audit import Action

    note = _Note(Action.USER_CHANGED, user, roles)
    _tell_user(_with_users(data, pki, database_url, lambda users: users.set_roles(user, roles, by=None), note), as_json)


@users_app.command()
def disable(user: UserId, data: Data, pki: Pki, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Let nobody sign in as this user; open sessions end within seconds. Nobody is removed: what a user did keeps its author.

    [bold]Example[/bold]: intake users disable u-3f9a1c07 --data ./data --pki ./pki
    """
    from server.audit import Action

    note = _Note(Action.USER_DISABLED, user)
    _tell_user(_with_users(data, pki, database_url, lambda users: users.disable(user, by=None), note), as_json)


@users_app.command()
def enable(user: UserId, data: Data, pki: Pki, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Let a disabled user sign in again.

    [bold]Example[/bold]: intake users enable u-3f9a1c07 --data ./data --pki ./pki
    """
    from server.audit import Action

    note = _Note(Action.USER_ENABLED, user)
    _tell_user(_with_users(data, pki, database_url, lambda users: users.enable(user, by=None), note), as_json)


@users_app.command()
def reset(
    user: UserId,
    data: Data,
    pki: Pki,
    no_totp: NoTotp = False,
    final: Final = False,
    qr: Code = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Give a user a new password and a new authenticator; the old ones count no more, and open sessions end.

    [bold]Example[/bold]: intake users reset u-3f9a1c07 --data ./data --pki ./pki
    """
    from server.audit import Action

    made = _with_users(
        *(data, pki, database_url),
        lambda users: users.reset(user, by=None, with_totp=not no_totp, temporary=not final),
        _Note(Action.USER_RESET, user),
    )
    _tell_secrets(made, qr, as_json=as_json)


def _tell_secrets(made: NewSecrets, qr: Path | None, *, as_json: bool) -> None:
    from crypto.key_folder import PRIVATE, write_whole
    from crypto.totp import otpauth_uri, secret_text

    uri = None if made.totp is None else otpauth_uri(made.totp, ISSUER, made.user.name)
    if qr is not None and uri is not None:
        from server.screen_code import qr_svg

        try:
            write_whole(qr, qr_svg(uri).encode(), PRIVATE)
        except OSError as error:  # the user is there: what he needs is told all the same
            print(f"intake: {qr} cannot be written: {error.strerror}.", file=sys.stderr)
    if as_json:
        told = {"password": made.password, "otpauth": uri}
        print(json.dumps(_facts(made.user) | told))
        return
    print(f"{made.user.id}  {made.user.name}  ({', '.join(sorted(made.user.roles))})")
    until = made.user.password_until
    replaced = "" if until is None else f"   until {until:%Y-%m-%d %H:%M} UTC, and to be replaced at the first sign-in"
    print(f"password  {made.password}{replaced}")
    if made.totp is None or uri is None:
        print("The authenticator is set up at the first sign-in.")
        return
    print(f"authenticator  {secret_text(made.totp)}\n{uri}")
    if sys.stdout.isatty():
        from server.screen_code import qr_lines

        print("\n".join(qr_lines(uri)))


def _tell_user(user: User, as_json: bool) -> None:
    print(json.dumps(_facts(user)) if as_json else f"{user.id}  {user.state}  {', '.join(sorted(user.roles))}")


def _facts(user: User) -> dict[str, object]:
    return {
        "id": user.id,
        "name": user.name,
        "roles": sorted(user.roles),
        "state": user.state,
        "authenticator": user.has_totp,
        "made_at": f"{user.made_at:%Y-%m-%dT%H:%M:%SZ}",
        "password_until": None if user.password_until is None else f"{user.password_until:%Y-%m-%dT%H:%M:%SZ}",
    }


@dataclass(frozen=True, slots=True)
class _Note:
    """What the audit log is told before it is done."""

    action: Action
    user: str
    roles: Sequence[Role] = ()


def _with_users(
    data: Path, pki: Path, database_url: str | None, work: Callable[[Users], Awaitable[T]], note: _Note | None = None
) -> T:
    from crypto.desk_secret import load_desk_secret
    from crypto.errors import CryptoError
    from server.audit import Action, AuditLog
    from server.config import StoreSettings
    from server.errors import DeskError, ServerError
    from server.made_store import await_store
    from server.memory import forbid_dumps
    from server.store import open_store
    from server.users import Users

    async def run() -> T:
        secret = load_desk_secret(pki / "desk.secret")
        settings = StoreSettings(data_dir=data, database_url=database_url)
        await await_store(settings)
        async with open_store(settings.resolved_database_url) as store:
            users = Users(store, secret)
            if note is None:
                return await work(users)
            if note.action is not Action.USER_ADDED:
                await users.find(note.user)
            audit = AuditLog(store, secret, data, signer=_signer(pki), now=lambda: datetime.now(UTC))
            roles = {"roles": "/".join(sorted(note.roles))} if note.roles else {}
            number = await audit.note(OPERATOR, note.action, note.user, **roles)
            try:
                return await work(users)
            except ServerError as error:
                failed: dict[str, str | int] = {"entry": number, "asked": str(note.action), "code": error.code}
                await audit.note(OPERATOR, Action.ACT_FAILED, note.user, **failed)
                raise

    forbid_dumps()
    try:
        return asyncio.run(run())
    except DeskError as error:
        _stop(str(error), 1)
    except (CryptoError, ServerError) as error:
        _stop(str(error), 2)


def _signer(pki: Path) -> Callable[[], Signer] | None:
    """The key that the desk seals its audit log with, found as the desk finds it (server/config.py); None where it has none."""
    from crypto.keys import SignerSource

    uri, certificate = os.environ.get("DESK_DECISION_SIGNER"), os.environ.get("DESK_DECISION_CERTIFICATE")
    key = (pki / "desk.key").resolve()
    if uri is None and key.is_file():
        uri = f"file:{key}"
    return None if uri is None else SignerSource(uri, certificate=Path(certificate) if certificate else None).current


def _stop(sentence: str, code: int) -> NoReturn:
    print(f"intake: {sentence}", file=sys.stderr)
    raise typer.Exit(code)
