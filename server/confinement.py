"""A process that shuts itself in before it touches what a stranger made: memory, files, network and signals.

Order: `limit_process` (numbers, no new privileges, dies with its parent) -> `confine` (Landlock). Both are the first things such a process does: Landlock holds for the
calling thread and for those that it starts later, and libraries start theirs when they are imported.

Rules: after `confine` files open for reading beneath the given folders alone; nothing is written, made, executed or connected to by TCP, nobody outside
gets a signal, and no other process can be looked into (landlock(7), linux/landlock.h). A kernel without Landlock, or a filter that forbids it, is told by the result, never
passed over in silence: the caller says so.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
from collections.abc import Iterable
from pathlib import Path

# linux/prctl.h
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
# asm-generic/unistd.h; the same on x86-64 and arm64.
SYS_CREATE_RULESET, SYS_ADD_RULE, SYS_RESTRICT_SELF = 444, 445, 446
ASK_VERSION, RULE_PATH_BENEATH = 1, 1
# linux/landlock.h: file rights by the version that brought them, and which of them reading is.
FS_RIGHTS = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
READ_FILE, READ_DIR = 1 << 2, 1 << 3
NET_FROM, NET_RIGHTS = 4, 0b11  # TCP: bind, connect
SCOPES_FROM, SCOPES = 6, 0b11  # abstract sockets and signals of processes outside
_RULESET, _PATH_RULE = struct.Struct("=QQQ"), struct.Struct("=Qi")
_LIBRARY = ctypes.CDLL(None, use_errno=True)


def limit_process(memory_bytes: int, open_files: int) -> None:
    """Bounds of this process, kept until it ends. Raises OSError or ValueError where the system does not allow to lower them."""
    parent = os.getppid()
    for order in ((PR_SET_PDEATHSIG, signal.SIGKILL), (PR_SET_DUMPABLE, 0), (PR_SET_NO_NEW_PRIVS, 1)):
        if _LIBRARY.prctl(*order, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:  # it ended before the order counted; in a container the parent may well be process 1
        raise OSError("The process that started this one is gone.")
    limits = (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_NOFILE, open_files),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    )
    for which, most in limits:
        resource.setrlimit(which, (most, most))


def landlock_version() -> int:
    """Which version of Landlock the kernel has; 0 when none or when it is forbidden."""
    found: int = _LIBRARY.syscall(SYS_CREATE_RULESET, None, ctypes.c_size_t(0), ASK_VERSION)
    return max(found, 0)


def confine(readable: Iterable[Path]) -> bool:
    """Shuts this thread and all that come from it in; whether the kernel does so. `limit_process` goes before. Raises OSError."""
    version = landlock_version()
    if not version:
        return False
    files = sum(rights for since, rights in FS_RIGHTS if version >= since)
    net = NET_RIGHTS if version >= NET_FROM else 0
    scopes = SCOPES if version >= SCOPES_FROM else 0
    ruleset = _RULESET.pack(files, net, scopes)
    # A kernel that does not know the later fields takes a shorter structure.
    size = 8 if version < NET_FROM else 16 if version < SCOPES_FROM else 24
    held = _call(SYS_CREATE_RULESET, ruleset, ctypes.c_size_t(size), 0)
    try:
        for path in readable:
            _allow_reading(held, path)
        _call(SYS_RESTRICT_SELF, held, 0)
    finally:
        os.close(held)
    return True


def _allow_reading(ruleset: int, path: Path) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:  # not every machine has every place
        return
    try:
        rights = READ_FILE | READ_DIR if path.is_dir() else READ_FILE
        _call(SYS_ADD_RULE, ruleset, RULE_PATH_BENEATH, _PATH_RULE.pack(rights, place), 0)
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    result: int = _LIBRARY.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
