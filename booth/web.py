"""The booth's pages and their interface: kiosk, technician, events, preview.

Rules:
  - Only a browser on this machine is served, and nothing is cached or framed (booth/guard.py).
  - Nothing but POST changes anything; POST needs the token that stands in the kiosk page, which no foreign page can read.
  - The page tells with each command what it was showing (`X-Kiosk-Seen: STATE VISIT`, `-` without a visit); without that the answer is 428, and
    a tap on a screen that is gone is refused, so a double tap is one.
  - A command's body is small, comes in time (booth/page_requests.py), and is nested as little as a command is; what is not so is refused,
    never a failure.
  - The technician's page and everything on it is for a technician's session alone (booth/technician_login.py).
  - Preview by client pull (booth/preview_socket.py). Pictures leave only while the visit shows them.
  - Closing: `open_pages` ends event streams and preview sockets first, then the server, so that nothing hangs and nothing leaks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Request, Response, WebSocket
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException

from booth import page_document
from booth.errors import CommandMalformedError, CommandRefusedError
from booth.guard import Guard
from booth.kiosk import BoothFacade, KioskState, PreviewFrame, read_command
from booth.messages import CatalogueError, Messages, known_languages
from booth.page_protocol import PageProtocol, PageSocket
from booth.page_requests import limited_body, problem
from booth.preview_socket import end_tasks, serve_pictures
from booth.status_code import draw_code
from booth.technician_login import TechnicianDoor, TechnicianPages
from booth.technician_pages import TechnicianTools
from booth.training import TrainingDesk
from booth.voice import Voice
from booth.voice_pages import VoicePages

PAGES = Path(__file__).resolve().parent / "pages"
STATIC = Path(__file__).resolve().parent / "static"
RECONNECT_MS = 200  # the page shows the true state within a second of a restart
ALIVE_S = 2.0  # an event stream is never silent for longer; the page takes silence of three times this for a loss
PREVIEW_STATES = frozenset({"identify", "framing", "capturing"})
# What the page says in every language while none is chosen.
WORDLESS = ("access.title", "access.text", "access.contrast", "access.dark", "access.reach", "access.calm")
STOP_S = 3  # what a request in flight gets when the booth stops


def create_app(
    booth: BoothFacade,
    *,
    door: TechnicianDoor | None = None,
    closing: asyncio.Event | None = None,
    voice: Voice | None = None,
    training: TrainingDesk | None = None,
) -> FastAPI:
    """The web application of one booth. `closing` ends its event streams and preview sockets; without a `door` no technician gets in."""
    pages = _Pages(booth, door or TechnicianDoor(None), closing or asyncio.Event(), training)
    app = FastAPI(
        title="Passbooth kiosk",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=page_document.ADDRESS,
        redirect_slashes=False,
    )
    app.openapi = lambda: page_document.describe_pages(app.version)  # type: ignore[method-assign] # FastAPI's documented way
    app.add_exception_handler(HTTPException, _no_such_page)
    app.state.pages = pages
    app.include_router(pages.router())
    app.include_router(VoicePages(voice).router())
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Guard)
    return app


@contextlib.asynccontextmanager
async def open_pages(
    booth: BoothFacade,
    port: int,
    host: str = "127.0.0.1",
    *,
    door: TechnicianDoor | None = None,
    voice: Voice | None = None,
    training: TrainingDesk | None = None,
) -> AsyncIterator[str]:
    """Serve the pages on this event loop; yields their address. Port 0 takes a free one. Raises OSError when the port is taken."""
    closing = asyncio.Event()
    config = uvicorn.Config(
        create_app(booth, door=door, closing=closing, voice=voice, training=training),
        log_config=None,
        access_log=False,  # addresses of a visit are nobody's business
        server_header=False,
        http=PageProtocol,
        ws=PageSocket,
        proxy_headers=False,  # nobody stands between: a header names no other peer
        ws_per_message_deflate=False,  # JPEG does not shrink
        ws_max_size=1024,  # the page sends "ready"
        timeout_graceful_shutdown=STOP_S,
    )
    server = _Server(config)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=64) as listening:
        bound = listening.getsockname()[1]
        serving = asyncio.create_task(server.serve(sockets=[listening]), name="booth-pages")
        try:
            await server.until_started(serving)
            yield f"http://{f'[{host}]' if ':' in host else host}:{bound}/"
        finally:
            closing.set()
            server.should_exit = True
            await serving


class _Server(uvicorn.Server):
    """uvicorn as a part of this program: signals stay with the program."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()

    async def until_started(self, serving: asyncio.Task[None]) -> None:
        """Return when requests are answered; raises what ended the server before that."""
        waiting = asyncio.create_task(self._ready.wait(), name="booth-pages-ready")
        try:
            await asyncio.wait({waiting, serving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if serving.done():
            await serving


class _Feed:
    """The booth's states for one page; None when nothing changed for `ALIVE_S`. Ends when the pages close."""

    def __init__(self, states: AsyncIterator[KioskState], closing: asyncio.Event) -> None:
        self._states = states
        self._newest: asyncio.Future[KioskState] = asyncio.ensure_future(anext(states))
        self._stopping = asyncio.ensure_future(closing.wait())

    def __aiter__(self) -> _Feed:
        return self

    async def __anext__(self) -> KioskState | None:
        # Waited for beside the time limit, not under it: a limit would cancel, and so end, the booth's iterator.
        waiting: set[asyncio.Future[Any]] = {self._newest, self._stopping}
        await asyncio.wait(waiting, timeout=ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
        if self._stopping.done():
            raise StopAsyncIteration
        if not self._newest.done():
            return None
        state = self._newest.result()  # StopAsyncIteration when the booth ends
        self._newest = asyncio.ensure_future(anext(self._states))
        return state

    async def close(self) -> None:
        """Stop following."""
        await end_tasks(self._newest, self._stopping)


async def _follow(request: Request) -> AsyncIterator[_Feed]:
    """The feed of one event stream. A dependency, because a page that goes away leaves the stream's generator where it stands."""
    pages: _Pages = request.app.state.pages
    async with pages.feed() as feed:
        yield feed


class _Pages:
    """Routes of one booth."""

    def __init__(
        self, booth: BoothFacade, door: TechnicianDoor, closing: asyncio.Event, training: TrainingDesk | None
    ) -> None:
        self._booth = booth
        self._training = training
        self._closing = closing
        self._token = secrets.token_urlsafe(32)
        self._instance = secrets.token_hex(8)  # a page of another controller run reloads itself
        self._following = 0
        self._lived_at: float | None = None
        self._templates = Environment(
            loader=FileSystemLoader([PAGES, STATIC]), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        for language in known_languages():
            Messages.load(language)  # a broken catalogue shows at start, not in a visit
        self._technicians = TechnicianPages(door, self._token, self._page)
        self._tools = TechnicianTools(booth, self._technicians, closing, training)

    def router(self) -> APIRouter:
        router = APIRouter()
        router.get("/", response_class=HTMLResponse)(self.kiosk_page)
        router.get("/api/pages")(self.followers)
        router.post("/api/pages", status_code=204)(self.sign_of_life)
        router.get("/api/messages/{language}")(self.messages)
        router.get("/api/events", response_class=EventSourceResponse)(self.events)
        router.post("/api/visit/{event}", status_code=202)(self.command)
        router.get("/api/visit/portrait")(self.portrait)
        router.get("/api/visit/status-code")(self.status_code)
        router.websocket("/api/preview")(self.preview)
        router.include_router(self._technicians.router())
        router.include_router(self._tools.router())
        return router

    @contextlib.asynccontextmanager
    async def feed(self) -> AsyncIterator[_Feed]:
        """Follow the booth's states."""
        async with self._booth.subscribe() as states:
            feed = _Feed(states, self._closing)
            self._following += 1
            try:
                yield feed
            finally:
                self._following -= 1
                await feed.close()

    async def followers(self) -> Response:
        """How many pages follow the visit, and since when none gave a sign of life: what the screen is watched by (deploy/kiosk/kiosk-browser)."""
        silent_s = None if self._lived_at is None else round(time.monotonic() - self._lived_at, 1)
        return JSONResponse({"pages": self._following, "silent_s": silent_s})

    async def sign_of_life(self, request: Request) -> Response:
        """A page's own thread works: it heard the event stream just now."""
        if not self._holds_token(request):
            return problem(403, "page.token", "The token of this page is not valid: reload the page.")
        self._lived_at = time.monotonic()
        return Response(status_code=204)

    def _holds_token(self, request: Request) -> bool:
        return secrets.compare_digest(request.headers.get("x-kiosk-token", "").encode(), self._token.encode())

    async def kiosk_page(self) -> Response:
        """The applicant's page, loaded anew after each visit: the browser forgets what it may have kept of the one before."""
        page = self._page("kiosk.html", self._booth.state.language)
        return HTMLResponse(page, headers={"Clear-Site-Data": '"cache", "storage"'})

    def _page(self, template: str, language: str, values: dict[str, object] | None = None) -> str:
        return self._templates.get_template(template).render(
            messages=Messages.load(language),
            languages=[Messages.load(each) for each in known_languages()],
            token=self._token,
            instance=self._instance,
            training=self._training is not None,
            **(values or {}),
        )

    async def messages(self, language: str) -> Response:
        """A language's texts, and what the language screen shows of all languages."""
        try:
            chosen = Messages.load(language)
        except CatalogueError as error:
            return problem(404, error.code, str(error))
        languages = [Messages.load(each) for each in known_languages()]
        return JSONResponse(
            {
                "language": chosen.language,
                "direction": chosen.direction,
                "languages": [
                    {
                        "language": each.language,
                        "name": each.name,
                        "direction": each.direction,
                        "start": each.text("action.start"),
                        "choose": each.text("state.language.title"),
                        "words": {key: each.text(key) for key in WORDLESS},
                    }
                    for each in languages
                ],
                "texts": chosen.all_for_page(),
            }
        )

    async def events(self, feed: Annotated[_Feed, Depends(_follow)]) -> AsyncIterator[ServerSentEvent]:
        """`hello` with the controller's run, then `state` at once and on each change, `alive` in between."""
        yield ServerSentEvent(event="hello", data={"instance": self._instance}, retry=RECONNECT_MS)
        async for state in feed:
            if state is None:
                yield ServerSentEvent(event="alive", data={})
            else:
                yield ServerSentEvent(event="state", data=_as_json(state))

    async def command(self, event: str, request: Request) -> Response:
        """Pass a command to the visit: 202, or 409 when the visit does not allow it now, or why it cannot be read; with the current state."""
        if not self._holds_token(request):
            return problem(403, "page.token", "The token of this page is not valid: reload the page.")
        body = await limited_body(request)
        if isinstance(body, Response):
            return body
        seen = request.headers.get("x-kiosk-seen")
        if seen is None:
            return self._outcome(428, "page.seen", "A command tells in X-Kiosk-Seen what its page was showing.")
        try:
            if seen != _seen(self._booth.state):
                raise CommandRefusedError(event, self._booth.state.state)
            self._booth.post(read_command(event, json.loads(body) if body else None))
        except CommandRefusedError as error:
            return self._outcome(409, error.code, str(error))
        except CommandMalformedError as error:
            return self._outcome(422, error.code, str(error))
        except (ValueError, RecursionError):  # not JSON, not UTF-8, or nested a thousand deep
            return self._outcome(422, CommandMalformedError.code, "The body of a command must be a JSON object.")
        return self._outcome(202, None, None)

    def _outcome(self, status: int, code: str | None, message: str | None) -> Response:
        error = None if code is None else {"code": code, "message": message}
        return JSONResponse({"error": error, "state": _as_json(self._booth.state)}, status)

    async def portrait(self) -> Response:
        """The portrait under review."""
        portrait = self._booth.portrait()
        if portrait is None:
            return problem(404, "visit.no_portrait", "There is no portrait to show now.")
        return Response(portrait, media_type="image/jpeg")

    async def status_code(self) -> Response:
        """The QR code of the thanks screen."""
        address = self._booth.state.status_url
        if address is None:
            return problem(404, "visit.no_status_code", "There is no code to show now.")
        return Response(draw_code(address), media_type="image/svg+xml")

    async def preview(self, websocket: WebSocket) -> None:
        """One picture per "ready", newer than the last one sent."""

        def newest() -> PreviewFrame | None:
            return self._booth.preview() if self._booth.state.state in PREVIEW_STATES else None

        await serve_pictures(websocket, self._closing, newest)


async def _no_such_page(_request: Request, error: Exception) -> Response:
    """What the router answers by itself, in the words of every other error."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        return problem(405, "page.method", "This address does not take this method.", dict(error.headers or {}))
    return problem(404, "page.unknown", "There is nothing at this address.")


def _as_json(state: KioskState) -> dict[str, Any]:
    return state.model_dump(mode="json")


def _seen(state: KioskState) -> str:
    """What a page was showing: state and visit."""
    return f"{state.state} {state.visit or '-'}"
