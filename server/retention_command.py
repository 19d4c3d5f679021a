"""`intake retention`: how long packets are kept, what is due, deleting it, and legal holds.

`show`, `plan`, `run`, `hold` and `release` work beside a running intake, with the intake's settings (`INTAKE_RETENTION_…`) and its key: deletions and holds are
signed. `plan` changes nothing. Packets are named by their digest or its beginning.

Exit codes: 0 done; 1 refused, or something was not as it must be; 2 the store cannot be used, or the command was misspelt.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from server.command_options import AsJson, Data, DatabaseUrl
from server.terminal import failing, progress

if TYPE_CHECKING:
    from crypto.keys import Signer
    from server.config import IntakeSettings
    from server.holds import Hold, Holds
    from server.retention_job import Planned, Retention, Run
    from server.store import Store

T = TypeVar("T")

retention_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""How long packets are kept: policy, deletion with proof, legal holds.

    [bold]Examples[/bold]

    intake retention show --data ./data --pki ./pki

    intake retention plan --data ./data --pki ./pki --days 30

    intake retention hold b7355214 --reason court --by officer-17 --data ./data --pki ./pki
    """,
)

Pki = Annotated[Path, typer.Option("--pki", help="Folder of the keys: the intake's key signs, its ca.pem is trusted.")]
Packet = Annotated[str, typer.Argument(metavar="PACKET", help="Digest of the packet, or its beginning (8 digits).")]
By = Annotated[str, typer.Option("--by", help="Who does this, as an opaque id: no name.")]
Reason = Annotated[str, typer.Option("--reason", help="complaint, court, fraud, restriction or other.")]


@dataclass(frozen=True)
class Rooms:
    """What a command works with."""

    settings: IntakeSettings
    store: Store
    retention: Retention
    holds: Holds
    now: datetime


