"""`booth diagnose`: every self-test with its value, limit, cause and remedy, on a booth that runs or one that does not.

A running booth is asked through its control socket (booth/control_socket.py) and takes nobody in meanwhile; it refuses while a visit runs. Where none
runs the devices are opened here. Ctrl-C ends the tests and brings the lamps back, either way.

Exit codes: 0 nothing failed; 1 a check failed; 2 it could not be done, and one sentence says why; 130 interrupted.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from booth.terminal import wait_for_enter

if TYPE_CHECKING:
    from booth.config import Config
    from booth.maintenance import Maintenance, MaintenanceState, TestRun
    from booth.trends import Trend

FAILED, IMPOSSIBLE = 1, 2


class Reason(StrEnum):
    """Why a booth is out of service (booth.maintenance.OutReason)."""

    MAINTENANCE = "maintenance"
    DEVICE_FAULT = "device_fault"
    CLEANING = "cleaning"
    PREMISES = "premises"
    OTHER = "other"


def diagnose_command(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The booth's settings.", envvar="PASSBOOTH_CONFIG")
    ] = Path("booth.toml"),
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="CHECK", help="This check alone; may be repeated.")
    ] = None,
    attended: Annotated[
        bool, typer.Option("--attended", help="Also the checks that need the test card, and somebody to hang it up.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="List the checks with their limits; test nothing.")] = False,
    trends: Annotated[
        bool, typer.Option("--trends", help="How the values went over the last weeks; test nothing.")
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="FILE", help="Write a support bundle (ZIP, nothing personal); test nothing."),
    ] = None,
    out_of_service: Annotated[
        Reason | None, typer.Option("--out-of-service", help="Take the booth out of service, for this reason.")
    ] = None,
    in_service: Annotated[bool, typer.Option("--in-service", help="Let visits begin again.")] = False,
) -> None:
    """Test every device and the machine: value, limit, cause and remedy. The booth may be running, without a visit.

    [bold]Examples[/bold]: booth diagnose      booth diagnose --only lamp.key_left --only disk.free
    booth diagnose --attended      booth diagnose --bundle /media/stick/booth.zip
    """
    from booth.cli import finish

    if listing:
        from booth.diagnose_tables import show_checks

        show_checks(as_json=as_json)
        return
    if attended and not sys.stdin.isatty():
        raise typer.BadParameter("--attended asks for the test card at a terminal; there is none.")
    logging.getLogger().addHandler(logging.NullHandler())  # what devices say is in the findings
    asked = Asked(config, tuple(only) if only else None, attended, as_json, trends, bundle, out_of_service, in_service)
    finish(asked.do())


class Work(Protocol):
    """What the command needs of a booth, running or not."""

    def tests(self, ids: tuple[str, ...] | None, *, attended: bool) -> AsyncIterator[MaintenanceState]:
        """Begins tests and tells every state until they are over."""
        ...

    def calibrate(self, *, baseline: bool) -> AsyncIterator[MaintenanceState]:
        """Begins a calibration and tells every state until it is over."""
        ...

    async def proceed(self) -> None:
        """What was asked for is done."""

    async def switch(self, reason: Reason | None) -> None:
        """Out of service for a reason, or in."""

    async def trends(self) -> tuple[Trend, ...]:
        """How values went."""
        ...

    async def bundle(self) -> bytes:
        """The support bundle."""
        ...


class Asked:
    """One call of the command."""

    def __init__(
        self,
        config: Path,
        only: tuple[str, ...] | None,
        attended: bool,
        as_json: bool,
        trends: bool,
        bundle: Path | None,
        out_of_service: Reason | None,
        in_service: bool,
    ) -> None:
        self._path, self._only, self._attended, self._as_json = config, only, attended, as_json
        self._trends, self._bundle, self._off, self._on = trends, bundle, out_of_service, in_service

    async def do(self) -> int:
        """The exit code; raises the booth's errors."""
        from booth.config import Config
        from booth.diagnose_tables import show_run, show_trends
        from booth.diagnostics import chosen

        chosen(self._only, attended=True)  # an unknown check is told before anything is opened
        config = Config.load(self._path)
        async with open_work(config) as work:
            if self._off is not None or self._on:
                await work.switch(None if self._on else self._off)
                print("The booth is in service." if self._on else f"The booth is out of service: {self._off}.")
                return 0
            if self._bundle is not None:
                return await self._write_bundle(work, self._bundle)
            if self._trends:
                show_trends(await work.trends(), as_json=self._as_json)
                return 0
            run = await self._test(work)
        if self._as_json:
            print(run.model_dump_json())
        else:
            show_run(run)
        return FAILED if run.failed else IMPOSSIBLE if run.cancelled else 0

    @staticmethod
    async def _write_bundle(work: Work, path: Path) -> int:
        from booth.errors import SupportBundleError
        from crypto.key_folder import PRIVATE, write_whole

        data = await work.bundle()
        try:
            await asyncio.to_thread(write_whole, path, data, PRIVATE)
        except OSError as error:
            raise SupportBundleError(f"The bundle cannot be written to {path}: {error.strerror}.") from error
        print(f"{path}: {len(data) / 1000:.0f} kB, nothing personal in it (docs/diagnostics.md says what is).")
        return 0

    async def _test(self, work: Work) -> TestRun:
        """Runs the tests with a bar on the terminal."""
        from booth.messages import Messages

        words = Messages.load("en")
        last: TestRun | None = None
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True, disable=self._as_json) as progress:
            bar = progress.add_task("Self-tests", total=None)
            asked = False
            async for state in work.tests(self._only, attended=self._attended):
                last = state.tests
                if last is None:
                    continue
                name = "" if last.current is None else words.text(f"check.{last.current}")
                progress.update(bar, total=last.total, completed=last.done, description=escape(name) or "Self-tests")
                if last.waiting is not None and not asked:
                    asked = True
                    progress.stop()
                    await _ask_for_card()
                    progress.start()
                    await work.proceed()
        assert last is not None, "tests tell at least their end"
        return last


