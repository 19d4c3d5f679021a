"""`booth demo`: the virtual booth, the controller, the intake and the desk as separate programs on this machine.

Order of operations: make the development keys, start the virtual booth, the intake and the desk, file applications (booth/demo_registry.py), write
booth.toml, start the controller;
then direct the rendered sitter by the kiosk's state, until Ctrl-C, or for one visit (`--visit`, booth/demo_visit.py). Everything that was
started is stopped again in the opposite order; a child dies with its parent even when that is killed. Nothing here is known to the product:
the programs meet at the wire as they would in a real booth.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import dataclasses
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import webbrowser
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from rich.console import Console
from rich.table import Table

from crypto.application import grouped_number

if TYPE_CHECKING:
    from booth.demo_registry import DemoSlip
    from booth.demo_token import DemoToken
    from booth.demo_visit import Kiosk

READY_S = 60.0  # the first start reads models and makes keys; on two busy cores that took 12 s
STOP_S = 8.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h
BOOTH_ID = "booth-0001"
MOVING_PERSON = "anna"  # the one rendered in motion; the others only sit
SLIP_S = 10.0  # so long the number may be typed at the kiosk before its code is held to the camera


class DemoError(Exception):
    """A program of the demo did not start, or a step of the visit did not come; not an error of the product."""


def _die_with_parent() -> None:
    """Ask the kernel to end this child when its parent ends, however that happens (Linux)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Program:
    """One started program: its first line of output, its log, its end."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    ready: Mapping[str, Any] = field(default_factory=dict)

    async def stop(self) -> None:
        """Ask it to end (SIGTERM), insist after `STOP_S` (SIGKILL)."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), STOP_S)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()


@contextlib.asynccontextmanager
async def started(
    name: str, arguments: list[str], folder: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Program]:
    """Run `python -m …` with its log in `folder`; yields when it printed its ready line (one JSON object).

    Raises `DemoError` with the end of its log when it ends or stays silent before that.
    """
    log = folder / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=sink,
            env=os.environ | dict(environment or {}),
            start_new_session=True,  # Ctrl-C reaches the demo alone, which stops its children in order
            preexec_fn=_die_with_parent,
        )
    program = Program(name, process, log)
    drain: asyncio.Task[None] | None = None
    try:
        program.ready = await _ready_line(program)
        drain = asyncio.create_task(_drain(program), name=f"demo-{name}-output")
        yield program
    finally:
        await program.stop()
        if drain is not None:
            drain.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await drain


async def _ready_line(program: Program) -> dict[str, Any]:
    """The first line that is a JSON object."""
    output = program.process.stdout
    assert output is not None
    try:
        async with asyncio.timeout(READY_S):
            while line := await output.readline():
                with contextlib.suppress(ValueError):
                    value = json.loads(line)
                    if isinstance(value, dict):
                        return value
    except TimeoutError as error:
        raise DemoError(f"{program.name} did not get ready within {READY_S:.0f} s.\n{_tail(program.log)}") from error
    await program.process.wait()
    raise DemoError(f"{program.name} ended with exit code {program.process.returncode}.\n{_tail(program.log)}")


async def _drain(program: Program) -> None:
    """Keep the pipe empty, so that a talkative program never blocks."""
    output = program.process.stdout
    assert output is not None
    while await output.read(65536):
        pass


def _tail(log: Path, lines: int = 15) -> str:
    with contextlib.suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return "(no log)"


@dataclass(frozen=True)
class DemoOptions:
    """What the command line asked for."""

    visit: bool = False
    keep: Path | None = None
    data: Path | None = None
    profile: str = "demo"
    lights: str = "wled"
    person: str = "anna"
    browser: bool = True
    as_json: bool = False
    token: bool = False
    registry: bool = True  # applications are filed; otherwise the intake knows of none


@dataclass(frozen=True)
class Demo:
    """Addresses and secrets of a running demo."""

    data: Path
    kiosk_url: str
    intake_url: str
    desk_url: str
    desk_user: str
    desk_password: str
    passphrase: str  # of the technician's pages
    sitter: Sitter
    sitter_moves: bool
    trust: Path
    programs: tuple[Program, ...]
    control: Path  # the virtual booth's socket
    staff_code: str | None = None  # of whoever shows the demo
    slips: tuple[DemoSlip, ...] = ()  # of applications that wait for their photo; one for each visit


class Sitter:
    """The rendered sitter, directed through the virtual booth's control socket: one JSON object per line, one answer per line."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def tell(self, **order: Any) -> dict[str, Any]:
        """Send one order; returns the virtual booth's answer. Raises `DemoError` when it is refused."""
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        try:
            writer.write(json.dumps(order).encode() + b"\n")
            await writer.drain()
            answer: dict[str, Any] = json.loads(await asyncio.wait_for(reader.readline(), 5.0))
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        if not answer.get("ok", True):
            raise DemoError(f"The virtual booth refused {order}: {answer.get('error')}")
        return answer


