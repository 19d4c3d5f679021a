"""What a program tells systemd: ready, alive, stopping (sd_notify(3)). Here because booth and server share no other room.

Rules:
  - Without NOTIFY_SOCKET nothing is told and nothing costs anything. A socket that does not take a message is no reason to end.
  - Alive is told from the event loop, three times in the watchdog's time, and only while every main task runs that ran when the program got
    ready, and nobody names a reason (`ailing`). A loop that hangs tells nothing either. systemd then ends the program and starts it anew.
  - A reason is logged once when it comes; it stands in the unit's status.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

log = logging.getLogger(__name__)

FEEDS_PER_LIMIT = 3
SEND_S = 1.0  # the manager's queue may be full for a moment


def notify(*lines: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Sends the lines; whether somebody took them."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.settimeout(SEND_S)
            line.sendto("\n".join(lines).encode(), target)
    except OSError as error:
        log.warning("the service manager could not be told: %s", error)
        return False
    return True


def watchdog_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """The watchdog's time; None when none watches this process."""
    limit, whom = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(os.getpid()))
    return int(limit) / 1e6 if limit.isdecimal() and int(limit) > 0 and whom == str(os.getpid()) else None


def running(names: Iterable[str]) -> frozenset[str]:
    """Which of the named tasks run on this loop."""
    alive = {task.get_name() for task in asyncio.all_tasks() if not task.done()}
    return frozenset(names) & alive


@asynccontextmanager
async def supervised(
    main_tasks: Iterable[str], ailing: Callable[[], Iterable[str]] = tuple
) -> AsyncIterator[Callable[[], None]]:
    """Call what is yielded when the program is ready: the service manager is told, and the watchdog is fed from then on."""
    feeding: list[asyncio.Task[None]] = []

    def ready() -> None:
        notify("READY=1", "STATUS=ready")
        limit = watchdog_s()
        if limit is not None:
            watched = running(main_tasks)
            feeding.append(asyncio.create_task(_feed(limit / FEEDS_PER_LIMIT, watched, ailing), name="watchdog"))

    try:
        yield ready
    finally:
        notify("STOPPING=1", "STATUS=stopping")
        for task in feeding:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _feed(period_s: float, watched: frozenset[str], ailing: Callable[[], Iterable[str]]) -> None:
    told: tuple[str, ...] = ()
    while True:
        reasons = tuple(sorted({*(watched - running(watched)), *ailing()}))
        if reasons != told:
            told = reasons
            status = f"not fed: {', '.join(reasons)}" if reasons else "ready"
            log.log(logging.ERROR if reasons else logging.INFO, "watchdog: %s", status)
            notify(f"STATUS={status}")
        if not reasons:
            notify("WATCHDOG=1")
        await asyncio.sleep(period_s)
