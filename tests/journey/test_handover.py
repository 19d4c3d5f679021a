"""From a booth's upload over an officer's acceptance to the producer's files and his answer: real intake, desk and reference consumer, over TLS.

And a desk that is killed at any step of an acceptance: there is never an order without its message, half a decision, or a packet that cannot be accepted.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import ssl
import stat
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from crypto.handover import PACKET_PART
from crypto.keys import generate_recipient_key
from crypto.seal import verify
from server.application_rows import Links, captures, note_captures
from server.applications import Outcome
from server.cli import app
from server.handover_rows import decisions, order_counter
from server.log_audit import audit_log
from server.log_command import checks_for
from server.users import NewSecrets
from tests.desk_rig import parts
from tests.desk_users import make_user
from tests.handover_rig import opened_counter
from tests.sealed_packets import APPLICANT, Keys, digest

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLE = PROJECT / "docs" / "examples" / "producer.py"
START_S = 90
STOP_S = 60


@contextmanager
def served(folder: Path, *words: str):
    """A program that serves, at a free port, until the end of the block; yields its ready line's reader and its process."""
    with (folder / f"{words[0]}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "server.cli", *words, "--port", "0", "--json-ready"],
            cwd=PROJECT,
            env=os.environ | {"DESK_TOTP": "optional"},
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout is not None
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(STOP_S)
        process.stdout.close()


def url_of(process: subprocess.Popen) -> str:
    line = process.stdout.readline()
    assert line, "the program did not start: see its log"
    return json.loads(line)["url"]


class Officer:
    """A browser at the desk."""

    def __init__(self, url: str, tls: ssl.SSLContext, made: NewSecrets) -> None:
        self.client = httpx2.Client(verify=tls, base_url=url, timeout=START_S, trust_env=False)
        self.post("/login", self.client.get("/login"), name=made.user.name, password=made.password)

    def post(self, path: str, page: httpx2.Response, **fields: str) -> None:
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert token is not None, page.text
        answer = self.client.post(path, data=fields | {"csrf_token": token[1]})
        assert answer.status_code == 303, answer.text

    def accept(self, sha256: str) -> None:
        path = f"/packets/{sha256}/accept"
        self.post(path, self.client.get(path), producer="producer-development")


class Producer:
    """The reference consumer, with a folder of its own."""

    def __init__(self, keys: Keys, url: str, folder: Path) -> None:
        self.keys, self.url, self.folder = keys, url, folder

    def runs(self, key: Path | None = None) -> str:
        pki = self.keys.folder
        words = ["--intake", self.url, "--signer", f"file:{pki / 'producer.key'}", "--folder", str(self.folder)]
        words += ["--key", str(key or pki / "producer.hpke"), "--once"]
        for name in ("--tls-ca", "--desks", "--booths"):
            words += [name, str(pki / "ca.pem")]
        for name in ("--desks-crl", "--booths-crl"):
            words += [name, str(pki / "ca.crl")]
        done = subprocess.run(
            [sys.executable, str(EXAMPLE), *words],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("handover") / "pki")


def test_a_packet_goes_from_the_booth_over_the_officer_to_the_producer(keys, tmp_path):
    data = tmp_path / "data"
    tls = ssl.create_default_context(cafile=keys.folder / "ca.pem")
    places = ("--data", str(data), "--pki", str(keys.folder))
    with ExitStack() as stack:
        intake = stack.enter_context(served(tmp_path, "serve", *places))
        desk = stack.enter_context(served(tmp_path, "desk", *places, "--wait", str(START_S)))
        url = url_of(intake)
        # Of a profile that this desk does not have, so that its own check of a drawn face says nothing.
        packets = [keys.packet(parts(profile="elsewhere")) for _ in range(2)]
        with httpx2.Client(verify=tls, timeout=START_S, trust_env=False) as booth:
            for packet in packets:
                target = f"{url}/v1/packets/{digest(packet)}"
                sent = booth.put(target, content=packet, headers=keys.headers("PUT", target, packet))
                assert sent.status_code == 201, sent.text
        officer = Officer(url_of(desk), tls, make_user(keys.folder, data))
        stack.callback(officer.client.close)
        producer = Producer(keys, url, tmp_path / "producer")

        officer.accept(digest(packets[0]))
        assert "accepted" in producer.runs()
        assert "Accepted by the producer" in officer.client.get(f"/packets/{digest(packets[0])}").text
        (kept,) = (path for path in producer.folder.iterdir() if path.is_dir())
        assert verify((kept / PACKET_PART).read_bytes(), keys.trust)
        assert (kept / "parts" / "portrait.jpg").read_bytes() == APPLICANT.read_bytes()
        for path in producer.folder.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        cursor = json.loads((producer.folder / "cursor").read_text())["cursor"]

        # The second one meets a producer with the wrong key: rejected, sent anew by the officer, accepted.
        wrong = tmp_path / "wrong.hpke"
        wrong.touch(0o600)
        wrong.write_bytes(generate_recipient_key().to_pem())
        officer.accept(digest(packets[1]))
        assert "rejected, unreadable" in producer.runs(wrong)
        page = officer.client.get("/handover")
        assert "Rejected by the producer: could not be opened" in page.text
        resend = re.search(r'action="(/handover/[0-9a-f]{32}/resend)"', page.text)
        assert resend is not None
        officer.post(resend[1], page)
        assert "accepted" in producer.runs()
        assert json.loads((producer.folder / "cursor").read_text())["cursor"] == cursor + 2
        assert len([path for path in producer.folder.iterdir() if path.is_dir()]) == 2
        sound = CliRunner().invoke(app, ["log", "verify", *places])
        assert sound.exit_code == 0, sound.output
    assert (intake.returncode, desk.returncode) == (0, 0)
    told = (tmp_path / "serve.log").read_text() + (tmp_path / "desk.log").read_text()
    assert "A1234567" not in told
    assert "Traceback" not in told


async def test_a_desk_that_dies_at_any_step_of_an_acceptance_leaves_nothing_wrong(keys, tmp_path):
    async with opened_counter(keys, tmp_path / "data") as counter:
        stored, store = await counter.receive(), counter.intake.rooms.store
        async with store.writing() as connection:
            await note_captures(connection, [(stored.sha256, Links(status="5" * 64))], counter.clock)

        async def is_accepted() -> bool:
            """Everything of it is there, or nothing is; and the applicant is told what is."""
            async with store.reading() as connection:
                made = (await connection.execute(sa.select(decisions))).all()
                last = (await connection.execute(sa.select(order_counter.c.last))).scalar_one()
                told = (await connection.execute(sa.select(captures.c.outcome))).scalar_one()
            assert told == (Outcome.ACCEPTED if made else Outcome.RECEIVED)
            rows = await counter.orders.after("producer-development", 0, 200)
            assert len(made) == len(rows) == last
            assert {order.message_sha256 for order in rows} <= counter.messages()
            return bool(rows)

        nursery = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("dying_desk.py")),
            cwd=PROJECT,
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        deaths, died = 0, True
        told = {"pki": str(keys.folder), "data": str(tmp_path / "data"), "packet": stored.sha256}
        try:
            while died and not await is_accepted():
                nursery.stdin.write(json.dumps(told | {"step": deaths + 1}).encode() + b"\n")
                async with asyncio.timeout(START_S):
                    died = json.loads(await nursery.stdout.readline())["died"]
                deaths += died
        finally:
            nursery.stdin.close()
            assert await nursery.wait() == 0
        assert await is_accepted()
        assert deaths > 5, "it died at every step of its transaction, too"
        assert len(counter.messages()) > 1, "it died between sealing and commit, too"
        (order,) = await counter.orders.of_packet(stored.sha256)
        await counter.accept(stored)
        assert await counter.orders.of_packet(stored.sha256) == [order]
        trust = keys.trust
        assert (await audit_log(store, trust, checks=checks_for(trust))).sound
        assert (await counter.ask(f"/v1/orders/{order.id}")).status_code == 200
