"""PKCS #11 modules of this process: each loaded once, started once, used by one thread at a time.

C_Initialize is called without locking, so whoever uses a module holds its lock. A module that cannot be loaded needs a person; one that is
loaded and does not start may do so later, when its device or service is there.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pkcs11

from crypto.errors import KeyUnavailableError, SigningError


@dataclass(eq=False)
class Module:
    """A loaded PKCS #11 module; `starts` tells sessions of before a new start."""

    cryptoki: Any
    lock: threading.RLock = field(default_factory=threading.RLock)
    starts: int = 0
    refused: dict[bytes, bytes] = field(default_factory=dict)  # token's serial number: digest of the PIN it refused

    def start_anew(self) -> None:
        """Ends and starts the module; sessions of before are gone."""
        self.starts += 1
        self.cryptoki.reinitialize()


_modules: dict[Path, Module] = {}
_modules_lock = threading.Lock()


def module_at(path: Path) -> Module:
    """The module at a path, loaded and started once in this process."""
    real = path.resolve()  # the same library by two names must not be started twice
    with _modules_lock:
        if real not in _modules:
            if not real.is_file():
                raise KeyUnavailableError(
                    f"The token's module {path} is not there: install it, or correct module-path."
                )
            try:
                _modules[real] = Module(pkcs11.lib(str(real)))
            except pkcs11.PKCS11Error as err:
                if (
                    type(err) is not pkcs11.PKCS11Error
                ):  # it is a module, and does not start: what it needs may come yet
                    raise SigningError(f"The token's module {path} does not start ({type(err).__name__}).") from err
                raise KeyUnavailableError(
                    f"The token's module {path} cannot be loaded, or is no PKCS #11 module."
                ) from err
        return _modules[real]