async def _ask_for_card() -> None:
    """Waits for the return key. Raises MaintenanceRefusedError when nobody can press it."""
    from booth.errors import MaintenanceRefusedError

    card = "Hang the test card upright in its holder at the head's place, facing the camera, then press Enter."
    print(card, file=sys.stderr)
    if not await wait_for_enter():
        raise MaintenanceRefusedError("Nobody answered: standard input ended before the card hung.")


# --- a booth that runs, and one that does not --------------------------------------------------------------------------


@asynccontextmanager
async def open_work(config: Config) -> AsyncIterator[Work]:
    """The running booth where there is one, else the devices themselves."""
    from booth.control_socket import open_control_line

    async with open_control_line(config.booth.data_dir) as line:
        running = line is not None
    if running:
        yield Running(config.booth.data_dir)
        return
    from booth.bench_alone import open_bench_alone
    from booth.health import Health
    from booth.maintenance import Maintenance

    config.booth.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _require_owner(config.booth.data_dir)
    async with open_bench_alone(config) as bench:
        maintenance = Maintenance(config.booth.data_dir, Health(bench.utc), lambda: None, lambda: True)
        maintenance.start(bench)
        await maintenance.look_at_calibration()
        try:
            yield Alone(maintenance)
        finally:
            await maintenance.close()


def _require_owner(data_dir: Path) -> None:
    """As another user, root included, what may be opened is not what the booth may open, and what is written the booth could not read."""
    from booth.errors import MaintenanceRefusedError

    owner = data_dir.stat().st_uid
    if owner != os.geteuid():
        raise MaintenanceRefusedError(
            f"No controller runs, and {data_dir} belongs to another user (uid {owner}): run this command as that user (sudo -u), "
            "or start the booth first."
        )


