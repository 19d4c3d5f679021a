"""Words of strangers do nothing to a terminal."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from booth.packet import app
from booth.terminal import PIPE_WIDTH, output, printable
from crypto.canonical import canonical_json
from crypto.packet_header import framed, split_packet
from tests.packets import make_cached_world

WORDS = "\x1b[2J\x1b]0;title\x07\x9b31m\u202everified\u200b"


def test_only_what_can_be_seen_is_left():
    assert printable("Büro 7, ok") == "Büro 7, ok"
    assert printable("a\nb") == r"a\nb"
    assert printable(WORDS) == r"\x1b[2J\x1b]0;title\x07\x9b31m\u202everified\u200b"


@pytest.mark.parametrize("name", ["visit.packet", "\x1b[31mvisit.packet"])
def test_a_header_that_anybody_may_have_written_does_nothing_to_the_terminal(tmp_path, name):
    packet = make_cached_world().packet
    header, end = split_packet(packet)
    fields = header.model_dump(mode="json") | {"created_at": "2026-11-22T12:00:00Z", "suite": WORDS}
    file = tmp_path / name
    file.write_bytes(framed(canonical_json(fields)) + packet[end:])
    shown = CliRunner().invoke(app, ["show", str(file)], env={"TERM": "xterm-256color", "COLUMNS": "150"})
    assert shown.exit_code == 0
    assert r"\x1b[2J" in shown.output
    assert all(one.isprintable() or one == "\n" for one in shown.output)
    file.write_bytes(b"no packet")
    refused = CliRunner().invoke(app, ["show", str(file)], env={"TERM": "xterm-256color"})
    assert refused.exit_code == 2
    assert all(one.isprintable() or one == "\n" for one in refused.output)


def test_a_pipe_has_a_width_that_keeps_a_digest_whole_and_columns_wins(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert output().width == PIPE_WIDTH
    assert output(160).width == 160
    monkeypatch.setenv("COLUMNS", "72")
    assert output().width == 72