@contextlib.asynccontextmanager
async def running_demo(options: DemoOptions) -> AsyncIterator[Demo]:
    """Start all programs; stops them and removes the temporary data folder on the way out."""
    from booth.config import Config
    from booth.passphrase import make_passphrase, write_passphrase
    from crypto.keys import make_development_pki

    temporary = options.data is None
    data = Path(tempfile.mkdtemp(prefix="passbooth-demo-")) if options.data is None else options.data.resolve()
    data.mkdir(parents=True, exist_ok=True)
    try:
        pki = await asyncio.to_thread(make_development_pki, data / "pki", booth=BOOTH_ID)
        token = await _token(data, pki) if options.token else None
        simulator = ["hardware.sim", "visit", "--json", "--lights", options.lights, "--person", options.person]
        server = ["--data", str(data / "intake"), "--pki", str(pki), "--port", "0", "--json-ready"]
        async with contextlib.AsyncExitStack() as stack:
            virtual, intake, desk = await started_together(
                stack,
                started("virtual-booth", [*simulator, "--run-dir", str(data / "devices")], data),
                started("intake", ["server.cli", "serve", *server], data),
                started(
                    "desk", ["server.cli", "desk", *server, "--wait", str(READY_S)], data, {"DESK_TOTP": "optional"}
                ),
            )
            desk_user, desk_password = await _desk_user(data / "intake", pki)
            slips, staff_code = await _counter(data / "intake", pki) if options.registry else ((), None)
            config = data / "booth.toml"
            config.write_text(booth_toml(virtual.ready["toml"], data, pki, intake.ready["url"], options.profile, token))
            passphrase = make_passphrase()  # of this run: a folder that is kept gets another one each time
            await asyncio.to_thread(write_passphrase, Config.load(config).technician_file, passphrase)
            controller = await stack.enter_async_context(
                started(
                    "controller",
                    ["booth", "run", "--config", str(config), "--json-ready"],
                    data,
                    None if token is None else token.environment,
                )
            )
            yield Demo(
                data=data,
                kiosk_url=controller.ready["url"],
                intake_url=intake.ready["url"],
                desk_url=desk.ready["url"],
                desk_user=desk_user,
                desk_password=desk_password,
                passphrase=passphrase,
                sitter=Sitter(Path(virtual.ready["control"])),
                sitter_moves=options.person == MOVING_PERSON,
                trust=pki / "ca.pem",
                control=Path(virtual.ready["control"]),
                programs=(virtual, intake, desk, controller),
                slips=slips,
                staff_code=staff_code,
            )
    finally:
        if temporary:
            shutil.rmtree(data, ignore_errors=True)


async def started_together(
    stack: contextlib.AsyncExitStack, *programs: contextlib.AbstractAsyncContextManager[Program]
) -> list[Program]:
    """Start programs side by side; when one fails the others are stopped and its error is raised."""
    try:
        async with asyncio.TaskGroup() as tasks:
            starting = [tasks.create_task(stack.enter_async_context(program)) for program in programs]
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return [task.result() for task in starting]


async def _counter(data: Path, pki: Path) -> tuple[tuple[DemoSlip, ...], str]:
    from booth.demo_registry import RegistryNotFilledError, file_applications, make_staff_code

    try:
        return await asyncio.gather(file_applications(data, pki), make_staff_code(data))
    except RegistryNotFilledError as error:
        raise DemoError(f"The demo's counter could not be set up: {error}") from error


async def _desk_user(data: Path, pki: Path) -> tuple[str, str]:
    from booth.demo_registry import DESK_USER, RegistryNotFilledError, make_desk_user

    try:
        return DESK_USER, await make_desk_user(data, pki)
    except RegistryNotFilledError as error:
        raise DemoError(f"The demo's desk has no user: {error}") from error


async def _token(data: Path, pki: Path) -> DemoToken:
    from booth.demo_token import NoSoftHsmError, make_demo_token

    try:
        return await make_demo_token(data, pki, BOOTH_ID)
    except NoSoftHsmError as error:
        raise DemoError(str(error)) from error


def booth_toml(
    devices: str, data: Path, pki: Path, intake_url: str, profile: str, token: DemoToken | None = None
) -> str:
    """The controller's settings: the virtual booth's devices and the demo's own keys and addresses."""
    keys = f'signer = "file:{pki / "booth.key"}"' if token is None else token.keys_toml
    return f"""\
[booth]
id = "{BOOTH_ID}"
site = "demo-site"
centre = "demo-centre"
data_dir = "{data / "booth"}"

[profile]
name = "{profile}"

[intake]
url = "{intake_url}"
trust = "{pki / "ca.pem"}"

[keys]
{keys}
recipients = ["{pki / "desk.hpke.pub"}"]

[web]
port = 0

{devices}"""


