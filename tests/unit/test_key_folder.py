"""Folders of keys: who holds one for ever stops nobody else for ever."""

from __future__ import annotations

import os

import pytest

from crypto import key_folder
from crypto.key_folder import only_writer, read_file
from server.authority import init_authority
from server.errors import EnrolmentUnavailableError


def test_a_folder_that_somebody_holds_for_ever_is_told_not_waited_for(tmp_path, monkeypatch):
    authority = init_authority(tmp_path / "ca", "Test authority", "Interior", None)
    monkeypatch.setattr(key_folder, "WAIT_S", 0.05)
    with only_writer(tmp_path / "ca"), pytest.raises(EnrolmentUnavailableError) as refused:  # a stopped `intake ca`
        authority.crl()
    assert isinstance(refused.value.__cause__, TimeoutError)
    assert authority.crl()


def test_a_file_is_read_to_its_limit_and_nothing_else_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_file(tmp_path / "file", 3) == b"1234"
    os.mkfifo(tmp_path / "fifo")
    for other in (tmp_path / "fifo", tmp_path, tmp_path / "none"):
        with pytest.raises(OSError):
            read_file(other, 3)
