"""The errors of backups and restores, told on a terminal; server/errors.py has the root and the rules.

BackupError: BackupBusyError, BackupDamagedError, BackupRefusedError
"""

from __future__ import annotations

from server.errors import ServerError


class BackupError(ServerError):
    """A backup or a restore did not come to its end; what was there before is as it was."""

    code = "backup"
    blame = "operator"
    title = "The backup cannot be made or used"


class BackupRefusedError(BackupError):
    """What was asked cannot be done with this backup, this place or this database."""

    code = "backup.refused"


class BackupDamagedError(BackupError):
    """A file of a backup is missing, changed, or not signed by an intake that is trusted."""

    code = "backup.damaged"
    title = "The backup is damaged"


class BackupBusyError(BackupError):
    """Another command works in the same place."""

    code = "backup.busy"
    retry = True
    title = "Another command works with these backups"
