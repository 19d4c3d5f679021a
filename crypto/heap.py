"""How a program's memory goes back to the system. Here because booth and server share no other room.

The booth's pictures and the packets that the desk opens are large and short-lived, and many threads make them. By default glibc gives each thread a
heap of its own and, after the first large block was freed, keeps the next ones inside these heaps (its threshold for mapping grows up to 32 MB): what
was freed stays with the process, old pictures in it. So, before any library makes a thread:
  - blocks of LARGE_BYTES and more are mapped for themselves, always: freeing one gives its pages back at once, and nobody reads them again;
  - at most ARENAS heaps are shared by all threads.
What is smaller, freed, and lies between things that stay, goes back when `trim_heap` is called: after each visit (booth/checker.py), and every few
seconds in intake and desk (server/listener.py). Nobody finds pieces of a visit or of an opened packet there afterwards, and a flood of requests
leaves nothing that a year of floods could add up.
Another C library than glibc has its own rules and is left alone.
"""

from __future__ import annotations

import ctypes

# malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGE_BYTES = 1024 * 1024
ARENAS = 2
_LIBRARY = ctypes.CDLL(None)


def trim_heap() -> bool:
    """Gives whole pages of freed memory back now, in some milliseconds during which Python goes on; whether there were any."""
    trim = getattr(_LIBRARY, "malloc_trim", None)
    return trim is not None and trim(0) == 1


def return_freed_memory() -> bool:
    """For the whole process, from now on; whether the C library takes such orders."""
    mallopt = getattr(_LIBRARY, "mallopt", None)
    if mallopt is None:
        return False
    orders = ((M_MMAP_THRESHOLD, LARGE_BYTES), (M_TRIM_THRESHOLD, LARGE_BYTES), (M_ARENA_MAX, ARENAS))
    taken = [mallopt(which, value) == 1 for which, value in orders]  # every order is given
    return all(taken)
