"""What a technician sees and does on his page: routes for live values, tests, the switch, and training.

Rules:
  - Everything here is for a technician's session (booth/technician_login.py). Reading changes nothing; doing is a POST with the page's token and a
    small JSON body, refused in one sentence where it cannot be done now (409) or does not exist (422).
  - The work itself is booth/maintenance.py's: these routes say what was asked for and show its state, and the page asks again every second.
  - Pictures leave only to a session, only while the booth is out of service by the technician's switch (booth/inspection.py): who is seen is whoever
    switched it. A session that ends closes its socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from fastapi import APIRouter, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, ValidationError

from booth.courses import DAYS, Courses, course_of
from booth.errors import HistoryUnusableError, MaintenanceRefusedError, TrainerLostError
from booth.faults import fault_of
from booth.kiosk import BoothFacade, PreviewFrame
from booth.maintenance import OUT_REASONS, MaintenanceState, OutReason
from booth.page_requests import problem
from booth.preview_socket import serve_pictures
from booth.technician_login import TechnicianPages
from booth.training import Name, Scene, TrainingDesk, TrainingView
from capture.card_layout import card_svg

Body = TypeVar("Body", bound=BaseModel)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WorkView(_Value):
    """What the technician's work is at, and what he may choose from."""

    state: MaintenanceState
    reasons: tuple[OutReason, ...]


class NoBody(_Value):
    """A command without a choice."""


class StartTests(_Value):
    """Which self-tests: all that an empty booth allows, or also those that need somebody with the test card."""

    attended: bool = False


class StartCalibration(_Value):
    """A calibration; as a baseline, later ones are compared with it."""

    baseline: bool = False


class SwitchOff(_Value):
    """Takes the booth out of service."""

    reason: OutReason


class GiveAnswer(_Value):
    """The cause that the technician found."""

    cause: Name


class SetScene(_Value):
    """What is before the camera of the virtual booth."""

    scene: Scene


