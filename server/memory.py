"""What opened personal data must not become: a core dump on a disk, or memory that another program of the same user reads.

`RLIMIT_CORE` of zero keeps a crash from writing the process; `PR_SET_DUMPABLE` of zero (prctl(2)) also holds where dumps are piped to a program,
which ignores the limit (core(5)), and forbids other programs of the same user to attach (ptrace(2)).
"""

from __future__ import annotations

import ctypes
import os
import resource

from server.errors import SettingsError

PR_SET_DUMPABLE = 4  # linux/prctl.h


def forbid_dumps() -> None:
    """Make this process leave no core dump and let nobody read its memory. Raises `SettingsError`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise SettingsError(f"Core dumps cannot be turned off here: {os.strerror(ctypes.get_errno())}.")
