"""A whole visit between real programs with the booth's key in a token: delivered, receipted, opened; the private key is nowhere else."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from booth import senses
from booth.demo_token import make_demo_token
from booth.outbox import PacketState
from booth.outbox_audit import read_entries
from crypto.keys import load_recipient_key, load_trust, make_development_pki
from crypto.seal import open_packet
from crypto.token_module import module_at
from crypto.trust import load_certificates
from tests.booth_rig import Simulator, booth_config, running_booth
from tests.fake_intake import FakeIntake
from tests.token_rig import MODULE, TokenStore

PRIVATE_PEM = re.compile(
    rb"-----BEGIN (?:EC |ENCRYPTED )?PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL
)
NUMBER = b"DEMO2026000017Q"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(arguments, capture_output=True, timeout=170, check=False, env=os.environ | environment)


@pytest.fixture(scope="module")
def visit(tmp_path_factory) -> Path:
    """Results of one `booth demo --visit --token`."""
    if MODULE is None or shutil.which("softhsm2-util") is None:
        pytest.skip("needs SoftHSM2: apt-get install softhsm2")
    folder = tmp_path_factory.mktemp("token-visit")
    command = [sys.executable, "-m", "booth", "demo", "--visit", "--token", "--json"]
    done = run(*command, "--keep", str(folder), "--data", str(folder / "data"))
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    (folder / "outcome.json").write_bytes(done.stdout)
    return folder


def test_the_packet_is_delivered_receipted_and_opened_and_signed_by_the_key_in_the_token(visit):
    outcome = json.loads((visit / "outcome.json").read_text())
    assert (outcome["faults"], outcome["compliant"]) == ([], True)
    data = visit / "data"
    entries = read_entries(data / "booth" / "outbox")
    assert [entry.state for entry in entries] == [PacketState.RECEIPTED]
    certificate = load_certificates(data / "token" / "booth.pem")[0]
    trust = load_trust(data / "pki" / "ca.pem", data / "pki" / "ca.crl")
    packet = (visit / "visit.packet").read_bytes()
    opened = open_packet(packet, [load_recipient_key(data / "pki" / "desk.hpke")], trust)
    assert opened.signer == certificate
    assert opened.manifest.booth == "booth-0001"
    assert NUMBER in opened.parts["visit.json"]


def test_openssl_accepts_the_tokens_signature(visit, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command: apt-get install openssl")
    accepted = run(
        "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", str(visit / "opened" / "package.cms"),
        "-CAfile", str(visit / "ca.pem"), "-purpose", "any", "-out", str(tmp_path / "content.zip"),
    )  # fmt: skip
    assert accepted.returncode == 0, accepted.stderr


def test_the_private_key_is_nowhere_outside_the_tokens_store(visit):
    data = visit / "data"
    public = load_certificates(data / "token" / "booth.pem")[0].public_key()
    searched, found = 0, []
    for path in visit.rglob("*"):
        if not path.is_file() or (data / "token" / "store") in path.parents:
            continue
        searched += 1
        for block in PRIVATE_PEM.findall(path.read_bytes()):
            key = serialization.load_pem_private_key(block, None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            found.append(path.name)
            assert key.public_key() != public, path
    assert searched > 20
    assert "ca.key" in found, "the search finds keys"
    assert not {name for name in found if name.startswith("booth")}


def test_the_pin_is_in_its_file_alone_and_the_token_does_not_give_the_key(visit, tmp_path):
    data = visit / "data"
    pin = (data / "token" / "pin").read_text()
    for path in [*(data / "logs").iterdir(), data / "booth.toml", visit / "outcome.json"]:
        assert pin not in path.read_text(), path
    if shutil.which("pkcs11-tool") is None:
        pytest.skip("needs pkcs11-tool: apt-get install opensc")
    tool = ["pkcs11-tool", "--module", str(MODULE), "--token-label", "passbooth-demo", "--login", "--pin", pin]
    environment = {"SOFTHSM2_CONF": str(data / "token" / "softhsm2.conf")}
    out = tmp_path / "key"
    taken = run(*tool, "--read-object", "--type", "privkey", "--label", "booth", "-o", str(out), **environment)
    assert taken.returncode != 0 or not out.exists() or out.stat().st_size == 0, taken
    content = tmp_path / "content"
    content.write_bytes(hashes.SHA384.name.encode() * 8)
    signed = run(
        *tool, "--sign", "--mechanism", "ECDSA", "--label", "booth", "-i", str(content), "-o", str(out), **environment
    )
    assert signed.returncode == 0, signed.stderr  # it is there and it signs


async def test_a_token_that_is_missing_closes_the_booth_before_a_visit_and_opens_it_when_it_is_back(
    tmp_path, monkeypatch, no_tasks_left
):
    if MODULE is None or shutil.which("softhsm2-util") is None:
        pytest.skip("needs SoftHSM2: apt-get install softhsm2")
    monkeypatch.setattr(senses, "KEY_PERIOD_S", 0.05)
    made = TokenStore(tmp_path / "before")  # the module may have been started with another test's store
    monkeypatch.setenv("SOFTHSM2_CONF", str(made.settings))
    module_at(MODULE).start_anew()
    pki = make_development_pki(tmp_path / "pki")
    token = tmp_path / "token"
    (token / "store").mkdir(parents=True)
    made.settings.write_text(made.settings.read_text().replace(str(made.tokens), str(token / "store")))
    module_at(MODULE).start_anew()
    await make_demo_token(tmp_path, pki, "booth-0001")
    store, away = token / "store", token / "away"
    virtual = await asyncio.to_thread(Simulator, tmp_path / "devices", "visit")
    try:
        config = booth_config(tmp_path, pki, virtual.facts["toml"])
        address = f"pkcs11:token=passbooth-demo;object=booth?module-path={MODULE}"
        keys = {"signer": address, "certificate": token / "booth.pem", "passphrase_file": token / "pin"}
        config = config.model_copy(update={"keys": config.keys.model_copy(update=keys)})
        store.rename(away)  # the booth starts without it
        async with running_booth(config, FakeIntake(pki)) as watcher:
            # On a busy machine the camera may be told first: its picture was a moment too late.
            closed = await watcher.until(
                lambda state: (
                    state.state == "out_of_service" and state.fault is not None and state.fault.code == "crypto.signing"
                )
            )
            assert closed.commands == ()
            status = watcher.booth.technician()
            assert "plug it in" in status.fault_hint
            assert status.certificate_days > 390, "the certificate is told without its token"
            away.rename(store)
            await watcher.until("attract")
            store.rename(away)
            await watcher.until("out_of_service")
            away.rename(store)
            await watcher.until("attract")
    finally:
        await asyncio.to_thread(virtual.stop)
