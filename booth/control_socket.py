"""The line between `booth diagnose` and a running booth: the Unix socket `control.sock` in data_dir, one JSON object per line.

Asks (`{"ask":"…"}`): state | tests (ids, attended) | calibrate (baseline) | proceed | cancel | switch_off (reason) | switch_on | history (check, days) | trends | bundle. Answers: `{"state":…}`
whenever it changes while tests or a calibration run that this line began, then `{"done":true}`; `{"points":…}`, `{"trends":…}`, `{"bundle":…}` (base64); `{"error":{"code","message"}}`.
Meanwhile the line takes proceed and cancel; when it ends, what it began ends with it, and the lamps get back their levels.

Rules: 0600, and the peer must be this process's user or root (SO_PEERCRED). Lines are bounded, the first one comes within FIRST_LINE_S, a reader that
takes nothing for WRITE_S is dropped, at most MAX_LINES lines at a time. What cannot be read is answered once with its reason and ends the line; nothing that a peer
sends is logged. Whoever opens the socket removes an older one: the outbox's lock stands for one controller per data_dir.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from booth.errors import BoothError, ControlSocketError, MaintenanceRefusedError
from booth.faults import UNKNOWN_CODE, fault_of
from booth.maintenance import Maintenance, MaintenanceState, OutReason

log = logging.getLogger(__name__)

NAME = "control.sock"
MAX_LINE_BYTES = 4_096
FIRST_LINE_S, WRITE_S = 5.0, 10.0
MAX_LINES = 8
DISCARD_S = 0.2
# A visit's end shows for two seconds that everything was cleared (booth/visit.py, CLEARED_SHOWN_S), and so does the end of a technician's work.
CLEARING_TRIES, CLEARING_TRY_S = 20, 0.25
# A bundle in base64; bigger ones are not made (booth/support_bundle.py).
MAX_ANSWER_BYTES = 64 * 1024 * 1024
# sun_path of sockaddr_un holds 108 bytes with its end (unix(7)).
MAX_PATH_BYTES = 100
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid (unix(7), struct ucred)

CheckId = Annotated[str, Field(max_length=64)]


class _Ask(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AskPlain(_Ask):
    """Asks without more."""

    ask: Literal["state", "proceed", "cancel", "switch_on", "trends", "bundle"]


class AskTests(_Ask):
    """Begins self-tests and follows them."""

    ask: Literal["tests"] = "tests"
    ids: tuple[CheckId, ...] | None = None
    attended: bool = False


class AskCalibrate(_Ask):
    """Begins a calibration and follows it."""

    ask: Literal["calibrate"] = "calibrate"
    baseline: bool = False


class AskOff(_Ask):
    """Takes the booth out of service."""

    ask: Literal["switch_off"] = "switch_off"
    reason: OutReason


class AskHistory(_Ask):
    """The points of a check."""

    ask: Literal["history"] = "history"
    check: CheckId
    days: Annotated[float, Field(gt=0, le=90)] = 90.0


Ask = Annotated[AskPlain | AskTests | AskCalibrate | AskOff | AskHistory, Field(discriminator="ask")]
_ASKS: TypeAdapter[Ask] = TypeAdapter(Ask)


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """An address for this path that fits into a socket's name, however deep the folder is."""
    if len(os.fsencode(path)) <= MAX_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class ControlSocket:
    """The running booth's side; made by `open_control_socket`."""

    def __init__(self, maintenance: Maintenance) -> None:
        self._maintenance = maintenance
        self._lines: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A new line."""
        task = asyncio.create_task(self._serve(reader, writer), name="control line")
        self._lines.add(task)
        task.add_done_callback(self._lines.discard)

    async def close(self) -> None:
        """Ends every line."""
        for task in tuple(self._lines):
            task.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
            writer.close()
            async with asyncio.timeout(WRITE_S):
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            log.info("control socket: a line was dropped")
        finally:
            writer.transport.abort()  # what a deaf peer did not take is not waited for

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not _is_ours(writer):
            log.warning("control socket: a user who is neither ours nor root was refused")
            return
        if len(self._lines) > MAX_LINES:
            await _say(writer, _refusal(MaintenanceRefusedError("Too many are asking at once: try again.")))
            return
        try:
            async with asyncio.timeout(FIRST_LINE_S):
                line = await reader.readline()
            if line:
                await self._follow(_read_ask(line), reader, writer)
        except ControlSocketError as error:
            await _say(writer, _refusal(error))
        except ValueError:  # asyncio's word for a line that is too long
            await _say(writer, _refusal(ControlSocketError("The line is too long.")))
            # Closed over bytes that nobody read, the line would end in a reset, and the peer might never see the answer.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DISCARD_S):
                    while await reader.read(MAX_LINE_BYTES):
                        pass

    async def _follow(self, ask: Ask, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(ask, AskTests | AskCalibrate):
                await self._work(ask, reader, writer)
                return
            answer = await self._answer(ask)
        except BoothError as error:
            answer = _refusal(error)
        except OSError as error:
            answer = _refusal(MaintenanceRefusedError(f"The disk refused ({error.strerror}); nothing was changed."))
        await _say(writer, answer)

    async def _answer(self, ask: Ask) -> dict[str, object]:
        work = self._maintenance
        match ask:
            case AskOff(reason=reason):
                work.switch_off(reason)
            case AskHistory(check=check, days=days):
                points = await work.history(check, days)
                return {"points": [point.model_dump() for point in points]}
            case AskPlain(ask="switch_on"):
                work.switch_on()
            case AskPlain(ask="proceed"):
                work.proceed()
            case AskPlain(ask="cancel"):
                work.cancel()
            case AskPlain(ask="trends"):
                return {"trends": [trend.model_dump() for trend in await work.trends()]}
            case AskPlain(ask="bundle"):
                return {"bundle": base64.b64encode(await work.bundle()).decode()}
            case _:
                pass
        return _state(work.state)

    async def _work(
        self, ask: AskTests | AskCalibrate, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Tests or a calibration for this line; they end with it."""
        work = self._maintenance
        await self._begin(ask)
        begun, turn = work.state.busy, work.turn
        listening = asyncio.create_task(self._listen(reader, turn), name="control line listens")
        try:
            async with work.subscribe() as states:
                async for state in states:
                    await _say(writer, _state(state))
                    if state.busy != begun or work.turn != turn:
                        break
            await _say(writer, {"done": True})
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            if work.turn == turn:
                work.cancel()

    async def _begin(self, ask: AskTests | AskCalibrate) -> None:
        """Begins the work; a booth that is clearing is waited for."""
        for tries_left in reversed(range(CLEARING_TRIES)):
            try:
                if isinstance(ask, AskCalibrate):
                    self._maintenance.start_calibration(baseline=ask.baseline, occasion="command")
                else:
                    self._maintenance.start_tests(ask.ids, attended=ask.attended, occasion="command")
            except MaintenanceRefusedError as error:
                if not error.soon or not tries_left:
                    raise
                await asyncio.sleep(CLEARING_TRY_S)
            else:
                return

    async def _listen(self, reader: asyncio.StreamReader, turn: int) -> None:
        """What the line says meanwhile; its end is the work's, and no other's that was begun since."""
        try:
            while line := await reader.readline():
                ask = _read_ask(line)
                if self._maintenance.turn != turn:
                    return
                if ask == AskPlain(ask="proceed"):
                    with contextlib.suppress(MaintenanceRefusedError):  # said twice, or too early: nothing waits
                        self._maintenance.proceed()
                else:
                    break
        except (BoothError, ValueError, OSError):
            log.info("control socket: a line that cannot be read ended its work")
        if self._maintenance.turn == turn:
            self._maintenance.cancel()


