"""The conformance set: every good packet is accepted, every bad one refused at its stage, by the command line, the library, the desk and the intake."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from booth.packet import REFUSED, UNREADABLE, app
from crypto.errors import OPAQUE_REASON, PacketFormatError, PacketRefusedError
from crypto.recipient import RecipientKey
from crypto.seal import HEADER_AT, MAX_HEADER_BYTES, open_packet, read_header
from crypto.trust import load_trust
from server.booth_trust import BoothTrust
from server.errors import PacketNotOpenedError
from server.opening import open_opener
from server.store import StoredPacket
from tests.conftest import PROJECT
from tests.vectors.case import STAGES
from tests.vectors.make_vectors import FOLDER, INDEX, all_cases, key_files

CASES = json.loads(INDEX.read_text(encoding="utf-8"))
BAD = [case for case in CASES if case["stage"]]
GOOD = [case for case in CASES if not case["stage"]]
KEYS = {
    name: RecipientKey(bytes.fromhex(one["seed"]))
    for name, one in json.loads((FOLDER / "keys/recipients.json").read_text()).items()
}
# What opening tells: package and manifest are one step.
TOLD = {"manifest": "package"}


def by_id(case) -> str:
    return case["id"]


def packet_of(case) -> bytes:
    return (FOLDER / case["file"]).read_bytes()


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Path:
    """The keys of the set as a folder that the command line takes, one for each recipient."""
    folder = tmp_path_factory.mktemp("pki")
    for name, key in KEYS.items():
        (folder / name).mkdir()
        (folder / name / "desk.hpke").touch(mode=0o600)
        (folder / name / "desk.hpke").write_bytes(key.to_pem())
        for file in ("ca.pem", "ca.crl"):
            (folder / name / file).write_bytes((FOLDER / "keys" / file).read_bytes())
    return folder


@pytest.fixture(scope="module")
def trust():
    return load_trust(FOLDER / "keys/ca.pem", FOLDER / "keys/ca.crl")


def test_the_set_is_large_enough_small_enough_and_whole():
    assert len(BAD) >= 200
    assert {case["stage"] for case in BAD} == set(STAGES)
    assert all(case["reason"] and case["clause"] and case["says"] for case in BAD)
    files = {path.relative_to(FOLDER).as_posix() for kind in ("good", "bad") for path in (FOLDER / kind).iterdir()}
    assert files == {case["file"] for case in CASES}
    assert sum((FOLDER / file).stat().st_size for file in files) + INDEX.stat().st_size < 1_000_000


def test_the_page_tells_the_set_as_it_is():
    page = (PROJECT / "docs/packet.md").read_text(encoding="utf-8")
    lines = page.splitlines()
    counts = Counter(case["stage"] for case in BAD)
    assert f"{len(GOOD)} packets that must be accepted" in page
    assert f"{len(BAD)} packets that must be refused" in page
    assert all(f"{counts[stage]} `{stage}`" in page for stage in STAGES)
    headings = {line.lstrip("# ") for line in lines if line.startswith("#")}
    assert {case["clause"] for case in CASES} <= headings


@pytest.mark.parametrize("case", CASES, ids=by_id)
def test_the_command_line(case, pki):
    run = CliRunner().invoke(
        app, ["verify", str(FOLDER / case["file"]), "--pki", str(pki / case["key"]), "--explain", "--json"]
    )
    told = json.loads(run.stdout)
    if case["stage"] is None:
        assert (run.exit_code, told["verdict"]) == (0, "accepted")
        return
    assert case["says"] in told["reason"]
    if case["stage"] == "header":
        assert (run.exit_code, told["verdict"]) == (UNREADABLE, "unreadable")
    else:
        assert (run.exit_code, told["verdict"]) == (REFUSED, "refused")
        assert told["stage"] == TOLD.get(case["stage"], case["stage"])


@pytest.mark.parametrize("case", CASES, ids=by_id)
def test_the_library(case, trust):
    packet, keys = packet_of(case), [KEYS[case["key"]]]
    if case["stage"] is None:
        opened = open_packet(packet, keys, trust)
        assert opened.manifest.packet_id == opened.header.packet_id
        return
    with pytest.raises(PacketRefusedError) as caught:
        open_packet(packet, keys, trust)
    assert str(caught.value) == OPAQUE_REASON
    assert caught.value.stage == TOLD.get(case["stage"], case["stage"])
    assert case["says"] in str(caught.value.__cause__)


@pytest.mark.parametrize("case", CASES, ids=by_id)
def test_the_intake_judges_the_header_alone(case):
    head = packet_of(case)[: HEADER_AT + MAX_HEADER_BYTES]
    if case["intake"] == "accept":
        assert read_header(head).booth
        return
    with pytest.raises(PacketFormatError):
        read_header(head)


class Folder:
    """The packets as the desk's store."""

    def __init__(self) -> None:
        self.packets = {hashlib.sha256(data).hexdigest(): data for data in map(packet_of, CASES)}

    async def read(self, sha256: str) -> bytes:
        return self.packets[sha256]


@pytest.mark.parametrize("name", KEYS)
async def test_the_desk_tells_one_reason(name):
    now = datetime(2026, 11, 23, tzinfo=UTC)
    trust = BoothTrust(FOLDER / "keys/ca.pem", FOLDER / "keys/ca.crl")
    refused = set()
    async with open_opener(Folder(), [KEYS[name]], trust, kept=4, kept_s=60) as opener:
        for case in (one for one in CASES if one["key"] == name):
            packet = packet_of(case)
            sha256 = hashlib.sha256(packet).hexdigest()
            stored = StoredPacket(1, sha256, "0" * 32, "booth-0001", "", len(packet), now, now, "stored", b"")
            if case["stage"] is None:
                content = await opener.content(stored)
                assert content.opened.manifest.booth == "booth-0001"
                continue
            with pytest.raises(PacketNotOpenedError) as caught:
                await opener.content(stored)
            refused.add((caught.value.code, str(caught.value)))
    assert len(refused) <= 1


def test_the_script_makes_the_committed_files():
    """Certificates, signatures and packages are the same bytes; what HPKE makes differs at every run."""
    for name, data in key_files().items():
        assert (FOLDER / "keys" / name).read_bytes() == data, name
    assert [case.to_json() for case in all_cases()] == CASES
    for case in all_cases():
        committed = (FOLDER / case.to_json()["file"]).read_bytes()
        assert len(committed) == len(case.packet), case.id
        if case.stage not in {"header", "seal"}:
            assert inside(committed, KEYS[case.key]) == inside(case.packet, KEYS[case.key]), case.id


def inside(packet: bytes, key: RecipientKey) -> bytes | None:
    """What a packet for one recipient is encrypted around; nothing of one for several."""
    header = read_header(packet)
    end = len(header.prefix())
    return key.decrypt(packet[end:], packet[:end]) if header.version == 1 else b""
