"""The intake and the desk as real processes over TLS: start, stop, kill, restart, rude clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import sys
import time
from pathlib import Path

import httpx2
import pytest

from crypto.receipt import verify_receipt
from tests.desk_users import make_user
from tests.made_stores import make_store
from tests.sealed_packets import Keys, digest

START_S = 60.0
STEP_S = 15.0


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("process-keys") / "pki")


@pytest.fixture(scope="session")
def packet(keys) -> bytes:
    return keys.packet(padding=3_000_000)


class Process:
    """One started program and what it logs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.ready: dict = {}
        self.lines: list[str] = []
        self._new_line = asyncio.Condition()
        self.reading = asyncio.create_task(self._read())

    @property
    def url(self) -> str:
        return self.ready["url"]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    async def told(self, words: str) -> None:
        """Wait for a log line."""
        async with asyncio.timeout(STEP_S), self._new_line:
            await self._new_line.wait_for(lambda: words in self.log)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), STEP_S)

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            async with self._new_line:
                self.lines.append(line.decode().rstrip())
                self._new_line.notify_all()


@contextlib.asynccontextmanager
async def started(command: str, keys: Keys, data, *arguments: str, **environment: str):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "server.cli", command, "--data", str(data), "--pki", str(keys.folder), "--port", "0", "--json-ready"),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
    )
    program = Process(process)
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), START_S)
        assert line, program.log
        program.ready = json.loads(line)
        yield program
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await program.reading


def trusting(keys: Keys) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(keys.folder / "ca.pem"))


@contextlib.asynccontextmanager
async def client_of(keys: Keys):
    async with httpx2.AsyncClient(verify=trusting(keys), timeout=STEP_S) as client:
        yield client


async def put(client, keys: Keys, base: str, packet: bytes) -> httpx2.Response:
    url = f"{base}/v1/packets/{digest(packet)}"
    return await client.put(url, content=packet, headers=keys.headers("PUT", url, packet))