async def run_demo(options: DemoOptions) -> int:
    """Run the demo as asked; returns the exit code: 0, or 1 when the desk did not open exactly what the booth captured."""
    from booth.demo_visit import prepare_keep
    from validation.rules import load_profile

    console = Console(stderr=options.as_json)
    loop = asyncio.get_running_loop()
    this = asyncio.current_task()
    assert this is not None
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell starts background jobs with it ignored
        loop.add_signal_handler(number, this.cancel)
    load_profile(options.profile)  # a wrong name is told before anything is started
    if options.keep is not None:
        prepare_keep(options.keep)
    with console.status("Starting the virtual booth, the intake, the desk and the controller …"):
        stack = contextlib.AsyncExitStack()
        demo = await stack.enter_async_context(running_demo(options))
    async with stack:
        if options.visit:
            return await _visit(demo, options, console)
        _tell_addresses(demo, options, console)
        await _direct(demo)
    return 0


def _tell_addresses(demo: Demo, options: DemoOptions, console: Console) -> None:
    # Plain lines: an address must never be shortened, however narrow the terminal.
    print(f"Kiosk       {demo.kiosk_url}")
    print(f"Technician  {demo.kiosk_url}technician   passphrase {demo.passphrase}")
    print(f"Desk        {demo.desk_url}   name {demo.desk_user}   password {demo.desk_password}")
    if demo.staff_code is not None:
        print(f"Staff code  {demo.staff_code}")
    print(f"Intake      {demo.intake_url}")
    print(f"Devices     {demo.control}   takes faults and other sitters: docs/virtual-booth.md", flush=True)
    console.print("Open the kiosk and touch the screen: the rendered sitter does what the screen asks.")
    console.print(
        f"[dim]Desk and intake use the demo's own certificate authority ({demo.trust}); a browser warns until it trusts it.[/dim]"
    )
    console.print("Ctrl-C stops everything.")
    if options.browser and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        webbrowser.open(demo.kiosk_url)


async def _direct(demo: Demo) -> None:
    """Let the sitter do what each screen asks, until cancelled or a program ends."""
    from booth.demo_visit import LOOK_AWAY_S, Kiosk

    still = {"sitter": "still"}
    scenes: dict[str, tuple[dict[str, Any], ...]] = {
        "attract": ({"show_code": None}, {"sitter": "absent"}),
        "language": ({"sitter": "arrive"},),
        "identify": (still,),
        "consent": ({"show_code": None}, still),
        "framing": ({"show_code": None}, {"sitter": "look_away"} if demo.sitter_moves else still),
        "thanks": ({"sitter": "absent"},),
    }
    slips = itertools.cycle(demo.slips)
    async with httpx2.AsyncClient(timeout=20.0) as client:
        kiosk = Kiosk(demo.kiosk_url, client)
        async with kiosk.open(preview=False):
            shown = ""
            while True:
                state = kiosk.state.get("state", "")
                if state == shown:
                    await kiosk.next_state()
                    continue
                shown = state
                for order in scenes.get(state, ()):
                    await demo.sitter.tell(**order)
                if state == "identify" and demo.slips:
                    await _hold_slip(demo, kiosk, next(slips))
                if state == "framing":
                    await asyncio.sleep(LOOK_AWAY_S)
                    await demo.sitter.tell(**still)


async def _hold_slip(demo: Demo, kiosk: Kiosk, slip: DemoSlip) -> None:
    """Tell the applicant's number, for whoever wants to type it; hold its code to the camera once nothing happened for `SLIP_S`."""
    print(
        f"Slip        {grouped_number(slip.number)}   type it, or a wrong one; after {SLIP_S:.0f} s its code is held to the camera",
        flush=True,
    )
    while kiosk.state.get("state") == "identify":
        seen = kiosk.state
        if await kiosk.next_state(SLIP_S) is seen:
            await demo.sitter.tell(show_code=slip.text)
            return


async def _visit(demo: Demo, options: DemoOptions, console: Console) -> int:
    from booth.demo_visit import Step, make_visit

    def tell(step: Step) -> None:
        console.print(
            f"[green]✓[/green] {step.name:22} {step.seconds:5.1f} s  {step.detail}", highlight=False, soft_wrap=True
        )

    outcome = await make_visit(demo, options.keep, tell)
    findings = Table("Rule", "Value", "Limit", "Verdict", title="Findings of the portrait")
    for finding in outcome.findings:
        limits = " … ".join("" if bound is None else f"{bound:g}" for bound in (finding["low"], finding["high"]))
        value = "-" if finding["value"] is None else f"{finding['value']:.3g} {finding['unit']}"
        findings.add_row(finding["rule"], value, limits.strip(" …") and limits, finding["verdict"])
    console.print(findings)
    for fault in outcome.faults:
        console.print(f"[red]✗ {fault}[/red]")
    if not outcome.faults:
        console.print("[green]The desk verified the packet and opened exactly what the booth captured.[/green]")
    if options.as_json:
        print(json.dumps(dataclasses.asdict(outcome), indent=2))
    return 1 if outcome.faults else 0
