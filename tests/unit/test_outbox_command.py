"""What a technician does with an outbox: list, verify, retry, export; also beside a running booth, and whatever is broken."""

from __future__ import annotations

import errno
import hashlib
import json
import os

import pytest
from typer.testing import CliRunner

from booth import outbox_audit
from booth.outbox import DATABASE, OutboxLimits, PacketState, open_outbox
from booth.outbox_audit import read_entries
from booth.outbox_command import app
from tests.booth_rig import booth_config
from tests.receipts import ReceiptPad
from tests.sealed_packets import Keys

LIMITS = OutboxLimits(min_free_bytes=0)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return Keys(tmp_path_factory.mktemp("outbox-keys") / "pki")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data" / "outbox"


@pytest.fixture
def running(keys, folder):
    """A booth's outbox, open: one packet waits, one was refused, one postponed, one delivered."""
    from crypto.keys import open_signer
    from crypto.seal import read_header

    pad = ReceiptPad(open_signer(f"file:{keys.folder / 'intake.key'}"))
    folder.parent.mkdir(parents=True)
    with open_outbox(folder, LIMITS, lambda: 1_000.0) as outbox:
        packets = [keys.packet({"visit.json": b"{}"}) for _ in range(4)]
        outbox.digests = [outbox.put(packet, read_header(packet).packet_id) for packet in packets]
        _, refused, postponed, delivered = outbox.digests
        outbox.refuse(refused, "packet.booth_mismatch", "Another booth's packet.")
        outbox.postpone(postponed, 9e10, "intake.answer", "Not now.")
        outbox.settle(delivered, pad.give(delivered))
        yield outbox


@pytest.fixture
def call(keys, tmp_path, running):
    booth_config(
        tmp_path, keys.folder, '[camera]\nurl = "v4l2:///dev/video0"\n[controls]\nurl = "visca+serial:///dev/ttyS9"\n'
    )

    def run(*arguments):
        return CliRunner().invoke(app, [*arguments, "--config", str(tmp_path / "booth.toml")])

    return run


def test_all_is_sound_beside_a_running_booth(call, running):
    answer = call("verify")
    assert answer.exit_code == 0, answer.output
    assert "3 packets" in answer.output
    assert "1 receipts: all sound." in answer.output
    told = json.loads(call("verify", "--json").output)
    assert (told["sound"], told["packets"], told["receipts"], told["findings"]) == (True, 3, 1, [])
    assert call("list").exit_code == 1, "a refused packet needs a technician"
    assert len(json.loads(call("list", "--all", "--json").output)) == 4


def test_the_intakes_words_are_shown_as_they_are(call, running):
    running._database.execute("UPDATE packets SET error = ? WHERE state = 'refused'", ("no [/such] [red]box\x1b[2J",))
    shown = " ".join(call("list").output.replace("│", " ").split())
    assert "no [/such] [red]box" in shown
    assert "\x1b" not in shown