def _read_ask(line: bytes) -> Ask:
    """Raises ControlSocketError, without what was sent."""
    try:
        return _ASKS.validate_json(line)
    except ValidationError as error:
        raise ControlSocketError(
            f"The line is no question that this booth knows ({error.error_count()} errors): is `booth diagnose` of the same version?"
        ) from None


def _is_ours(writer: asyncio.StreamWriter) -> bool:
    return _peer_uid(writer.get_extra_info("socket")) in {0, os.getuid()}


def _peer_uid(line: socket.socket) -> int:
    _pid, uid, _gid = _CREDENTIALS.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(uid)


def _state(state: MaintenanceState) -> dict[str, object]:
    return {"state": state.model_dump(mode="json")}


def _refusal(error: BoothError) -> dict[str, object]:
    fault = fault_of(error)
    return {"error": {"code": fault.code, "message": fault.detail if fault.code == UNKNOWN_CODE else str(error)}}


async def _say(writer: asyncio.StreamWriter, answer: dict[str, object]) -> None:
    writer.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
    async with asyncio.timeout(WRITE_S):
        await writer.drain()


@asynccontextmanager
async def open_control_socket(folder: Path, maintenance: Maintenance) -> AsyncIterator[Path]:
    """The socket in this folder, until the end; raises OSError."""
    path = folder / NAME
    path.unlink(missing_ok=True)
    control = ControlSocket(maintenance)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        with reachable(path) as address:
            listening.bind(address)
        path.chmod(0o600)
        server = await asyncio.start_unix_server(
            control.accept, sock=listening, limit=MAX_LINE_BYTES, backlog=MAX_LINES
        )
        try:
            yield path
        finally:
            server.close()
            await control.close()
            await server.wait_closed()
            path.unlink(missing_ok=True)


class ControlLine:
    """The command's side: one ask and its answers; made by `open_control_line`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def say(self, ask: Ask) -> None:
        """Sends a line. Raises ControlSocketError."""
        try:
            self._writer.write(ask.model_dump_json().encode() + b"\n")
            await self._writer.drain()
        except OSError as error:
            raise ControlSocketError(f"The running booth hung up: {error.strerror}.") from error

    async def answers(self) -> AsyncIterator[dict[str, object]]:
        """Every answer until the booth ends the line. Raises ControlSocketError, and MaintenanceRefusedError for what the booth refuses."""
        while True:
            try:
                line = await self._reader.readline()
                answer = json.loads(line) if line else None
            except (OSError, ValueError) as error:
                raise ControlSocketError("The running booth's answer cannot be read.") from error
            if answer is None:
                return
            if not isinstance(answer, dict):
                raise ControlSocketError("The running booth's answer is none.")
            refused = answer.get("error")
            if isinstance(refused, dict):
                raise MaintenanceRefusedError(str(refused.get("message", "The running booth refused.")))
            yield answer

    async def answer(self, ask: Ask) -> dict[str, object]:
        """The one answer to an ask."""
        await self.say(ask)
        async for answer in self.answers():
            return answer
        raise ControlSocketError("The running booth hung up without an answer.")


@asynccontextmanager
async def open_control_line(folder: Path) -> AsyncIterator[ControlLine | None]:
    """A line to the running booth of this folder; None when none runs. Raises ControlSocketError."""
    try:
        with reachable(folder / NAME) as address:
            reader, writer = await asyncio.open_unix_connection(address, limit=MAX_ANSWER_BYTES)
    except (FileNotFoundError, ConnectionRefusedError):
        yield None
        return
    except PermissionError as error:
        raise ControlSocketError(
            "A booth runs, and belongs to another user: run this command as that user or as root."
        ) from error
    except OSError as error:
        raise ControlSocketError(f"The running booth cannot be asked: {error.strerror}.") from error
    try:
        yield ControlLine(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
