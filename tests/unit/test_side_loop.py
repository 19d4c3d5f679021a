"""Work in the loop of another thread: values and errors come back, what is given up here is cancelled there, nothing is left behind."""

from __future__ import annotations

import asyncio
import threading

import pytest

from server.side_loop import open_side_loop


async def test_work_runs_in_a_thread_of_its_own_and_tells_what_came_of_it(no_tasks_left):
    async def name() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    async def fail() -> None:
        raise KeyError("there")

    async with open_side_loop("beside") as side:
        assert await asyncio.gather(side.run(name()), side.run(name())) == ["beside", "beside"]
        with pytest.raises(KeyError, match="there"):
            await side.run(fail())
        assert await side.run(name()) == "beside"
    assert "beside" not in {thread.name for thread in threading.enumerate()}


async def test_what_is_given_up_here_is_cancelled_there():
    begun, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with open_side_loop("beside") as side:
        waiting = asyncio.create_task(side.run(wait()))
        assert await asyncio.to_thread(begun.wait, 10)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await asyncio.to_thread(ended.wait, 10)


async def test_the_thread_ends_also_when_the_block_fails():
    with pytest.raises(ValueError, match="here"):
        async with open_side_loop("beside"):
            raise ValueError("here")
    assert "beside" not in {thread.name for thread in threading.enumerate()}
