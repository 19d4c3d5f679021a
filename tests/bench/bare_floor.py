"""The floor under the intake's throughput: a bare FastAPI endpoint behind the house's own listener that writes and fsyncs the body it gets.

The same uvicorn, TLS, limits and event loop as `intake serve`; no signature, digest, header, database or receipt. Prints {"ready": true, "url": …}.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

from fastapi import FastAPI, Request, Response

from crypto.heap import return_freed_memory
from server.config import IntakeSettings
from server.listener import listen
from server.metrics import Metrics


def make_floor(folder: Path) -> FastAPI:
    """The endpoint."""
    app = FastAPI(openapi_url=None)

    def keep(path: Path, body: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(body)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @app.put("/v1/packets/{name}")
    async def put(name: str, request: Request) -> Response:
        await asyncio.to_thread(keep, folder / name, await request.body())
        return Response(status_code=201)

    @app.get("/v1/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pki", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.data.mkdir(parents=True, exist_ok=True)
    return_freed_memory()
    settings = IntakeSettings.from_pki(arguments.pki, arguments.data)
    work = listen(
        make_floor(arguments.data),
        settings,
        lambda url: print(json.dumps({"ready": True, "url": url}), flush=True),
        Metrics(),
    )
    asyncio.run(work)


if __name__ == "__main__":
    main()
