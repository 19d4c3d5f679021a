"""A booth's part in the fleet between stand-ins: a visit that a test moves, real self-tests of a made bench, and a real intake over ASGI that it tells and asks."""

from __future__ import annotations

import base64
import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2
from starlette.types import ASGIApp

from booth.config import FleetSection, IntakeSection
from booth.counters import Counters
from booth.fleet import Fleet, FleetRooms
from booth.order_book import OrderBook
from booth.profile_choice import ProfileChoice
from crypto.booth_order import (
    MAX_LIFE,
    BoothAnswer,
    OrderKind,
    sign_booth_order,
    verify_booth_answer,
    verify_booth_order,
)
from crypto.heartbeat import Heartbeat, read_heartbeat
from crypto.keys import common_name, open_signer
from tests.bench_rig import Scene, open_bench
from tests.booth_orders import OFFICER
from tests.intake_rig import BASE
from tests.runner_rig import Stage, open_stage
from tests.sealed_packets import Keys


class Wire(httpx2.AsyncBaseTransport):
    """The booth's line: keeps every byte that the booth sends. Behind it an intake over ASGI, or a small one that only knows orders."""

    def __init__(self, app: ASGIApp | None) -> None:
        self._intake = None if app is None else httpx2.ASGITransport(app)
        self.sent: list[tuple[str, bytes]] = []  # method and path, the whole request
        self.answers: list[httpx2.Response | Exception] = []  # in the intake's place, the next ones
        self.waiting: list[bytes] = []  # orders, of the small intake
        self.answered: dict[str, bytes] = {}  # there, by order
        self.bundles: dict[str, bytes] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread()
        head = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
        self.sent.append((f"{request.method} {request.url.path}", f"{request.url}\n{head}\n\n".encode() + body))
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        if self._intake is not None:
            return await self._intake.handle_async_request(request)
        return self._answer(request, body)

    def _answer(self, request: httpx2.Request, body: bytes) -> httpx2.Response:
        path = request.url.path
        if path == "/v1/heartbeats":
            return httpx2.Response(200, json={"actions": len(self.waiting), "next_s": 300})
        if request.method == "GET":
            return handed(self.waiting)
        kept = self.bundles if path.endswith("/bundle") else self.answered
        kept[path.split("/")[3]] = body
        return httpx2.Response(200, json={})

    def bodies(self, what: str) -> list[bytes]:
        """The bodies of requests, by method and path."""
        return [sent.partition(b"\n\n")[2] for kind, sent in self.sent if kind == what]


def handed(documents: Sequence[bytes]) -> httpx2.Response:
    """What an intake tells of the orders that wait."""
    return httpx2.Response(200, json={"orders": [base64.b64encode(one).decode() for one in documents]})


@dataclass
class FleetStage:
    """Everything at hand."""

    fleet: Fleet
    rooms: FleetRooms
    stage: Stage
    keys: Keys
    wire: Wire
    told: list[tuple[str, object]]
    restarts: list[bool]
    number: int = 1

    @property
    def orders(self):
        return self.fleet.orders

    @property
    def booth(self) -> str:
        return self.rooms.config.booth.id

    @property
    def maintenance(self):
        return self.stage.booth.maintenance

    def events(self) -> list[str]:
        return [event.text for event in self.stage.booth._health.events]

    def beats(self) -> list[Heartbeat]:
        return [read_heartbeat(body) for body in self.wire.bodies("POST /v1/heartbeats")]

    def order(self, kind: OrderKind = OrderKind.OUT_OF_SERVICE, **changes) -> bytes:
        """A desk's order, with the next number."""
        desk = open_signer(f"file:{self.keys.folder / 'desk.key'}")
        self.number += 1
        arguments = {"reason": "other"} if kind is OrderKind.OUT_OF_SERVICE else {}
        told = {"order": uuid.uuid4().hex, "booth": self.booth, "number": self.number, "by": OFFICER, "kind": kind}
        told |= {"arguments": arguments, "at": datetime.now(UTC), "life": MAX_LIFE, "signer": desk}
        return sign_booth_order(**told | changes)

    async def obey(self, kind: OrderKind, **changes) -> BoothAnswer:
        """Gives an order and lets the booth do it: its answer."""
        document = self.order(kind, **changes)
        self.wire.waiting = [document]
        await self.orders.turn()
        order = verify_booth_order(document, self.keys.trust).id
        return verify_booth_answer(self.wire.answered[order], self.keys.trust)


@contextlib.asynccontextmanager
async def fleet_stage(
    keys: Keys, folder: Path, app: ASGIApp | None = None, **fleet: object
) -> AsyncIterator[FleetStage]:
    home, scene = folder / "booth", Scene()
    home.mkdir(exist_ok=True)
    scene.devices = ()
    async with open_bench(home, scene=scene) as bench, open_stage(home, patience=0.01) as stage:
        wire, told, restarts = Wire(app), [], []
        runner, signer = stage.booth, keys.signer
        before = runner._config
        config = before.model_copy(
            update={
                "booth": before.booth.model_copy(update={"id": common_name(signer.certificate)}),
                "intake": IntakeSection(url=BASE, trust=keys.folder / "ca.pem"),
                "fleet": FleetSection(**fleet),
            }
        )
        runner.maintenance.start(bench)
        async with httpx2.AsyncClient(transport=wire) as client:
            rooms = FleetRooms(
                config=config,
                configured_profile="demo",
                choice=ProfileChoice(home),
                performer=runner._performer,
                maintenance=runner.maintenance,
                health=runner._health,
                outbox=stage.rooms.outbox,
                worker=stage.rooms.worker,
                client=client,
                signer=lambda: signer,
                trust=lambda: keys.trust,
                recipients=(keys.recipient,),
                certificate_days=lambda _now: 200.0,
                clock_skew_s=lambda: 0.4,
                looked_at=lambda: runner.inspecting,
                tell=lambda source, error: told.append((source, error)),
                restart=lambda: restarts.append(True) or True,
            )

            def note(text: str) -> None:
                runner._health.note("warning", text)

            book = OrderBook(home, lambda: datetime.now(UTC), note)
            counters = Counters(home, lambda: datetime.now(UTC).date(), note)
            yield FleetStage(Fleet(rooms, counters, book), rooms, stage, keys, wire, told, restarts)
