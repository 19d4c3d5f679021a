"""A booth's keys against a real authority over TLS: enrolled, renewed with packets in the queue, revoked, enrolled again."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.x509 import ReasonFlags

from booth.config import Config
from booth.demo import started
from booth.disk import DiskFiles
from booth.outbox import OutboxLimits, open_outbox
from booth.revocation_list import RevocationLists
from booth.uplink import open_uplink
from crypto.issuance import Profile
from crypto.keys import SignerSource, load_recipient_key, load_trust
from crypto.seal import open_packet
from crypto.trust import load_certificates
from server.authority import open_authority
from tests.sealed_packets import Keys, digest
from tests.token_rig import PIN, TokenStore

STEP_S = 60.0
QUEUED = 50


async def booth(folder: Path, *arguments: str, stdin: str = "", **environment: str) -> tuple[int, str, str]:
    """`booth keys …` with the settings in a folder."""
    command = [sys.executable, "-m", "booth", "keys", *arguments, "--config", str(folder / "booth.toml")]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, env=os.environ | environment
    )
    out, errors = await asyncio.wait_for(process.communicate(stdin.encode("utf-8", "surrogateescape")), STEP_S)
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


def write_settings(folder: Path, pki: Path, url: str, identity: str, keys: str) -> Config:
    folder.mkdir(exist_ok=True)
    path = folder / "booth.toml"
    path.write_text(
        f"""
