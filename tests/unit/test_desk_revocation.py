"""The desk and revoked booths: one opaque answer outward, the cause in the log by type, and nothing kept from before."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from crypto.issuance import Revoked
from server.logs import JsonFormatter
from server.messages import load_messages
from tests.desk_rig import opened_desk
from tests.revocation_lists import write_list
from tests.sealed_packets import Keys


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("desk-revocation") / "pki")


@pytest.mark.parametrize(
    ("reason", "opens"), [(x509.ReasonFlags.key_compromise, False), (x509.ReasonFlags.superseded, True)]
)
async def test_a_packet_from_before_a_revocation_counts_unless_the_key_was_compromised(
    keys, tmp_path, caplog, reason, opens
):
    caplog.set_level("INFO", logger="server")
    crl = tmp_path / "list.crl"
    write_list(keys.folder, crl, 1)
    async with opened_desk(keys, tmp_path / "data", load_messages(), crl=crl) as desk:
        await desk.sign_in()
        sha256 = await desk.receive(keys.packet(at=datetime.now(UTC) - timedelta(hours=1)))
        assert (await desk.client.get(f"/packets/{sha256}")).status_code == 200
        serial = keys.signer.certificate.serial_number
        write_list(keys.folder, crl, 2, Revoked(serial, datetime.now(UTC), reason))
        desk.trust_clock.now += 1
        page = await desk.client.get(f"/packets/{sha256}")
        listed = (await desk.client.get("/api/packets")).json()["packets"][0]
    if opens:
        assert page.status_code == 200
        assert listed["summary"] is not None
        return
    assert page.status_code == 422
    assert "revoked" not in page.text.lower()
    assert listed["summary"] is None
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    refused = next(line for line in lines if line["message"] == "A packet did not open.")
    assert any(cause.startswith("CertificateRevokedError") for cause in refused["error"])
    assert f"{serial:x}" not in json.dumps(refused)
