"""A number on standard input: asked for at a terminal, silently taken from a pipe, never a traceback."""

from __future__ import annotations

import os
import pty
import sys

import pytest

from server.typed_number import read_number


@pytest.fixture
def stdin(monkeypatch):
    """Puts a descriptor in the place of standard input."""
    opened = []

    def put(descriptor):
        opened.append(os.fdopen(descriptor, "r", encoding="utf-8"))
        monkeypatch.setattr(sys, "stdin", opened[-1])

    yield put
    for each in opened:
        each.close()


def test_a_person_at_a_terminal_is_asked(stdin, capsys):
    keyboard, terminal = pty.openpty()
    stdin(terminal)
    os.write(keyboard, b"DEMO2026000017Q\n")
    assert read_number().strip() == "DEMO2026000017Q"
    os.close(keyboard)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "Application number: ")


def test_a_pipe_is_not_asked_and_may_hold_anything(stdin, capsys):
    reading, writing = os.pipe()
    stdin(reading)
    os.write(writing, b"\xff\xfe\n")
    os.close(writing)
    assert read_number() == "\ufffd\ufffd\n"
    assert capsys.readouterr() == ("", "")
