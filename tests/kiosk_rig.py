"""The kiosk's browser as deploy/ starts it, for tests: without a screen, its profile on tmpfs, and with a line for the test's hand."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.journey.screens import CHROMIUM

PROJECT = Path(__file__).resolve().parent.parent
PROFILES = Path("/dev/shm")  # tmpfs, as /run is


@pytest.fixture
def kiosk_profile() -> Iterator[Path]:
    """A folder on tmpfs, as systemd gives one."""
    if not Path(CHROMIUM).exists():
        pytest.skip("needs Chromium: apt-get install chromium")
    folder = Path(tempfile.mkdtemp(prefix="kiosk-", dir=PROFILES))
    yield folder
    shutil.rmtree(folder)


class KioskBrowser:
    """The kiosk's browser as deploy/ starts it, without a screen and with a line for the test's hand."""

    def __init__(
        self, folder: Path, address: str, *, check_s: float = 5.0, more: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        flags = "--headless=new --no-sandbox --disable-gpu --remote-debugging-port=0 --window-size=1080,1920"
        environment = {
            **os.environ,
            **dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), str(folder)),
            "RUNTIME_DIRECTORY": str(folder),
            "PASSBOOTH_URL": address,
            "PASSBOOTH_CHROMIUM": CHROMIUM,
            "PASSBOOTH_FLAGS": flags,
            "PASSBOOTH_CHECK_S": str(check_s),
            **more,
        }
        self.folder = folder
        (folder / "profile" / "DevToolsActivePort").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [PROJECT / "deploy" / "kiosk" / "kiosk-browser"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    async def address(self) -> str:
        """Where the browser's debugger listens; it writes so into its profile."""
        port = self.folder / "profile" / "DevToolsActivePort"
        async with asyncio.timeout(30):
            while not port.exists() or "\n" not in port.read_text():
                await asyncio.to_thread(threading.Event().wait, 0.05)
        return f"http://127.0.0.1:{port.read_text().split()[0]}"

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
