"""SoftHSM2 tokens for tests: an own store per folder, never the machine's."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PIN = b"482913"
OFFICER_PIN = "77120045"
MODULE = next(
    (
        path
        for path in (Path("/usr/lib/softhsm/libsofthsm2.so"), Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"))
        if path.exists()
    ),
    None,
)


class TokenStore:
    """A folder of tokens; `environment` lets a process find it."""

    def __init__(self, folder: Path) -> None:
        if MODULE is None or shutil.which("softhsm2-util") is None:
            pytest.skip("needs SoftHSM2: apt-get install softhsm2")
        self.folder = folder
        self.tokens = folder / "tokens"
        self.tokens.mkdir(parents=True)
        self.settings = folder / "softhsm2.conf"
        self.settings.write_text(
            f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        self.environment = {"SOFTHSM2_CONF": str(self.settings)}

    def add(self, label: str) -> None:
        """A new token with PIN."""
        command = ["softhsm2-util", "--init-token", "--free", "--label", label]
        done = subprocess.run(
            [*command, "--pin", PIN.decode(), "--so-pin", OFFICER_PIN],
            env=os.environ | self.environment,
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def uri(self, label: str, rest: str = "object=booth", query: str = "") -> str:
        return f"pkcs11:token={label};{rest}?module-path={MODULE}{query}"