[booth]
id = "{identity}"
site = "site"
centre = "centre-1"
data_dir = "data"
[camera]
url = "v4l2:///dev/video0"
[intake]
url = "{url}"
trust = "{pki / "ca.pem"}"
[keys]
recipients = ["{pki / "desk.hpke.pub"}"]
{keys}
"""
    )
    return Config.load(path)


def intake_of(keys: Keys, data: Path):
    arguments = ["server.cli", "serve", "--data", str(data), "--pki", str(keys.folder), "--issuer", str(keys.folder)]
    return started("intake", [*arguments, "--port", "0", "--json-ready"], data)


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path / "pki")


async def life_of(keys: Keys, config: Config, folder: Path, intake) -> None:
    """Enrolment to revocation and back."""
    said: list[str] = []

    async def run(*arguments: str, code: int, stdin: str = "") -> str:
        done, out, errors = await booth(folder, *arguments, stdin=stdin)
        said.extend((out, errors))
        assert done == code, (arguments, out, errors)
        return out + errors

    authority = open_authority(keys.folder, None)
    assert "no certificate yet: `booth keys enrol`" in await run("show", code=1)
    assert "booth keys init" in await run("csr", code=2)
    assert "no certificate yet" in await run("rotate", code=2)
    await run("init", code=0)
    assert "BEGIN CERTIFICATE REQUEST" in await run("csr", code=0)
    assert "enrolment.refused" in await run("enrol", code=2, stdin="AAAAA-AAAAA-AAAAA-AAAAA\n")
    assert "no enrolment token" in await run("enrol", code=2)
    for slip in ("7Q2MX-0B4TD-9KXVN-3HC5", "seven queens"):  # judged here: no try at the intake is lost
        assert "no enrolment token" in await run("enrol", code=2, stdin=f"{slip}\n")
    code, _, told = await booth(folder, "enrol", stdin="\udcff\n", PYTHONIOENCODING="utf-8:strict")  # no text at all
    assert (code, "no enrolment token" in told) == (2, True), told
    assert "No such file" in await run("enrol", "--token-file", str(folder / "none"), code=2)
    token = authority.make_token(config.booth.id)
    assert "is in use" in await run("enrol", code=0, stdin=token.lower() + "\n")
    assert "enrolment.refused" in await run("enrol", code=2, stdin=token + "\n")
    assert "booth keys rotate" in await run("init", code=2)
    next_one = json.loads(await run("rotate", "--json", code=0))
    facts = json.loads(await run("show", "--json", code=0))
    assert next_one == {"booth": facts["booth"]} | {
        name: facts["certificate"][name] for name in ("file", "serial", "valid_until")
    }
    assert facts["care"] == []
    assert facts["certificate"]["days_left"] > 390
    assert facts["certificate"]["key_usable"]
    assert not facts["waiting"]
    assert facts["recipients"][0]["key_id"] == keys.recipient.key_id
    # By hand: the request goes to the authority as a file.
    await run("init", "--next", code=0)
    request = await run("csr", code=0)
    by_hand = folder / "issued.pem"
    by_hand.write_bytes(authority.issue(request.encode(), Profile.BOOTH, config.booth.id))
    assert "is in use" in await run("install", str(by_hand), code=0)
    assert "cannot be read" in await run("install", str(folder / "none.pem"), code=2)
    # Revoked: refused with the reason, then enrolled again with another key.
    authority.revoke(config.booth.id, ReasonFlags.key_compromise)
    assert "booth.revoked" in await run("rotate", code=2)
    lists = RevocationLists(config.booth.data_dir, load_trust(config.intake.trust))  # as a running booth stores it
    config.booth.data_dir.mkdir()
    assert lists.take(authority.crl())
    assert "was revoked" in await run("show", code=1)
    await run("init", "--next", "--fresh", code=0)
    again = folder / "token"
    again.write_text(authority.make_token(config.booth.id) + "\n")
    assert "is in use" in await run("enrol", "--token-file", str(again), code=0)
    assert "is in use" in await run("rotate", code=0)
    log = await asyncio.to_thread(intake.log.read_text)
    for secret in (token, token.replace("-", ""), again.read_text().strip()):
        assert secret not in "".join(said) + log
    assert "PRIVATE KEY" not in "".join(said) + log


async def test_the_life_of_a_key_in_a_file(keys, tmp_path):
    async with intake_of(keys, tmp_path / "intake") as intake:
        folder = tmp_path / "booth"
        settings = 'signer = "file:booth.key"\npassphrase_file = "secret"'
        config = write_settings(folder, keys.folder, intake.ready["url"], "booth-0042", settings)
        (folder / "secret").write_text("open sesame\n")
        (folder / "secret").chmod(0o600)
        await life_of(keys, config, folder, intake)
        assert b"ENCRYPTED" in (folder / "booth.key").read_bytes()


async def test_the_life_of_a_key_in_a_token(keys, tmp_path):
    store = TokenStore(tmp_path / "softhsm")
    await asyncio.to_thread(store.add, "booth-0043")
    async with intake_of(keys, tmp_path / "intake") as intake:
        folder = tmp_path / "booth"
        settings = f'signer = "{store.uri("booth-0043")}"\ncertificate = "booth.pem"\npassphrase_file = "pin"'
        write_settings(folder, keys.folder, intake.ready["url"], "booth-0043", settings)
        pin = folder / "pin"
        pin.write_bytes(b"000000\n")
        pin.chmod(0o600)
        code, _, errors = await booth(folder, "init", **store.environment)
        assert (code, "refuses the PIN" in errors) == (2, True)
        pin.write_bytes(PIN)
        code, _, errors = await booth(folder, "init", **store.environment)
        assert (code, "none is tried by itself" in errors) == (2, True)
        code, out, _ = await booth(folder, "pin", **store.environment)
        assert (code, "takes the PIN" in out) == (0, True)
        token = open_authority(keys.folder, None).make_token("booth-0043")
        for arguments, stdin in ((("enrol",), token), (("rotate",), "")):
            code, out, errors = await booth(folder, *arguments, stdin=stdin, **store.environment)
            assert (code, "is in use" in out) == (0, True), errors
        code, out, _ = await booth(folder, "show", "--json", **store.environment)
        facts = json.loads(out)
        assert (code, facts["care"], facts["token"]["label"]) == (0, [], "booth-0043")
        assert PIN.decode() not in out
        assert not list(folder.rglob("*.key"))
        # Without its token the key cannot be used, and that is told.
        store.tokens.rename(store.tokens.with_name("away"))
        code, out, _ = await booth(folder, "show", "--json", **store.environment)
        facts = json.loads(out)
        assert (code, facts["certificate"]["key_usable"]) == (1, False)
        assert any("does not start" in sentence for sentence in facts["care"]), facts


async def test_rotation_with_fifty_packets_queued_under_the_old_key_loses_none(keys, tmp_path, monkeypatch):
    async with intake_of(keys, tmp_path / "intake") as intake:
        folder = tmp_path / "booth"
        config = write_settings(
            folder, keys.folder, intake.ready["url"], "booth-0001", f'signer = "file:{keys.folder / "booth.key"}"'
        )
        source = SignerSource(config.keys.signer)
        old = source.current().certificate
        packets = [keys.packet() for _ in range(QUEUED)]
        limits = OutboxLimits(min_free_bytes=0)
        with (
            ThreadPoolExecutor(1) as worker,
            open_outbox(tmp_path / "outbox", limits, time.time, DiskFiles()) as outbox,
        ):
            for number, packet in enumerate(packets):
                worker.submit(outbox.put, packet, f"{number:032x}").result()
            code, out, errors = await booth(folder, "rotate")
            assert code == 0, out + errors
            new = source.current().certificate
            assert new != old
            assert load_certificates(keys.folder / "booth.pem")[0] == new
            keys.signer = source.current()
            packets.append(keys.packet())
            worker.submit(outbox.put, packets[-1], f"{QUEUED:032x}").result()
            trust = load_trust(config.intake.trust)
            lists = RevocationLists(tmp_path, trust)
            troubles: list[object] = []
            loop, delivered, settle = asyncio.get_running_loop(), asyncio.Event(), outbox.settle

            def settle_and_tell(sha256: str, receipt: bytes) -> None:
                settle(sha256, receipt)
                if not outbox.status.waiting:
                    loop.call_soon_threadsafe(delivered.set)

            monkeypatch.setattr(outbox, "settle", settle_and_tell)
            async with open_uplink(
                *(outbox, worker, config.intake, source.current, lists, time.time),
                lambda _, error: troubles.append(error),
            ) as uplink:
                uplink.wake()
                async with asyncio.timeout(STEP_S):
                    await delivered.wait()
                assert uplink.status.last_error is None
            assert not any(troubles)
        source.close()
        # The old certificate is taken back as superseded: what it signed before is still good.
        authority = open_authority(keys.folder, None)
        authority.revoke(f"{old.serial_number:x}", ReasonFlags.superseded)
        judged = load_trust(keys.folder / "ca.pem", keys.folder / "ca.crl")
        desk = load_recipient_key(keys.folder / "desk.hpke")
        stored = {path.read_bytes() for path in (tmp_path / "intake" / "objects").rglob("*") if path.is_file()}
        assert {digest(packet) for packet in stored} == {digest(packet) for packet in packets}
        signers = [open_packet(packet, [desk], judged).signer for packet in packets]
        assert signers == [old] * QUEUED + [new]
