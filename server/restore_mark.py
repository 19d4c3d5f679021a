"""The mark of a restore that has not come to its end: while it lies in the data folder, neither intake nor desk starts there.

It names the backup. A restore puts it there before the first byte and removes it when all is there, proven, and what is due for deletion is deleted, or when
everything is as empty as before. After a kill the same restore goes on; another one is refused.
"""

from __future__ import annotations

import json
from pathlib import Path

from crypto.key_folder import read_file, sync_folder, write_whole
from server.backup_errors import BackupRefusedError
from server.errors import SettingsError

MARK = "restoring.json"
MAX_MARK_BYTES = 1_024
_MODE = 0o600


def is_marked(data: Path, backup: str) -> bool:
    """Whether a restore of this backup was interrupted here. Raises `BackupRefusedError` when it was one of another. Blocks."""
    try:
        found = read_file(data / MARK, MAX_MARK_BYTES)
    except FileNotFoundError:
        return False
    if found != _content(backup):
        raise BackupRefusedError(
            f"Another restore was begun here and has not ended: finish that one, or empty the place and remove {data / MARK}."
        )
    return True


def put_mark(data: Path, backup: str) -> None:
    """Say durably that a restore of this backup has begun. Blocks."""
    write_whole(data / MARK, _content(backup), _MODE)


def remove_mark(data: Path) -> None:
    """Say durably that it has ended. Blocks."""
    (data / MARK).unlink(missing_ok=True)
    sync_folder(data)


def require_no_mark(data: Path) -> None:
    """Raises `SettingsError` while a restore has not come to its end. Blocks."""
    if (data / MARK).exists():
        raise SettingsError(f"A restore into {data} has not come to its end: repeat the same `intake restore` first.")


def _content(backup: str) -> bytes:
    return json.dumps({"backup": backup}).encode()
