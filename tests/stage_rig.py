"""A scripted booth and its pages on a loop of their own, for tests that drive the kiosk page from a synchronous Playwright."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from booth.web import open_pages
from tests.unit.fake_booth import FakeBooth, kiosk_state

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from booth.technician_login import TechnicianDoor
    from booth.voice import Voice


class Stage:
    """Shows a state, keeps the commands, and may be closed and opened again as a controller restarts."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stage")
        self._thread.start()
        self.booth: FakeBooth = self.run(self._make())
        self.voice: Voice | None = None
        self.door: TechnicianDoor | None = None
        self.training: Any = None
        self.port = 0
        self.address = ""
        self._pages: AbstractAsyncContextManager[str] | None = None

    @staticmethod
    async def _make() -> FakeBooth:
        return FakeBooth(kiosk_state("attract"))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def show(self, state: str, **values: Any) -> None:
        self.run(self.booth.show(kiosk_state(state, **values)))

    def open(self) -> str:
        self._pages = open_pages(self.booth, self.port, door=self.door, voice=self.voice, training=self.training)
        self.address = self.run(self._pages.__aenter__())
        self.port = int(self.address.rstrip("/").rsplit(":", 1)[1])
        return self.address

    def close(self) -> None:
        if self._pages is not None:
            self.run(self._pages.__aexit__(None, None, None))
            self._pages = None

    def end(self) -> None:
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def stage_at(state: str, **values: Any) -> Iterator[Stage]:
    """A stage whose pages are open."""
    stage = Stage()
    try:
        stage.show(state, **values)
        stage.open()
        yield stage
    finally:
        stage.end()


def shows(page: Page, state: str, language: str | None = None) -> None:
    """Waits for a screen."""
    page.wait_for_selector(f"{f'html[lang={language}] ' if language else ''}body[data-state={state}]")


def settle(page: Page) -> None:
    """Waits until touches on a new screen count (kiosk.js, SETTLE_MS)."""
    page.wait_for_timeout(500)


def leave(page: Page) -> None:
    """Closes the page's connections; a page that has just shown the invitation may be loading itself anew, and that comes first."""
    from playwright.sync_api import Error

    try:
        page.goto("about:blank")
    except Error as error:
        if "interrupted by another navigation" not in str(error):
            raise
        page.wait_for_load_state()
        page.goto("about:blank")
