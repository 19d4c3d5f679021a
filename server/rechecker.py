"""Second opinions for the desk: one checker process for each portrait, bounded in time, its answers kept no longer than the opened packet.

Order of operation: the answer that is kept -> a place in the line (MOST_WAITING) -> a checker that has said "ready" (a spare one waits after the first use, for SPARE_S) ->
question, answer within `limit_s` -> the process is killed, whatever it said -> the answer is read as hostile and held against the booth's report. The desk never decodes a picture
and never waits for a checker with anything else than the request that asked for it.

A picture that ends its checker or takes too long gets that as its answer, kept like any other: asking again would only do it again. What is the desk's own trouble (no libraries, no
memory, too many waiting) is not kept. An answer lives exactly as long as the opened packet (server/opening.py): it is found by a weak reference to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import weakref
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

from server.errors import DeskError, SettingsError
from server.opening import PacketContent
from server.recheck import ChipOpinion, SecondOpinion, compare
from server.recheck_errors import (
    RecheckBusyError,
    RecheckEndedError,
    RecheckForeignProfileError,
    RecheckNothingError,
    RecheckPictureError,
    RecheckProfileError,
    RecheckTimeoutError,
    RecheckUnavailableError,
)
from server.recheck_wire import MOST_PIXELS, MOST_TOLD_BYTES, PORTRAITS, TOLD, asked
from server.records import clean_number, clean_text, read_report
from validation.profile import profile_names

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-I", "-B", "-m", "server.recheck_child")
# A checker starts in 1.2 s and judges in 0.6 s on a core of its own; ten officers at once on two cores still stay below these.
START_S, JUDGE_S = 60.0, 20.0
MOST_WAITING = 16
# The next page is opened within minutes or not at all; a spare checker holds 150 MB.
SPARE_S = 300.0
# Nothing of the desk's own environment goes along: it may name keys and passwords.
ENVIRONMENT: Mapping[str, str] = {
    "PATH": os.defpath,
    "LANG": "C.UTF-8",
    "HOME": "/nonexistent",
    "OPENCV_IO_MAX_IMAGE_PIXELS": str(MOST_PIXELS),
    "GLOG_minloglevel": "3",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
# A checker that was ready has what it needs: whatever goes wrong then is the picture's doing, and never the desk's own trouble.
ERRORS: Mapping[str, type[DeskError]] = {error.code: error for error in (RecheckProfileError, RecheckPictureError)}


class Checker:
    """One process: ready, asked once, ended."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ready(self) -> bool:
        """Waits until it can be asked; whether it is shut in. Raises `RecheckUnavailableError`."""
        try:
            async with asyncio.timeout(START_S):
                said = await self._said()
        except (TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            raise RecheckUnavailableError("The checker did not start at this desk.") from error
        if said.get("ready") is not True:
            log.error("The checker does not start.", extra={"why": clean_text(said.get("why"))})
            raise RecheckUnavailableError("The checker did not start at this desk.")
        return said.get("confined") is True

    async def ask(self, question: bytes, limit_s: float) -> dict[str, Any]:
        """Its answer. Raises `RecheckEndedError`, `RecheckTimeoutError`."""
        pipe = self._process.stdin
        assert pipe is not None
        try:
            async with asyncio.timeout(limit_s):
                pipe.write(question)
                await pipe.drain()
                return await self._said()
        except TimeoutError as error:
            raise RecheckTimeoutError(f"The checker was ended after {limit_s:.0f} s over this portrait.") from error
        except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
            raise RecheckEndedError("The checker ended while it judged this portrait.") from error

    async def _said(self) -> dict[str, Any]:
        pipe = self._process.stdout
        assert pipe is not None
        (size,) = TOLD.unpack(await pipe.readexactly(TOLD.size))
        if size > MOST_TOLD_BYTES:
            raise ValueError("an answer that no checker gives")
        said = json.loads(await pipe.readexactly(size))
        if not isinstance(said, dict):
            raise ValueError("an answer that is no object")  # noqa: TRY004 (handled with the other senseless answers)
        return said

    @property
    def alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process.returncode is None

    async def end(self) -> None:
        """Kills it and what it may have started, and waits until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        # Closes the pipes without reading them to their end, which something else may hold open.
        self._process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 (asyncio has no public way)
        await self._process.wait()


async def start_checker(command: Sequence[str] = COMMAND) -> Checker:
    """A new process; `ready` tells when it can be asked. Raises `RecheckUnavailableError`."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=dict(ENVIRONMENT),
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise RecheckUnavailableError("The checker did not start at this desk.") from error
    return Checker(process)


class Rechecker:
    """Gives second opinions. Use `open_rechecker`."""

    def __init__(
        self,
        limit_s: float = JUDGE_S,
        command: Sequence[str] = COMMAND,
        spare_s: float = SPARE_S,
        profiles: Collection[str] = (),
    ) -> None:
        self._limit_s, self._command, self._spare_s = limit_s, tuple(command), spare_s
        self._profiles = frozenset(profiles)  # of this office's booths; empty: all that are installed
        self._kept: dict[str, tuple[weakref.ref[PacketContent], SecondOpinion | DeskError]] = {}
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._spare: Checker | None = None
        self._let_go: asyncio.Task[None] | None = None
        self._told_unconfined = self._closed = False

    def kept(self, content: PacketContent) -> SecondOpinion | None:
        """The opinion when there is one in memory; None otherwise."""
        found = self._find(content)
        return found if isinstance(found, SecondOpinion) else None

    async def opinion(self, content: PacketContent) -> SecondOpinion:
        """What this desk's own check says of a packet's portrait. Raises the errors of server/recheck_errors.py."""
        found = self._find(content)
        if found is None:
            if self._waiting >= MOST_WAITING:
                raise RecheckBusyError("Too many portraits wait for a second opinion.", retry_after_s=5)
            self._waiting += 1
            try:
                async with self._turn:
                    found = self._find(content) or await self._judge(content)
            finally:
                self._waiting -= 1
        if isinstance(found, DeskError):
            raise type(found)(str(found))
        return found

    async def close(self) -> None:
        """Ends the spare checker; one that judges is ended by who waits for it."""
        self._closed = True
        if self._let_go is not None:
            self._let_go.cancel()
            await asyncio.gather(self._let_go, return_exceptions=True)
            self._let_go = None
        await self._end_spare()

    def _find(self, content: PacketContent) -> SecondOpinion | DeskError | None:
        found = self._kept.get(content.stored.sha256)
        return found[1] if found is not None and found[0]() is content else None

    def _keep(self, content: PacketContent, answer: SecondOpinion | DeskError) -> None:
        sha256 = content.stored.sha256

        def gone(reference: weakref.ref[PacketContent]) -> None:
            found = self._kept.get(sha256)
            if found is not None and found[0] is reference:
                del self._kept[sha256]

        self._kept[sha256] = weakref.ref(content, gone), answer

    async def _judge(self, content: PacketContent) -> SecondOpinion:
        report, name = content.report, portrait_name(content)
        if report is None or name is None:
            raise RecheckNothingError("The packet holds no portrait with a report to judge again.")
        if self._profiles and report.profile not in self._profiles:
            raise RecheckForeignProfileError("The report names a profile that is none of this office's.")
        judged = "crop" if report.judged == "crop" else "as_submitted"
        words = {"profile": report.profile, "judged": judged, "format": PORTRAITS[name]}
        question = asked(words, content.opened.parts[name], content.opened.parts.get("chip.jp2", b""))
        checker = await self._checker()
        try:
            answer = await checker.ask(question, self._limit_s)
            opinion = _opinion(content, answer)
        except RecheckUnavailableError:
            raise
        except DeskError as error:
            log.warning(
                "A portrait has no second opinion.",
                extra={"packet": content.stored.sha256[:16], "booth": content.stored.booth, "code": error.code},
            )
            self._keep(content, error)
            raise
        finally:
            await checker.end()
            await self._start_spare()
        self._keep(content, opinion)
        return opinion

    async def _checker(self) -> Checker:
        if self._let_go is not None:
            self._let_go.cancel()
            self._let_go = None
        spare, self._spare = self._spare, None
        if spare is not None and not spare.alive:
            await spare.end()
            spare = None
        checker = spare or await start_checker(self._command)
        try:
            confined = await checker.ready()
        except BaseException:
            await checker.end()
            raise
        if not confined and not self._told_unconfined:
            self._told_unconfined = True
            log.warning("This machine has no Landlock: the checker runs with the desk's own view of files.")
        return checker

    async def _start_spare(self) -> None:
        """The next checker loads its models while the answer is read."""
        if self._spare_s <= 0 or self._closed:
            return
        with contextlib.suppress(RecheckUnavailableError):
            self._spare = await start_checker(self._command)
            self._let_go = asyncio.create_task(self._end_spare_later(), name="desk-checker")

    async def _end_spare_later(self) -> None:
        await asyncio.sleep(self._spare_s)
        await self._end_spare()

    async def _end_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            await spare.end()


def portrait_name(content: PacketContent) -> str | None:
    """Which part the portrait is; None when the packet has none."""
    return next((name for name in PORTRAITS if name in content.opened.parts), None)


def _opinion(content: PacketContent, answer: Mapping[str, Any]) -> SecondOpinion:
    """A checker's answer in the form that the pages show. Raises what it says went wrong."""
    said = answer.get("error")
    if said is not None:
        kind = ERRORS.get(said, RecheckEndedError) if isinstance(said, str) else RecheckEndedError
        raise kind(f"{kind.title}.")
    desk = read_report(json.dumps(answer.get("report")).encode())
    if desk is None or content.report is None:
        raise RecheckEndedError("The checker's answer is no report.")
    chip = answer.get("chip")
    seen = None
    if isinstance(chip, Mapping):
        seen = ChipOpinion(clean_number(chip.get("ssim")), clean_text(chip.get("error")))
    return compare(content.report, desk, seen)


@contextlib.asynccontextmanager
async def open_rechecker(
    limit_s: float = JUDGE_S,
    command: Sequence[str] = COMMAND,
    spare_s: float = SPARE_S,
    profiles: Collection[str] = (),
) -> AsyncIterator[Rechecker]:
    """A rechecker; its processes end with it. Raises `SettingsError` for a profile that is not installed."""
    unknown = sorted(set(profiles) - set(profile_names()))
    if unknown:
        raise SettingsError(
            f"DESK_PROFILES names {', '.join(unknown)}; the installed profiles are {', '.join(profile_names())}."
        )
    rechecker = Rechecker(limit_s, command, spare_s, profiles)
    try:
        yield rechecker
    finally:
        await rechecker.close()
