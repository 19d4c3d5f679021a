"""`python -m hardware.sim tell`: orders to a running virtual booth from a terminal."""

from __future__ import annotations

import io
import json
import socketserver
import threading
from pathlib import Path

import pytest

from hardware.sim.__main__ import main


class Answers(socketserver.StreamRequestHandler):
    """Takes what is JSON and no fault."""

    def handle(self):
        for line in self.rfile:
            order = json.loads(line)
            self.server.orders.append(order)
            answer = {"ok": False, "error": "there is no such fault"} if "fault" in order else {"ok": True}
            self.wfile.write(json.dumps(answer).encode() + b"\n")


@pytest.fixture
def booth(tmp_path):
    with socketserver.UnixStreamServer(str(tmp_path / "control"), Answers) as server:
        server.orders = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_orders_are_given_one_after_the_other_until_one_is_refused(booth, tmp_path, capsys):
    control = str(tmp_path / "control")
    assert main(["tell", control, '{"sitter":"still"}', '{\n"ambient":0.5}']) == 0
    assert booth.orders == [{"sitter": "still"}, {"ambient": 0.5}]
    assert capsys.readouterr().out == '{"ok": true}\n' * 2
    assert main(["tell", control, '{"fault":"lights.nothing"}', '{"sitter":"absent"}']) == 1
    assert "no such fault" in capsys.readouterr().out
    assert len(booth.orders) == 3


def test_without_orders_lines_are_read(booth, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO('{"sitter":"still"}\n\n{"ambient":1.0}\n'))
    assert main(["tell", str(tmp_path / "control")]) == 0
    assert booth.orders == [{"sitter": "still"}, {"ambient": 1.0}]


def test_nobody_at_the_socket_is_told_in_a_sentence(tmp_path: Path, capsys):
    assert main(["tell", str(tmp_path / "control"), "{}"]) == 2
    assert capsys.readouterr().err == f"no virtual booth answers at {tmp_path / 'control'}: No such file or directory\n"
