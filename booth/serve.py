"""`booth run`: the booth and its pages in one process, from start-up checks to an orderly end.

Order of operations: forbid core dumps, let freed memory go back to the system (crypto/heap.py), read the settings, refuse two owners of `cv2`,
open the booth (devices, outbox, uplink), serve the pages on loopback, tell that they are served (systemd too, whose watchdog is fed from then on); on SIGINT or SIGTERM, or when an order from afar needs a new start, close the pages first, then the booth, and return.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib.metadata
import json
import logging
import os
import resource
import signal
from pathlib import Path

from booth.errors import ConfigInvalidError
from crypto.heap import return_freed_memory
from crypto.supervision import supervised

CV2_OWNERS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)

log = logging.getLogger(__name__)

PR_SET_DUMPABLE = 4  # linux/prctl.h


def forbid_core_dumps() -> None:
    """No picture of this process's memory on the disk, neither by a crash nor by another program of the same user; raises OSError."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Where core_pattern names a program, the limit alone does not stop the kernel from feeding it.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")


def check_one_owner_of_cv2() -> None:
    """Two OpenCV wheels overwrite each other's files; raises `ConfigInvalidError` naming them (docs/decisions/0003)."""
    owners = [name for name in CV2_OWNERS if _installed(name)]
    if len(owners) > 1:
        raise ConfigInvalidError(
            f"Two packages own the module cv2: {', '.join(owners)}. Uninstall all but opencv-python-headless."
        )


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


async def serve(config_path: Path, *, json_ready: bool) -> None:
    """Run until SIGINT or SIGTERM; raises the booth's errors when it cannot start."""
    forbid_core_dumps()
    return_freed_memory()
    from booth.config import Config
    from booth.kept_tries import TECHNICIAN
    from booth.logs import configure_logs
    from booth.runner import MAIN_TASKS, open_booth
    from booth.technician_login import TechnicianDoor
    from booth.training import open_training
    from booth.voice import open_voice
    from booth.web import open_pages

    check_one_owner_of_cv2()
    config = Config.load(config_path)
    training = open_training(config.training, config.intake.url)
    configure_logs(config)
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending.set)
    door = TechnicianDoor(
        config.technician_file,
        tries=config.booth.data_dir / TECHNICIAN,
        session_s=config.technician.session_minutes * 60,
    )
    if door.lock == "unset":
        log.warning("The technician's pages are closed: no passphrase is set (`booth config passphrase`).")
    async with (
        open_booth(config) as booth,
        open_voice(config.voice, config.booth.data_dir / "voice", booth.note) as voice,
        open_pages(booth, config.web.port, door=door, voice=voice, training=training) as address,
        supervised(MAIN_TASKS, booth.ailing) as ready,
    ):
        if os.environ.get("NOTIFY_SOCKET"):  # systemd starts it anew (deploy/systemd)
            booth.on_restart = ending.set
        ready()
        announce(address, json_ready=json_ready)
        await ending.wait()


def announce(address: str, *, json_ready: bool) -> None:
    """Say where the pages are; as one JSON line for programs."""
    if json_ready:
        print(json.dumps({"ready": True, "url": address}), flush=True)
    else:
        print(f"Kiosk page       {address}\nTechnician page  {address}technician\nCtrl-C ends the booth.", flush=True)