class Running:
    """A booth behind its control socket."""

    def __init__(self, folder: Path) -> None:
        from booth.control_socket import ControlLine

        self._folder = folder
        self._line: ControlLine | None = None

    async def tests(self, ids: tuple[str, ...] | None, *, attended: bool) -> AsyncIterator[MaintenanceState]:
        """See `Work`."""
        from booth.control_socket import AskTests

        async for state in self._follow(AskTests(ids=ids, attended=attended)):
            yield state

    async def calibrate(self, *, baseline: bool) -> AsyncIterator[MaintenanceState]:
        """See `Work`."""
        from booth.control_socket import AskCalibrate

        async for state in self._follow(AskCalibrate(baseline=baseline)):
            yield state

    async def _follow(self, ask: Any) -> AsyncIterator[MaintenanceState]:
        """The states of work that a line of ours began."""
        from booth.control_socket import open_control_line
        from booth.maintenance import MaintenanceState

        async with open_control_line(self._folder) as line:
            if line is None:
                raise _gone()
            self._line = line
            await line.say(ask)
            async for answer in line.answers():
                if "state" in answer:
                    yield MaintenanceState.model_validate(answer["state"])

    async def proceed(self) -> None:
        """See `Work`."""
        from booth.control_socket import AskPlain

        assert self._line is not None
        await self._line.say(AskPlain(ask="proceed"))

    async def switch(self, reason: Reason | None) -> None:
        """See `Work`."""
        from booth.control_socket import AskOff, AskPlain

        await self._ask(AskPlain(ask="switch_on") if reason is None else AskOff(reason=reason.value))

    async def trends(self) -> tuple[Trend, ...]:
        """See `Work`."""
        from booth.control_socket import AskPlain
        from booth.trends import Trend

        told = await self._ask(AskPlain(ask="trends"))
        return tuple(Trend.model_validate(one) for one in told["trends"])

    async def bundle(self) -> bytes:
        """See `Work`."""
        from booth.control_socket import AskPlain

        return base64.b64decode((await self._ask(AskPlain(ask="bundle")))["bundle"])

    async def _ask(self, ask: Any) -> dict[str, Any]:
        from booth.control_socket import open_control_line

        async with open_control_line(self._folder) as line:
            if line is None:
                raise _gone()
            return await line.answer(ask)


def _gone() -> Exception:
    from booth.errors import ControlSocketError

    return ControlSocketError("The running booth ended meanwhile: start the command again.")


class Alone:
    """The devices of a booth whose controller does not run."""

    def __init__(self, maintenance: Maintenance) -> None:
        self._maintenance = maintenance

    async def tests(self, ids: tuple[str, ...] | None, *, attended: bool) -> AsyncIterator[MaintenanceState]:
        """See `Work`."""
        self._maintenance.start_tests(ids, attended=attended, occasion="command")
        async for state in self._follow():
            yield state

    async def calibrate(self, *, baseline: bool) -> AsyncIterator[MaintenanceState]:
        """See `Work`."""
        self._maintenance.start_calibration(baseline=baseline, occasion="command")
        async for state in self._follow():
            yield state

    async def _follow(self) -> AsyncIterator[MaintenanceState]:
        async with self._maintenance.subscribe() as states:
            async for state in states:
                yield state
                if state.busy is None:
                    return

    async def proceed(self) -> None:
        """See `Work`."""
        self._maintenance.proceed()

    async def switch(self, reason: Reason | None) -> None:
        """See `Work`."""
        if reason is None:
            self._maintenance.switch_on()
        else:
            self._maintenance.switch_off(reason.value)

    async def trends(self) -> tuple[Trend, ...]:
        """See `Work`."""
        return await self._maintenance.trends()

    async def bundle(self) -> bytes:
        """See `Work`."""
        return await self._maintenance.bundle()