class TechnicianTools:
    """Routes of one booth."""

    def __init__(
        self, booth: BoothFacade, pages: TechnicianPages, closing: asyncio.Event, training: TrainingDesk | None
    ) -> None:
        self._booth, self._pages, self._closing, self._training = booth, pages, closing, training

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/api/technician")
        router.get("")(self.status)
        router.get("/live")(self.live)
        router.websocket("/preview")(self.preview)
        router.get("/maintenance")(self.work)
        router.get("/history")(self.history)
        router.get("/fleet")(self.fleet)
        router.get("/test-card", response_class=Response)(self.test_card)
        router.post("/bundle", response_class=Response)(self.bundle)
        router.post("/fleet/profile", status_code=204)(self.take_profile_back)
        for path, do in (
            ("/tests", self.start_tests),
            ("/calibration", self.start_calibration),
            ("/maintenance/proceed", self.proceed),
            ("/maintenance/cancel", self.cancel),
            ("/service/off", self.switch_off),
            ("/service/on", self.switch_on),
        ):
            router.post(path, status_code=202)(do)
        router.get("/training")(self.training)
        for path, tell in (
            ("/training/answer", self.answer),
            ("/training/next", self.next_exercise),
            ("/training/scene", self.set_scene),
        ):
            router.post(path)(tell)
        return router

    # --- reading -------------------------------------------------------------------------------------------------------

    async def status(self, request: Request) -> Response:
        """Devices, outbox, intake, certificate, findings, events."""
        return self._pages.refuse(request) or _json(self._booth.technician())

    async def live(self, request: Request, family: str = "") -> Response:
        """What the rules measured lately, of one family of rules; histogram and lamps."""
        return self._pages.refuse(request) or _json(self._booth.live(family))

    async def work(self, request: Request) -> Response:
        """Tests, calibration, switch."""
        refused = self._pages.refuse(request)
        return refused or _json(WorkView(state=self._booth.maintenance.state, reasons=OUT_REASONS))

    async def history(self, request: Request) -> Response:
        """How every self-test went over the last ninety days."""
        refused = self._pages.refuse(request)
        if refused is not None:
            return refused
        maintenance, now = self._booth.maintenance, time.time()
        try:
            trends = await maintenance.trends()
            courses = {
                trend.check: course_of(trend, await maintenance.history(trend.check, DAYS), now) for trend in trends
            }
        except (HistoryUnusableError, MaintenanceRefusedError) as error:
            return problem(503, error.code, f"{error} {fault_of(error).hint}")
        return _json(Courses(checks=courses))

    async def fleet(self, request: Request) -> Response:
        """The newest heartbeat as it was sent, and the orders that came."""
        return self._pages.refuse(request) or _json(await self._booth.fleet())

    async def test_card(self, request: Request) -> Response:
        """The test card, to be printed at its true size."""
        headers = {"Content-Disposition": 'attachment; filename="passbooth-test-card.svg"'}
        return self._pages.refuse(request) or Response(card_svg(), media_type="image/svg+xml", headers=headers)

    async def preview(self, websocket: WebSocket) -> None:
        """Pictures of the technician himself; from the first "ready" until the socket ends, the booth is lit and judges."""
        if not self._pages.admits(websocket):
            await websocket.close(code=1008)
            return

        looking = False

        def newest() -> PreviewFrame | None:
            nonlocal looking
            if not looking:  # the page asked: a handshake alone does nothing
                look.enter_context(self._booth.inspect())
                looking = True
            return self._booth.preview() if self._booth.inspecting else None

        with contextlib.ExitStack() as look:
            await serve_pictures(websocket, self._closing, newest, lambda: self._pages.admits(websocket))

    # --- doing ---------------------------------------------------------------------------------------------------------

    async def start_tests(self, request: Request) -> Response:
        """Begin the self-tests."""
        maintenance = self._booth.maintenance
        return await self._do(request, StartTests, lambda body: maintenance.start_tests(attended=body.attended))

    async def start_calibration(self, request: Request) -> Response:
        """Begin a calibration."""
        maintenance = self._booth.maintenance
        return await self._do(
            request, StartCalibration, lambda body: maintenance.start_calibration(baseline=body.baseline)
        )

    async def proceed(self, request: Request) -> Response:
        """What was asked for is done: go on."""
        return await self._do(request, NoBody, lambda _: self._booth.maintenance.proceed())

    async def cancel(self, request: Request) -> Response:
        """End what runs."""
        return await self._do(request, NoBody, lambda _: self._booth.maintenance.cancel())

    async def switch_off(self, request: Request) -> Response:
        """Take the booth out of service."""
        return await self._do(request, SwitchOff, lambda body: self._booth.maintenance.switch_off(body.reason))

    async def switch_on(self, request: Request) -> Response:
        """Let visits begin again."""
        return await self._do(request, NoBody, lambda _: self._booth.maintenance.switch_on())

    async def bundle(self, request: Request) -> Response:
        """The support bundle, a ZIP file made now."""
        body = await self._body(request, NoBody)
        if isinstance(body, Response):
            return body
        try:
            content = await self._booth.maintenance.bundle()
        except MaintenanceRefusedError as error:
            return problem(409, error.code, str(error))
        name = f"passbooth-support-{self._booth.technician().booth}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.zip"
        return Response(
            content, media_type="application/zip", headers={"Content-Disposition": f'attachment; filename="{name}"'}
        )

    async def take_profile_back(self, request: Request) -> Response:
        """The profile of booth.toml counts again from the next start on, instead of the one that an order chose."""
        body = await self._body(request, NoBody)
        if isinstance(body, Response):
            return body
        try:
            await self._booth.take_profile_back()
        except OSError as error:
            return problem(409, "technician.disk", f"The booth's disk refused: {error.strerror}.")
        return Response(status_code=204)

    async def _do(self, request: Request, kind: type[Body], do: Callable[[Body], None]) -> Response:
        body = await self._body(request, kind)
        if isinstance(body, Response):
            return body
        try:
            do(body)
        except MaintenanceRefusedError as error:
            return problem(409, error.code, str(error))
        except OSError as error:
            return problem(409, "technician.disk", f"The booth's disk refused: {error.strerror}.")
        return _json(WorkView(state=self._booth.maintenance.state, reasons=OUT_REASONS), 202)

    async def _body(self, request: Request, kind: type[Body]) -> Body | Response:
        """The command in the request's body, or why there is none; the token first, then the session."""
        raw = await self._pages.command(request)
        if isinstance(raw, Response):
            return raw
        refused = self._pages.refuse(request)
        if refused is not None:
            return refused
        try:
            return kind.model_validate_json(raw or b"{}")
        except ValidationError:
            fields = ", ".join(kind.model_fields) or "nothing"
            return problem(422, "technician.malformed", f"The body must be a JSON object of: {fields}.")

    # --- training ------------------------------------------------------------------------------------------------------

    async def training(self, request: Request) -> Response:
        """Where the training stands."""
        return self._pages.refuse(request) or await self._trainer(lambda desk: desk.view())

    async def answer(self, request: Request) -> Response:
        """The technician names the cause."""
        body = await self._body(request, GiveAnswer)
        if isinstance(body, Response):
            return body
        cause = body.cause
        return await self._trainer(lambda desk: desk.tell({"answer": cause}))

    async def next_exercise(self, request: Request) -> Response:
        """Another fault."""
        body = await self._body(request, NoBody)
        return body if isinstance(body, Response) else await self._trainer(lambda desk: desk.tell({"next": True}))

    async def set_scene(self, request: Request) -> Response:
        """Hang the test card, sit down, or leave the booth empty."""
        body = await self._body(request, SetScene)
        if isinstance(body, Response):
            return body
        scene = body.scene
        return await self._trainer(lambda desk: desk.tell({"scene": scene}))

    async def _trainer(self, ask: Callable[[TrainingDesk], Awaitable[TrainingView]]) -> Response:
        if self._training is None:
            return problem(404, "training.none", "This booth is no training booth.")
        try:
            return _json(await ask(self._training))
        except TrainerLostError as error:
            return problem(503, error.code, f"{error} {fault_of(error).hint}")


def _json(value: BaseModel, status: int = 200) -> Response:
    return JSONResponse(value.model_dump(mode="json"), status)
