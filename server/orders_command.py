"""`intake orders`: what was handed over to producers, what they answered, and what they did not.

It works beside running intakes and desks and needs no key: it shows rows, and `resend` notes a wish that a desk with its keys fulfils within seconds.
Nothing of a packet's content is ever shown: an order is a digest, a size and times.

Exit codes: 0 done, and with `late` or `--late` nothing is late; 1 orders are late, there is no such order, or it cannot be sent anew; 2 the store cannot be used, or the
command was misspelt.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from server.command_options import AsJson, Data, DatabaseUrl
from server.terminal import failing

if TYPE_CHECKING:
    from server.handover_rows import Order
    from server.orders import Orders

T = TypeVar("T")

orders_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""What was handed over to producers of documents.

    [bold]Examples[/bold]

    intake orders list --data ./data

    intake orders late --data ./data || echo "ask the producer"

    intake orders resend 3f9ac01d --data ./data
    """,
)

Producer = Annotated[str | None, typer.Option("--producer", help="Orders for this producer alone.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many orders.")]
OrderId = Annotated[str, typer.Argument(metavar="ORDER", help="Id of the order, or its beginning (8 digits).")]


@orders_app.command("list")
def list_orders(
    data: Data,
    late: Annotated[
        bool, typer.Option("--late", help="Only what was not answered in time; exit code 1 if any.")
    ] = False,
    producer: Producer = None,
    limit: Limit = 100,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """List orders, newest first.

    [bold]Example[/bold]: intake orders list --data ./data --producer mint --json
    """

    async def read(orders: Orders) -> list[Order]:
        return await (orders.late(limit, producer) if late else orders.newest(limit, producer=producer))

    found = _run(data, database_url, read)
    if as_json:
        typer.echo(json.dumps([_told(order) for order in found]))
    else:
        for order in found:
            typer.echo(f"{order.id[:8]}  {order.created_at:%Y-%m-%d %H:%M}  {order.producer}  {_state(order)}")
        if not found:
            typer.echo("Nothing is late." if late else "Nothing was handed over.")
    raise typer.Exit(1 if late and found else 0)


@orders_app.command("late")
def late_orders(
    data: Data,
    producer: Producer = None,
    limit: Limit = 100,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """List what no producer has answered in time, longest waited for first; exit code 1 if there is any.

    [bold]Example[/bold]: intake orders late --data ./data
    """
    list_orders(data, late=True, producer=producer, limit=limit, database_url=database_url, as_json=as_json)


@orders_app.command()
def show(order: OrderId, data: Data, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Show an order, and whether it was sent anew.

    [bold]Example[/bold]: intake orders show 3f9ac01d --data ./data
    """

    async def read(orders: Orders) -> tuple[Order, Order | None]:
        found = await orders.matching(_beginning(order))
        return found, await orders.successor(found.id)

    found, successor = _run(data, database_url, read)
    told = _told(found) | {"superseded_by": successor.id if successor else None}
    if as_json:
        typer.echo(json.dumps(told))
        return
    for name, value in told.items():
        typer.echo(f"{name:16} {'-' if value is None else value}")


@orders_app.command()
def resend(order: OrderId, data: Data, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Ask the desk to seal an order anew, for the producer's present keys. A running desk does it within seconds.

    An order that the producer accepted is not sent anew.

    [bold]Example[/bold]: intake orders resend 3f9ac01d --data ./data
    """

    async def ask(orders: Orders) -> Order:
        return await orders.ask_again(await orders.matching(_beginning(order)))

    asked = _run(data, database_url, ask)
    if as_json:
        typer.echo(json.dumps(_told(asked)))
    else:
        done = "was sent anew before" if asked.superseded_at else "will be sent anew by the desk"
        typer.echo(f"{asked.id[:8]} {done}.")


def _beginning(order: str) -> str:
    if len(order) < 8 or len(order) > 32 or set(order) - set("0123456789abcdef"):
        raise typer.BadParameter("an order is named by 8 to 32 lower-case hex digits.")
    return order


def _state(order: Order) -> str:
    now = datetime.now(UTC)
    if order.answer_verdict is not None:
        return order.answer_verdict if order.answer_code is None else f"{order.answer_verdict}: {order.answer_code}"
    if order.superseded_at is not None:
        return "sent anew"
    if order.is_late(now):
        return f"LATE since {order.answer_by:%Y-%m-%d %H:%M}"
    return f"waiting until {order.answer_by:%Y-%m-%d %H:%M}"


def _told(order: Order) -> dict[str, Any]:
    def moment(at: datetime | None) -> str | None:
        return None if at is None else at.isoformat()

    return {
        "order": order.id,
        "cursor": order.cursor,
        "state": _state(order),
        "packet_sha256": order.packet_sha256,
        "producer": order.producer,
        "message_sha256": order.message_sha256,
        "size": order.size,
        "created_at": moment(order.created_at),
        "answer_by": moment(order.answer_by),
        "answered_at": moment(order.answered_at),
        "verdict": order.answer_verdict,
        "code": order.answer_code,
        "resend_of": order.resend_of,
        "resend_asked_at": moment(order.resend_asked_at),
        "superseded_at": moment(order.superseded_at),
    }


def _run(data: Path, database_url: str | None, work: Callable[[Orders], Awaitable[T]]) -> T:
    async def run() -> T:
        async with _opened(data, database_url) as orders:
            return await work(orders)

    from server.errors import RequestError

    with failing():
        try:
            return asyncio.run(run())
        except RequestError as error:
            print(f"intake: {error}", file=sys.stderr)
            raise typer.Exit(1) from error


@contextlib.asynccontextmanager
async def _opened(data: Path, database_url: str | None) -> AsyncIterator[Orders]:
    """The orders of an intake's database, with nothing created or migrated in it."""
    from server.config import StoreSettings
    from server.orders import Orders
    from server.store import open_present_store

    settings = StoreSettings(data_dir=data, database_url=database_url)
    async with open_present_store(settings.resolved_database_url) as store:
        yield Orders(store, lambda: datetime.now(UTC))
