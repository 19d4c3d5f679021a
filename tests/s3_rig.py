"""A real HTTP S3 server for tests (moto's, a process of its own): one for the session, a prefix of its own for each test. Skipped nowhere.

`FaultyS3` stands in front of it and answers, delays or cuts what a test wants to go wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import subprocess
import sys
from collections.abc import Awaitable, Callable

import obstore
import pytest
from obstore.store import S3Store

BUCKET = "passbooth-tests"
# Ends with the tests that started it, however they end. One request at a time: moto answers 500 when two write one key.
SERVER = """
import logging, os, sys, threading
logging.disable()
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
app, alone = DomainDispatcherApplication(create_backend_app), threading.Lock()
def answer(environ, start_response):
    with alone:
        return list(app(environ, start_response))
server = make_server("127.0.0.1", 0, answer, threaded=True, request_handler=MotoRequestHandler)
print(server.port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
os._exit(0)
"""


@contextlib.contextmanager
def running_server():
    """The address of a server with an empty bucket."""
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            port = int(server.stdout.readline())
            endpoint = f"http://127.0.0.1:{port}"
            make_bucket(endpoint, BUCKET)
            yield endpoint
        finally:
            server.stdin.close()
            server.wait(10)


@pytest.fixture(scope="session")
def s3_endpoint():
    """The address of a server with an empty bucket."""
    with running_server() as endpoint:
        yield endpoint


def make_bucket(endpoint: str, name: str, *, versioned: bool = False) -> None:
    """boto3's client is moto's own dependency."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="tests", aws_secret_access_key="tests"
    )
    client.create_bucket(Bucket=name)
    if versioned:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    client.close()
    # obstore's own threads and their descriptors last as long as the process.
    obstore.put(_client(endpoint, name, ""), "warm", b"")


def _client(endpoint: str, bucket: str, prefix: str) -> S3Store:
    key = {"access_key_id": "tests", "secret_access_key": "tests", "region": "us-east-1"}
    return S3Store(bucket, prefix=prefix or None, endpoint=endpoint, client_options={"allow_http": True}, config=key)


class S3Place:
    """A prefix in the bucket, as settings and looked at from outside."""

    def __init__(self, endpoint: str, bucket: str = BUCKET) -> None:
        self.prefix = secrets.token_hex(8)
        self.settings: dict[str, object] = {
            "objects_url": f"s3://{bucket}/{self.prefix}",
            "s3_endpoint": endpoint,
            "s3_access_key_id": "tests",
            "s3_secret_key": "tests",
            "s3_timeout_s": 20.0,
        }
        self._client = _client(endpoint, bucket, self.prefix)

    def names(self, folder: str | None = None) -> list[str]:
        """Everything that lies there, by name."""
        return sorted(one["path"] for chunk in obstore.list(self._client, folder) for one in chunk)

    def put(self, key: str, data: bytes) -> None:
        obstore.put(self._client, key, data)

    def get(self, key: str) -> bytes:
        return bytes(obstore.get(self._client, key).bytes())

    def delete(self, key: str) -> None:
        obstore.delete(self._client, key)


@pytest.fixture
def s3_place(s3_endpoint) -> S3Place:
    """A place of the test's own; no intake has made it yet."""
    return S3Place(s3_endpoint)


# What a request meets: nothing (None), or its own answer; `forward` gives the server's.
Fault = Callable[[str, str, Callable[[], Awaitable[bytes]]], Awaitable[bytes | None]]
ERROR_500 = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class FaultyS3:
    """A door in front of the server, one request per connection. `fault` sees each: method, path, and how to get the true answer.

    It returns the bytes that the client gets: b"" closes the connection.
    """

    def __init__(self, endpoint: str) -> None:
        self._port = int(endpoint.rpartition(":")[2])
        self.asked: list[tuple[str, str]] = []
        self.heads: list[dict[str, str]] = []
        self.fault: Fault | None = None
        self.endpoint = ""
        self._serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it is answered or the door closes."""
        task = asyncio.current_task()
        self._serving.add(task)
        try:
            await self._answer(reader, writer)
        finally:
            writer.close()
            self._serving.discard(task)

    async def close(self) -> None:
        """End the connections that are still there."""
        for task in (serving := list(self._serving)):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            method, path, _ = lines[0].split(" ")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            body = await reader.readexactly(int(fields.get("content-length", "0")))
            self.asked.append((method, path))
            self.heads.append(fields)

            async def forward() -> bytes:
                kept = "\r\n".join(line for line in lines if not line.lower().startswith("connection:"))
                once = kept.replace("\r\n", "\r\nConnection: close\r\n", 1)
                there, back = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    back.write(once.encode("latin-1") + body)
                    return await there.read()
                finally:
                    back.close()
                    await back.wait_closed()

            answer = await (self.fault(method, path, forward) if self.fault is not None else forward())
            if answer is None:
                answer = await forward()
            writer.write(answer)
            await writer.drain()


@contextlib.asynccontextmanager
async def faulty_s3(endpoint: str):
    """A `FaultyS3` in front of the server; without a fault it changes nothing."""
    door = FaultyS3(endpoint)
    server = await asyncio.start_server(door.serve, "127.0.0.1", 0)
    door.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield door
    finally:
        server.close()
        await door.close()
        await server.wait_closed()