async def begin_upload(keys: Keys, intake: Process, packet: bytes, first: int):
    """Open a connection, send the head of an upload, and the first bytes once the intake asks for them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", intake.port, ssl=trusting(keys))
    url = f"{intake.url}/v1/packets/{digest(packet)}"
    headers = keys.headers("PUT", url, packet) | {"Host": f"127.0.0.1:{intake.port}", "Expect": "100-continue"}
    head = f"PUT /v1/packets/{digest(packet)} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items())
    writer.write(head.encode() + b"\r\n")
    assert b"100 Continue" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), STEP_S)
    writer.write(packet[:first])
    await writer.drain()
    return reader, writer


async def test_a_packet_survives_a_stop_and_a_start_with_its_receipt(keys, packet, tmp_path):
    data = tmp_path / "data"
    async with client_of(keys) as client:
        async with started("serve", keys, data) as intake:
            assert intake.ready["ready"] is True
            first = await put(client, keys, intake.url, packet)
            assert first.status_code == 201
            begun = time.monotonic()
            assert await intake.stop() == 0
            assert time.monotonic() - begun < 8  # the client's kept connection does not use up the 10 s of `stop_s`
        async with started("serve", keys, data) as intake:
            again = await put(client, keys, intake.url, packet)
            assert again.status_code == 200
            assert again.content == first.content
            assert verify_receipt(again.content, keys.trust, digest(packet)).position == 0
            assert await intake.stop(signal.SIGINT) == 0
            assert all(json.loads(line)["level"] == "info" for line in intake.lines)


async def test_a_kill_in_the_middle_of_an_upload_loses_nothing_that_was_confirmed(keys, packet, tmp_path):
    data = tmp_path / "data"
    small = keys.packet()
    async with client_of(keys) as client:
        async with started("serve", keys, data) as intake:
            confirmed = await put(client, keys, intake.url, small)
            _, writer = await begin_upload(keys, intake, packet, 2_000_000)
            assert await intake.stop(signal.SIGKILL) == -signal.SIGKILL
            writer.transport.abort()
        async with started("serve", keys, data) as intake:
            assert (await put(client, keys, intake.url, small)).content == confirmed.content
            assert (await put(client, keys, intake.url, packet)).status_code == 201


async def test_a_running_upload_is_finished_before_the_process_stops(keys, packet, tmp_path):
    data = tmp_path / "data"
    async with started("serve", keys, data) as intake:
        reader, writer = await begin_upload(keys, intake, packet, 2_000_000)
        intake.process.send_signal(signal.SIGTERM)
        await intake.told("No new connections")
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", intake.port)
        writer.write(packet[2_000_000:])
        await writer.drain()
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), STEP_S)
        assert head.startswith(b"HTTP/1.1 201")
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()
        assert await asyncio.wait_for(intake.process.wait(), STEP_S) == 0


async def test_two_processes_on_one_folder_give_one_receipt_for_copies_at_once(keys, tmp_path):
    data = tmp_path / "data"
    packet = keys.packet()
    many = {"INTAKE_MAX_UPLOADS_PER_BOOTH": "16"}
    async with (
        client_of(keys) as client,
        started("serve", keys, data, **many) as one,
        started("serve", keys, data, **many) as other,
    ):
        answers = await asyncio.gather(*(put(client, keys, (one, other)[i % 2].url, packet) for i in range(12)))
        assert sorted(a.status_code for a in answers) == [200] * 11 + [201]
        assert len({a.content for a in answers}) == 1


async def test_rude_clients_are_shown_out_and_others_served(keys, tmp_path):
    async with (
        client_of(keys) as client,
        started("serve", keys, tmp_path / "data", INTAKE_HEAD_S="0.3", INTAKE_BODY_IDLE_S="0.3") as intake,
    ):
        mute_reader, mute = await asyncio.open_connection("127.0.0.1", intake.port)  # never starts TLS
        silent_reader, silent = await asyncio.open_connection("127.0.0.1", intake.port, ssl=trusting(keys))
        slow_reader, slow = await asyncio.open_connection("127.0.0.1", intake.port, ssl=trusting(keys))
        slow.write(b"GET /v1/health HT")
        plain_reader, plain = await asyncio.open_connection("127.0.0.1", intake.port)
        plain.write(b"GET / HTTP/1.1\r\n\r\n")
        junk_reader, junk = await asyncio.open_connection("127.0.0.1", intake.port, ssl=trusting(keys))
        junk.write(b"\x00\x01\x02 this is not HTTP\r\n\r\n")
        upload_reader, upload = await begin_upload(keys, intake, keys.packet(), 100)
        assert (await client.get(f"{intake.url}/v1/health")).status_code == 200
        for reader in (mute_reader, silent_reader, slow_reader, plain_reader):
            with contextlib.suppress(OSError):
                assert b"200" not in await asyncio.wait_for(reader.read(), STEP_S)
        answer = await asyncio.wait_for(junk_reader.read(), STEP_S)
        assert b"400 Bad Request" in answer
        assert b"request.malformed" in answer
        timed_out = await asyncio.wait_for(upload_reader.readuntil(b"}"), STEP_S)
        assert b"408" in timed_out
        assert b"request.slow" in timed_out
        for writer in (mute, silent, slow, plain, junk, upload):
            writer.transport.abort()
        assert (await client.get(f"{intake.url}/v1/ready")).status_code == 200
        assert await intake.stop() == 0


async def test_who_holds_connections_keeps_himself_out_and_nobody_else(keys, tmp_path):
    async with (
        client_of(keys) as client,
        started("serve", keys, tmp_path / "data", INTAKE_MAX_PER_ADDRESS="3", INTAKE_HEAD_S="60") as intake,
    ):
        held = [await asyncio.open_connection("127.0.0.1", intake.port, local_addr=("127.0.0.2", 0)) for _ in range(5)]
        for reader, _ in held[3:]:
            with contextlib.suppress(OSError):
                assert await asyncio.wait_for(reader.read(), STEP_S) == b""
        await intake.told("there are too many")
        assert (await client.get(f"{intake.url}/v1/health")).status_code == 200
        for _, writer in held:
            writer.transport.abort()
        assert await intake.stop() == 0


async def test_the_desk_leaves_no_core_dump(keys, tmp_path):
    make_store(tmp_path / "data")
    async with started("desk", keys, tmp_path / "data") as desk:
        limits = await asyncio.to_thread(Path(f"/proc/{desk.process.pid}/limits").read_text)
        assert next(line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core")) == ["0", "0"]
        assert await desk.stop() == 0


async def test_a_process_without_dumps_says_so_to_the_system():
    program = (
        "import ctypes, resource; from server.memory import forbid_dumps; forbid_dumps();"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3))"  # PR_GET_DUMPABLE
    )
    asked = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    answer, _ = await asyncio.wait_for(asked.communicate(), START_S)
    assert answer.decode().strip() == "(0, 0) 0"


async def test_old_tls_is_not_spoken(keys, tmp_path):
    async with started("serve", keys, tmp_path / "data") as intake:
        old = trusting(keys)
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, OSError)):
            await asyncio.open_connection("127.0.0.1", intake.port, ssl=old)


async def run_to_end(*arguments: str, **environment: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "server.cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
    )
    _, errors = await asyncio.wait_for(process.communicate(), START_S)
    assert process.returncode is not None
    return process.returncode, errors.decode()


async def test_what_prevents_a_start_is_one_sentence(keys, tmp_path):
    data, pki = ["--data", str(tmp_path / "data")], ["--pki", str(keys.folder)]
    (tmp_path / "empty").mkdir()
    code, errors = await run_to_end("serve", *data, "--pki", str(tmp_path / "empty"))
    assert (code, errors.count("\n")) == (2, 1)
    assert "intake pki init" in errors
    (tmp_path / "file").write_text("")
    code, errors = await run_to_end("serve", "--data", str(tmp_path / "file"), *pki)
    assert (code, errors.count("\n")) == (2, 1)
    code, errors = await run_to_end("desk", *data, *pki)
    assert (code, errors.count("\n")) == (2, 1)
    assert "intake serve --data" in errors
    assert not (tmp_path / "data").exists()
    async with started("serve", keys, tmp_path / "data") as intake:
        code, errors = await run_to_end("serve", *data, *pki, "--port", str(intake.port))
        assert (code, errors.count("\n")) == (2, 1)
        assert "another program" in errors


async def test_the_desk_shows_what_the_intake_took_to_who_signs_in(keys, tmp_path):
    data = tmp_path / "data"
    packet = keys.packet()
    ready_file = tmp_path / "ready.json"
    async with (
        client_of(keys) as client,
        started("serve", keys, data) as intake,
        started("desk", keys, data, "--wait", "30", "--ready-file", str(ready_file), DESK_TOTP="optional") as desk,
    ):
        made = make_user(keys.folder, data)
        assert set(desk.ready) == {"ready", "url"}
        assert json.loads(ready_file.read_text()) == desk.ready
        assert ready_file.stat().st_mode & 0o777 == 0o600
        await put(client, keys, intake.url, packet)
        page = await client.get(f"{desk.url}/login")
        token = page.text.partition('name="csrf_token" value="')[2].partition('"')[0]
        form = {"name": made.user.name, "password": made.password, "csrf_token": token}
        answer = await client.post(f"{desk.url}/login", data=form, headers={"Origin": desk.url})
        assert answer.status_code == 303
        listed = (await client.get(f"{desk.url}/api/packets")).json()["packets"]
        assert [p["sha256"] for p in listed] == [digest(packet)]
        assert (await client.get(f"{desk.url}/packets/{digest(packet)}")).status_code == 200
        assert await desk.stop() == 0
        assert made.password not in desk.log
        assert made.user.name not in desk.log
        assert digest(packet) not in desk.log
        assert "A1234567" not in desk.log + intake.log