@retention_app.command()
def show(
    data: Data,
    pki: Pki,
    packet: Annotated[
        str | None, typer.Argument(metavar="[PACKET]", help="One packet; the policy unless told.")
    ] = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show the policy and how it stands; or one packet: when it is due, what holds it, or the proof of its deletion.

    [bold]Examples[/bold]

    intake retention show --data ./data --pki ./pki

    intake retention show b7355214 --data ./data --pki ./pki --json
    """
    if packet is None:
        told = _run(data, pki, database_url, _standing, changes=False)
        _print(told, as_json, _standing_text)
        return
    told = _run(data, pki, database_url, lambda rooms: _packet(rooms, packet, pki), changes=False)
    _print(told, as_json, _packet_text)
    raise typer.Exit(0 if told["proven"] is not False else 1)


@retention_app.command()
def plan(
    data: Data,
    pki: Pki,
    days: Annotated[int, typer.Option("--days", min=0, max=36_500, help="What is due in so many days.")] = 0,
    most: Annotated[int, typer.Option("--most", min=1, help="Packets shown at most.")] = 1_000,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show what would be deleted, oldest first, and delete nothing.

    [bold]Example[/bold]: intake retention plan --data ./data --pki ./pki --days 30
    """

    async def look(rooms: Rooms) -> tuple[list[Planned], bool]:
        found: list[Planned] = []
        async with contextlib.aclosing(rooms.retention.plan(rooms.now + timedelta(days=days))) as planned:
            async for one in planned:
                if len(found) == most:
                    return found, True
                found.append(one)
        return found, False

    found, more = _run(data, pki, database_url, look, changes=False)
    lines = [{"packet_sha256": one.sha256, "reason": one.fate, "due": _time(one.due)} for one in found]
    if as_json:
        typer.echo(json.dumps({"packets": lines, "more": more}))
        return
    for line in lines:
        typer.echo(f"{line['due']}  {line['reason']:<12} {line['packet_sha256']}")
    typer.echo(f"{len(lines)} packets{' and more' if more else ''}; nothing was deleted.")


@retention_app.command()
def run(
    data: Data,
    pki: Pki,
    most: Annotated[int, typer.Option("--most", min=1, help="Packets deleted at most.")] = 100_000,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Delete what is due now, and bring deletions to their end that were cut off. A running intake does the same every hour.

    Ctrl-C ends it between two packets; what was begun is gone on with next time.

    [bold]Example[/bold]: intake retention run --data ./data --pki ./pki
    """
    with progress(quiet=as_json) as step:

        async def work(rooms: Rooms) -> Run:
            def tell(run: Run) -> None:
                done = run.deleted + run.finished
                step("packets deleted", done, max(done, 1))

            return await rooms.retention.run(most, tell)

        done = _run(data, pki, database_url, work)
    if as_json:
        typer.echo(json.dumps(asdict(done)))
        return
    more = " There are more." if done.more else ""
    typer.echo(f"{done.deleted} packets deleted, {done.finished} deletions finished, {done.kept} kept meanwhile.{more}")


@retention_app.command()
def hold(
    packet: Packet,
    data: Data,
    pki: Pki,
    reason: Reason,
    by: By,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Hold a packet: it is not deleted, whatever the policy says, until every hold on it is released.

    [bold]Example[/bold]: intake retention hold b7355214 --reason court --by officer-17 --data ./data --pki ./pki
    """
    _hold(data, pki, database_url, packet, lambda holds, sha256: holds.place(sha256, _reason(reason), _by(by)), as_json)


@retention_app.command()
def release(
    packet: Packet,
    data: Data,
    pki: Pki,
    reason: Reason,
    by: By,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Release the hold that was placed for this reason. The packet stays for some days more, so that it can be held again.

    [bold]Example[/bold]: intake retention release b7355214 --reason court --by officer-17 --data ./data --pki ./pki
    """
    _hold(
        data, pki, database_url, packet, lambda holds, sha256: holds.release(sha256, _reason(reason), _by(by)), as_json
    )


def _hold(
    data: Path,
    pki: Path,
    database_url: str | None,
    packet: str,
    work: Callable[[Holds, str], Awaitable[Hold]],
    as_json: bool,
) -> None:
    async def change(rooms: Rooms) -> Hold:
        from server.retention_state import find_beginning

        return await work(rooms.holds, await find_beginning(rooms.store, packet))

    done = _run(data, pki, database_url, change)
    if as_json:
        typer.echo(json.dumps(_hold_facts(done)))
    else:
        typer.echo(f"{done.packet_sha256}: {done.action} for {done.reason} by {done.by}, {_time(done.at)}.")


def _reason(text: str) -> Any:
    from server.holds import HoldReason

    try:
        return HoldReason(text)
    except ValueError:
        raise typer.BadParameter(f"one of {', '.join(HoldReason)}", param_hint="--reason") from None


def _by(text: str) -> str:
    from pydantic import TypeAdapter, ValidationError

    from crypto.package import Identity

    try:
        TypeAdapter(Identity).validate_python(text)
    except ValidationError:
        raise typer.BadParameter(
            "an opaque id of letters, digits, '.', '_' and '-', at most 64; no name", param_hint="--by"
        ) from None
    return text


async def _standing(rooms: Rooms) -> dict[str, Any]:
    from server.retention_state import read_standing

    standing = await read_standing(rooms.store)
    policy = asdict(rooms.settings.retention)
    return {"policy": policy} | {
        name: _time(value) if isinstance(value, datetime) else value for name, value in asdict(standing).items()
    }


def _standing_text(told: dict[str, Any]) -> str:
    policy, job = told["policy"], told["ran_at"]
    return "\n".join(
        [
            f"handed over   {policy['handed_over_days']} days after the producer took it",
            f"undecided     {policy['undecided_days']} days after it was received",
            f"rejected      {policy['rejected_days']} days after that",
            f"held          until released, and {policy['release_days']} days more",
            f"backups       {policy['backups_days']} days",
            f"links         {'kept' if policy['keep_links'] else 'removed with the packet'}",
            "",
            f"{told['held']} packets are held; {told['deleted']} are deleted, {told['unfinished']} of them not to the end yet.",
            f"last run      {job or 'none yet'}{'' if job is None else ', ' + str(told['outcome'])}",
        ]
    )


async def _packet(rooms: Rooms, packet: str, pki: Path) -> dict[str, Any]:
    from crypto.keys import load_trust
    from server.retention_state import find_beginning, read_state, told_deletion

    sha256 = await find_beginning(rooms.store, packet)
    state = await read_state(rooms.store, sha256, rooms.settings.retention, rooms.now)
    told: dict[str, Any] = {"packet_sha256": sha256, "fate": state.fate, "due": _time(state.due), "proven": None}
    told["backups_until"] = _time(state.backups_end_at)
    told["holds"] = [_hold_facts(one) for one in await rooms.holds.of(sha256)]
    if state.deletion is not None:
        deletion = await asyncio.to_thread(told_deletion, state.deletion, load_trust(pki / "ca.pem"))
        stored = await rooms.retention.deletions.stored(sha256)
        told |= {"deletion": deletion, "stored_objects": stored}
        told["backups_until"] = deletion.get("backups_end_at", told["backups_until"])
        told["proven"] = bool(deletion.get("genuine")) and not stored and state.deletion.erased_at is not None
    return told


def _packet_text(told: dict[str, Any]) -> str:
    lines = [told["packet_sha256"]]
    if deletion := told.get("deletion"):
        lines += [
            f"deleted       {deletion['deleted_at']}, {deletion['reason']}; stored bytes gone {deletion['erased_at'] or 'NOT YET'}",
            f"backups       none holds it after {told['backups_until']}",
            f"records       {'genuine' if deletion['genuine'] else 'NOT GENUINE: ' + deletion['fault']}",
            f"objects       {told['stored_objects']} in the store",
        ]
    else:
        due = f"due {told['due']}, gone from the last backup {told['backups_until']}" if told["due"] else _undue(told)
        lines.append(f"{told['fate']:<13} {due}")
    lines += [f"{one['action']:<13} {one['at']} for {one['reason']} by {one['by']}" for one in told["holds"]]
    return "\n".join(lines)


def _undue(told: dict[str, Any]) -> str:
    held: dict[str, bool] = {one["reason"]: one["action"] == "placed" for one in told["holds"]}
    reasons = [reason for reason, open_still in held.items() if open_still]
    return f"not due while it is held for {', '.join(reasons)}" if reasons else "not due"


def _hold_facts(one: Hold) -> dict[str, Any]:
    facts = {"number": one.number, "packet_sha256": one.packet_sha256, "action": one.action, "reason": one.reason}
    return facts | {"at": _time(one.at), "by": one.by}


def _time(at: datetime | None) -> str | None:
    return None if at is None else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _print(told: dict[str, Any], as_json: bool, text: Callable[[dict[str, Any]], str]) -> None:
    typer.echo(json.dumps(told) if as_json else text(told))


def _run(
    data: Path,
    pki: Path,
    database_url: str | None,
    work: Callable[[Rooms], Coroutine[Any, Any, T]],
    *,
    changes: bool = True,
) -> T:
    from server.errors import RequestError
    from server.retention_errors import RetentionError

    async def inside() -> T:
        async with _opened(data, pki, database_url, changes=changes) as rooms:
            return await work(rooms)

    with failing():
        try:
            return asyncio.run(inside())
        except (RequestError, RetentionError) as error:
            typer.echo(f"intake: {error}", err=True)
            raise typer.Exit(1) from error


@contextlib.asynccontextmanager
async def _opened(data: Path, pki: Path, database_url: str | None, *, changes: bool) -> AsyncIterator[Rooms]:
    """The rows and the place of an intake that was started once; nothing is made where no store is, nothing migrated to look only."""
    from crypto.keys import Purpose, SignerSource, load_trust
    from server.config import IntakeSettings
    from server.holds import Holds
    from server.made_store import await_store
    from server.objects import open_objects
    from server.retention_job import Retention
    from server.store import open_present_store, open_store

    more = {} if database_url is None else {"database_url": database_url}
    settings = IntakeSettings.from_pki(pki, data, **more)
    signer: Callable[[], Signer] = SignerSource(
        settings.receipt_signer, certificate=settings.receipt_certificate
    ).current

    def now() -> datetime:
        return datetime.now(UTC)

    await await_store(settings)
    opening = open_store if changes else open_present_store
    async with opening(settings.resolved_database_url) as store, open_objects(settings) as objects:
        retention = Retention(store, objects, signer, load_trust(settings.trust), settings.retention, now)
        yield Rooms(settings, store, retention, Holds(store, signer, Purpose.INTAKE, now), now())
