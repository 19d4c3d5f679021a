"""What an intake does in the background; of any number of intakes one does each job (server/jobs.py)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from server.booth_orders import BoothOrders
from server.deletions import count_unfinished
from server.jobs import Job, read_jobs
from server.metrics import Metrics
from server.objects import Objects
from server.orders import Orders
from server.orphans import Orphans
from server.scrub import Scrubber, read_state
from server.store import Store

log = logging.getLogger(__name__)

SCRUB_S = 600.0
ORPHANS_S = 6 * 3600.0
LATE_ORDERS_S = 3600.0
OLD_BOOTH_ORDERS_S = 24 * 3600.0


def storage_jobs(store: Store, objects: Objects, scrub_bytes: int) -> list[Job]:
    """Those that look after stored bytes."""
    scrubber, orphans = Scrubber(store, objects, scrub_bytes), Orphans(store, objects)

    async def collect() -> int:
        done = await orphans.collect()
        return done.put_aside + done.brought_back + done.deleted

    return [Job("scrub", SCRUB_S, scrubber.run), Job("orphans", ORPHANS_S, collect)]


def late_orders_job(orders: Orders) -> Job:
    """Tells in the log, every hour and once for all replicas, that producers owe answers; the count is how many."""

    async def look() -> int:
        late = (await orders.counts()).late
        if late:
            log.warning("Producers have not answered orders in time.", extra={"count": late})
        return late

    return Job("late-orders", LATE_ORDERS_S, look)


def booth_orders_job(orders: BoothOrders) -> Job:
    """Removes orders for booths and their bundles that are past their time."""
    return Job("booth-orders", OLD_BOOTH_ORDERS_S, orders.forget_old)


def tell_jobs(store: Store, metrics: Metrics) -> Callable[[], Awaitable[None]]:
    """Brings the gauges of the jobs up to date."""

    async def tell() -> None:
        for one in await read_jobs(store):
            if one.ran_at is not None:
                metrics.job_ran_at.labels(one.name).set(one.ran_at.timestamp())
                metrics.job_failed.labels(one.name).set(one.outcome != "done")
        metrics.unfinished_deletions.set(await count_unfinished(store))
        state = await read_state(store)
        metrics.damaged_objects.set(state.faults)
        if state.began_at is not None:
            metrics.scrubbed_since.set(state.began_at.timestamp())

    return tell
