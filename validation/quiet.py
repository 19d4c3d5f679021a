"""Starting mediapipe without what nobody here needs: its chatter on descriptor 2, its plotting, its sound."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import cast

# What mediapipe 0.10.21 writes to descriptor 2 on every start, whatever its log level; other lines are passed on.
CHATTER = (
    b"Created TensorFlow Lite XNNPACK delegate",
    b"All log messages before absl::InitializeLog",
    b"inference_feedback_manager",
    b"landmark_projection_calculator",
)


@contextmanager
def without_chatter() -> Iterator[None]:
    """Runs the body with descriptor 2 caught; passes on every line that is not known start-up chatter of the graph."""
    sys.stderr.flush()
    saved, caught = os.dup(2), os.memfd_create("stderr")
    os.dup2(caught, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        size = os.lseek(caught, 0, os.SEEK_CUR)
        lines = os.pread(caught, size, 0).splitlines(keepends=True)
        kept = b"".join(line for line in lines if not any(known in line for known in CHATTER))
        if kept:
            os.write(2, kept)
        os.close(caught)
        os.close(saved)


@contextmanager
def without_extras() -> Iterator[None]:
    """Runs the body with empty stand-ins for matplotlib, and with no sound library, unless they are loaded already.

    mediapipe imports both for helpers that nobody here calls. Plotting is more than half of the start-up time (1.0 of 1.7 s) and 25 MB;
    the sound library opens the machine's audio devices.
    """
    plots, pyplot = ModuleType("matplotlib"), ModuleType("matplotlib.pyplot")
    plots.pyplot = pyplot  # type: ignore[attr-defined]
    stand_ins: dict[str, ModuleType | None] = {"sounddevice": None}  # None: importing it fails, which mediapipe expects
    if "matplotlib" not in sys.modules:
        stand_ins |= {"matplotlib": plots, "matplotlib.pyplot": pyplot}
    ours = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    modules.update(ours)
    try:
        yield
    finally:
        for name in ours:  # whoever imports it later gets the real one
            modules.pop(name, None)
