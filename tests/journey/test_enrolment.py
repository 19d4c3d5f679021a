"""A booth's certificate from the first token to its revocation and back, with real programs: authority, intake, booth and its keys.

The intake and every command are processes of their own; the booth runs here against the virtual booth at the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from booth.config import Config
from booth.kiosk import Accept, Cancel, ChooseLanguage, Consent, Identify, Start
from booth.runner import open_booth
from crypto.desk_secret import generate_desk_secret
from crypto.keys import generate_recipient_key, load_recipient_key, load_trust
from crypto.private_key import private_pem
from crypto.seal import open_packet
from server.authority_index import hex_of
from tests.booth_rig import Simulator, Watcher, booth_config
from tests.journey.test_intake_process import client_of, started

COMMAND_S = 60.0
PASSPHRASE = "correct horse battery"


async def run(*arguments: str | Path, **environment: str) -> tuple[int, str, str]:
    """A command of ours to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
    )
    out, errors = await asyncio.wait_for(process.communicate(), COMMAND_S)
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


class Organisation:
    """An authority with its folders, made by the commands that an operator types."""

    def __init__(self, folder: Path) -> None:
        self.ca, self.folder, self.booth = folder / "ca", folder / "intake", folder / "booth"
        for each in (self.folder, self.booth):
            each.mkdir(mode=0o700)
        self.passphrase = folder / "ca.pass"
        self.passphrase.touch(mode=0o600)
        self.passphrase.write_text(PASSPHRASE)

    async def command(self, name: str, *arguments: str | Path) -> str:
        code, out, errors = await run(
            "server.cli", "ca", name, self.ca, *arguments, "--passphrase-file", self.passphrase
        )
        assert code == 0, errors
        return out

    async def found(self) -> None:
        await self.command("init", "--name", "Test authority")
        (self.folder / "ca.pem").write_bytes((self.ca / "ca.pem").read_bytes())
        await self.certify("intake", "intake", "--for", "intake")
        await self.certify("intake-tls", "intake-on-loopback", "--for", "tls", "--name", "127.0.0.1")
        desk = generate_recipient_key()
        for name, data in (
            ("desk.secret", generate_desk_secret().to_pem()),
            ("desk.hpke", desk.to_pem()),
            ("desk.hpke.pub", desk.public.to_pem()),
        ):
            (self.folder / name).touch(mode=0o600)
            (self.folder / name).write_bytes(data)

    async def certify(self, file: str, identity: str, *arguments: str) -> None:
        key = ec.generate_private_key(ec.SECP384R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity)])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA384())
        path = self.folder / f"{file}.csr"
        path.write_bytes(request.public_bytes(serialization.Encoding.PEM))
        (self.folder / f"{file}.key").touch(mode=0o600)
        (self.folder / f"{file}.key").write_bytes(private_pem(key))
        await self.command("issue", path, *arguments, "--out", self.folder / f"{file}.pem")

    def serve(self, data: Path, port: int = 0):
        return started(
            "serve",
            SimpleNamespace(folder=self.folder),
            data,
            *("--issuer", str(self.ca), "--port", str(port)),
            INTAKE_ISSUER_PASSPHRASE_FILE=str(self.passphrase),
        )

    def config(self, devices: str, url: str) -> Config:
        booth_config(self.booth, self.folder, devices)
        path = self.booth / "booth.toml"
        text = path.read_text().replace("https://intake.example", url)
        path.write_text(text.replace(f"file:{self.folder / 'booth.key'}", "file:booth.key"))
        return Config.load(path)

    async def enrol(self) -> tuple[int, str]:
        """What the technician does, with the token that the operator tells him."""
        token = json.loads(await self.command("token", "booth-0001", "--json"))["token"]
        file = self.booth / "token"
        file.write_text(token)
        code, out, errors = await run("booth", "keys", "enrol", "-c", self.booth / "booth.toml", "--token-file", file)
        assert token not in out + errors
        return code, out + errors


@pytest.fixture
async def organisation(tmp_path):
    made = Organisation(tmp_path)
    await made.found()
    return made


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    running = Simulator(tmp_path_factory.mktemp("sim"), "visit")
    yield running
    running.stop()


async def visit(watcher: Watcher, simulator: Simulator) -> None:
    """One applicant, from touching the screen to the reference."""
    await watcher.until("attract")
    simulator.tell(sitter="still")
    for command in (Start(), ChooseLanguage(language="de"), Identify(number="DEMO2026000017Q")):
        watcher.booth.post(command)
    await watcher.until("consent")
    watcher.booth.post(Consent(answer=True))
    review = await watcher.until("review")
    assert review.compliant
    watcher.booth.post(Accept())
    await watcher.until("thanks")
    simulator.tell(sitter="absent")
    watcher.booth.post(Cancel())
    await watcher.until("attract")


