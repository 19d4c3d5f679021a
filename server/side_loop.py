"""An event loop of its own in a thread of its own: for work that is many small waits one after the other, as a transaction is.

In a busy process each wait of the main loop ends behind everything else that is ready; a commit of a dozen statements pays that a dozen times, and all who
wait for the commit with it (measured: 57 ms instead of 16 ms a commit under load, docs/scale.md). What runs here shares nothing with the main loop: it has its own database
connections, and takes and returns values.

Order of operation: thread and loop start; `run` hands over a coroutine and waits for its end; at the end of the block the loop ends, and the thread is joined.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class SideLoop:
    """The loop of another thread. Use `open_side_loop`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it there; its result or exception comes here. Given up here, it is cancelled there."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


@contextlib.asynccontextmanager
async def open_side_loop(name: str) -> AsyncIterator[SideLoop]:
    """A thread of this name with a loop that runs until the block ends."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    ended: Future[None] = Future()

    async def live() -> None:
        end = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), end))
        await end.wait()

    def work() -> None:
        try:
            asyncio.run(live())
        finally:
            ended.set_result(None)

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    loop, end = await asyncio.wrap_future(started)
    try:
        yield SideLoop(loop)
    finally:
        loop.call_soon_threadsafe(end.set)
        await asyncio.shield(asyncio.wrap_future(ended))
        thread.join()