def test_a_list_fits_a_narrow_terminal_and_finds_a_packet_by_the_applicants_reference(call, running, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = call("list").output
    first = json.loads(call("list", "--json").output)[0]
    assert max(map(len, shown.splitlines())) <= 80
    reference = first["packet_id"][:8].upper()
    assert f"{first['sha256'][:12]}   {reference[:4]}-{reference[4:]}" in shown
    assert f"{running.digests[2][:12]}: Not now." in shown.splitlines()


def break_file(folder, sha256, change):
    path = folder / "packets" / f"{sha256}.packet"
    path.write_bytes(change(path.read_bytes()))


def test_verify_finds_each_kind_of_damage_and_changes_nothing(call, running, folder):
    waiting, refused, postponed, delivered = running.digests
    break_file(folder, waiting, lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    break_file(folder, refused, lambda data: data[:-7])
    (folder / "packets" / f"{postponed}.packet").unlink()
    running._database.execute("UPDATE packets SET receipt = ? WHERE sha256 = ?", (b"{}", delivered))
    stray = b"no packet at all"
    (folder / "packets" / f"{hashlib.sha256(stray).hexdigest()}.packet").write_bytes(stray)
    answer = call("verify")
    assert answer.exit_code == 1
    for words in (
        "does not have its digest",
        "its row says",
        "is missing",
        "proves nothing",
        "has no row",
        "5 findings",
    ):
        assert words in answer.output
    assert [entry.state for entry in read_entries(folder)] == ["waiting", "refused", "waiting", "receipted"]


def test_verify_reads_headers_and_tells_whose_packet_a_file_is(call, running, keys, folder):
    running._database.execute("UPDATE packets SET packet_id = ? WHERE sha256 = ?", ("ab" * 16, running.digests[0]))
    running.put(b"whole, and no packet", "id")
    answer = call("verify")
    assert answer.exit_code == 1
    assert "its header names packet" in answer.output
    assert "is no sealed packet" in answer.output


def test_retry_makes_refused_and_postponed_packets_due_in_the_running_booth(call, running):
    waiting, refused, postponed, delivered = running.digests
    answer = call("retry", refused[:10], waiting[:10])
    assert answer.exit_code == 1
    assert "is due" in answer.output
    assert waiting[:10] in answer.output
    told = json.loads(call("retry", "--json").output)
    assert told == {"due": [postponed], "unknown": []}
    states = {entry.sha256: (entry.state, entry.next_try_at) for entry in running.entries()}
    assert {states[one] for one in (waiting, refused, postponed)} == {(PacketState.WAITING, 0.0)}
    assert states[delivered][0] is PacketState.RECEIPTED
    assert "No packet is refused" in call("retry").output


def test_an_export_is_whole_and_names_every_digest(call, running, folder, tmp_path):
    stick = tmp_path / "stick"
    stick.mkdir()
    break_file(folder, running.digests[0], lambda data: data[:-1])
    answer = call("export", str(stick), "--json")
    assert answer.exit_code == 1, "one packet was left out"
    told = json.loads(answer.output)
    assert (told["packets"], told["receipts"], len(told["left_out"])) == (2, 1, 1)
    [made] = stick.iterdir()
    assert str(made) == told["folder"]
    listed = json.loads((made / "manifest.json").read_bytes())["files"]
    assert {one["name"] for one in listed} | {"manifest.json"} == {path.name for path in made.iterdir()}
    for one in listed:
        assert hashlib.sha256((made / one["name"]).read_bytes()).hexdigest() == one["sha256"]
    assert all((folder / "packets" / f"{sha}.packet").exists() for sha in running.digests[:3])


def test_a_packet_that_the_disk_does_not_give_keeps_no_other_from_the_export(call, running, tmp_path, monkeypatch):
    stick, bad, read = tmp_path / "stick", running.digests[0], outbox_audit.read_packet

    def failing(path):
        if path.stem == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path)

    stick.mkdir()
    monkeypatch.setattr(outbox_audit, "read_packet", failing)
    answer = call("export", str(stick), "--json")
    assert answer.exit_code == 1
    told = json.loads(answer.output)
    assert (told["packets"], told["receipts"]) == (2, 1)
    assert told["left_out"] == [f"Packet {bad[:12]}: its file cannot be read (Input/output error)."]


def test_a_row_that_names_no_packet_is_written_nowhere(call, running, tmp_path):
    stick, delivered = tmp_path / "sticks" / "stick", running.digests[3]
    stick.mkdir(parents=True)
    running._database.execute("UPDATE packets SET sha256 = '../../evil' WHERE sha256 = ?", (delivered,))
    told = json.loads(call("export", str(stick), "--json").output)
    assert told["left_out"] == ["Packet ../../evil: its row names no packet."]
    assert (told["packets"], told["receipts"]) == (3, 0)
    assert [path.name for path in (tmp_path / "sticks").iterdir()] == ["stick"]
    assert "names no packet" in call("verify").output


@pytest.mark.parametrize("at", range(1, 6))
def test_an_export_that_fails_leaves_nothing(call, tmp_path, monkeypatch, at):
    stick, calls, fsync = tmp_path / "stick", [], os.fsync

    def failing(descriptor):
        calls.append(descriptor)
        if len(calls) == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    stick.mkdir()
    monkeypatch.setattr(outbox_audit.os, "fsync", failing)
    answer = call("export", str(stick))
    assert answer.exit_code == 2
    assert "nothing was left" in answer.output
    assert list(stick.iterdir()) == []


def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(call, running, folder, tmp_path):
    answer = call("export", str(tmp_path / "nothing"))
    assert (answer.exit_code, "is no folder" in answer.output) == (2, True)
    running.close()
    for rest in folder.glob(f"{DATABASE}*"):
        rest.unlink()
    assert call("verify").exit_code == 1, "files without rows"
    (folder / DATABASE).write_bytes(b"no database" * 500)
    for command in (("verify",), ("list",), ("retry",), ("export", str(tmp_path))):
        answer = call(*command)
        assert answer.exit_code == 2, (command, answer.output)
        assert answer.output.startswith("booth: The outbox")
        assert len(answer.output.splitlines()) == 1