class Told(logging.Handler):
    """Waits until the technician's page shows something; what changes there is logged."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self._watcher = watcher
        self._loop, self._logged = asyncio.get_running_loop(), asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self._loop.call_soon_threadsafe(self._logged.set)

    async def until(self, condition) -> None:
        async with asyncio.timeout(COMMAND_S):
            while not condition(self._watcher.booth.technician()):
                self._logged.clear()
                await self._logged.wait()


@contextlib.asynccontextmanager
async def running(config: Config):
    log = logging.getLogger("booth")
    async with open_booth(config) as booth:
        watcher = Watcher(booth)
        told = Told(watcher)
        log.addHandler(told)
        log.setLevel(logging.INFO)
        try:
            yield watcher, told
        finally:
            log.removeHandler(told)
            log.setLevel(logging.NOTSET)


async def test_a_booth_is_enrolled_works_is_revoked_and_enrolled_again_and_loses_nothing(
    organisation, simulator, tmp_path, no_tasks_left
):
    data = tmp_path / "data"
    async with organisation.serve(data) as intake:
        port, config = intake.port, organisation.config(simulator.facts["toml"], intake.url)
        code, answer = await organisation.enrol()
        assert code == 0, answer
        first = x509.load_pem_x509_certificate((organisation.booth / "booth.pem").read_bytes())
        assert json.loads(next(line for line in intake.lines if "A booth was enrolled." in line))["serial"] == (
            hex_of(first.serial_number)
        )
        async with client_of(organisation) as client:  # the same token again, and one that never was
            token = (organisation.booth / "token").read_text()
            csr = (organisation.folder / "intake.csr").read_text()
            for wrong in (token, "00000-00000-00000-00000"):
                body = {"token": wrong, "csr": csr}
                answer = await client.post(f"{intake.url}/v1/enrolments", json=body)
                assert (answer.status_code, answer.json()["code"]) == (403, "enrolment.refused")
        assert token not in intake.log
        async with running(config) as (watcher, told):
            await visit(watcher, simulator)
            await told.until(lambda status: status.intake.last_receipt_at and status.outbox.waiting == 0)
            assert (organisation.booth / "data" / "revocation.pem").exists()

            # The intake is away: a packet waits. Meanwhile the certificate is revoked.
            assert await intake.stop() == 0
            await visit(watcher, simulator)
            await told.until(lambda status: status.outbox.waiting == 1 and status.intake.last_error)
            await organisation.command("revoke", "booth-0001", "--reason", "superseded")

            async with organisation.serve(data, port) as again:
                # Refused at the intake, with its reason; the log names booth and serial number.
                await told.until(lambda status: status.intake.refusal == "revoked")
                line = json.loads(next(line for line in again.lines if "A revoked booth was refused." in line))
                assert (line["booth"], line["serial"]) == ("booth-0001", hex_of(first.serial_number))
                # And at the booth: no visit begins, the packet waits, the technician reads what to do.
                closed = await watcher.until("out_of_service")
                assert (closed.fault.code, closed.fault.message) == ("booth.revoked", "fault.revoked")
                status = watcher.booth.technician()
                assert (status.outbox.waiting, status.outbox.refused) == (1, 0)
                assert "booth keys enrol" in status.fault_hint

                code, answer = await organisation.enrol()
                assert code == 0, answer
                await told.until(lambda status: status.outbox.waiting == 0 and status.fault is None)
                await watcher.until("attract")
                second = x509.load_pem_x509_certificate((organisation.booth / "booth.pem").read_bytes())
                assert second.serial_number != first.serial_number
                assert second.public_key() != first.public_key()
                await visit(watcher, simulator)
                await told.until(lambda status: status.outbox.waiting == 0)
                assert await again.stop() == 0
    # All three packets are good, the one that waited too: it was signed before the revocation.
    trust = load_trust(organisation.folder / "ca.pem", organisation.ca / "ca.crl")
    assert first.serial_number in trust.crls[0].entries
    packets = [path.read_bytes() for path in (data / "objects").rglob("*") if path.is_file()]
    signers = [
        open_packet(packet, [load_recipient_key(organisation.folder / "desk.hpke")], trust).signer.serial_number
        for packet in packets
    ]
    assert sorted(signers, key=[first.serial_number, second.serial_number].index) == [
        first.serial_number,
        first.serial_number,
        second.serial_number,
    ]


async def test_an_intake_that_does_not_trust_its_own_authority_does_not_start(organisation, tmp_path):
    other = tmp_path / "other"
    code, _, errors = await run("server.cli", "pki", "init", other)
    assert code == 0, errors
    code, _, errors = await run(
        *("server.cli", "serve", "--data", tmp_path / "data", "--pki", organisation.folder, "--port", "0"),
        *("--issuer", other),
    )
    assert (code, errors.count("\n")) == (2, 1)
    assert "would be refused" in errors
