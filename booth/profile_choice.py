"""Which profile the booth judges by, when an order chose another than booth.toml names: the file `profile.json` in data_dir.

Rules: the choice holds from the next start on, and only as long as booth.toml names the profile that it replaced: whoever edits that file has the last word. A
technician takes it back on his page. A choice that cannot be read, or names a profile that is not on this booth's disk any more, counts as none, and is told. Written
whole, 0600. Blocks.
"""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from crypto.key_folder import PRIVATE, read_file, sync_folder, write_whole
from validation.errors import ProfileInvalidError, ProfileUnknownError
from validation.profile import load_profile

log = logging.getLogger(__name__)

NAME = "profile.json"
MAX_BYTES = 1024


class ChosenProfile(BaseModel):
    """The choice of an order."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    profile: str
    instead_of: str
    order: str
    by: str
    chosen_at: str  # UTC, ISO 8601


class ProfileChoice:
    """One booth's."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / NAME

    def read(self, configured: str) -> ChosenProfile | None:
        """The choice that counts beside the configured profile."""
        try:
            chosen = ChosenProfile.model_validate_json(read_file(self._path, MAX_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            log.warning("%s cannot be read (%s): the profile of booth.toml counts", self._path, type(error).__name__)
            return None
        return chosen if chosen.instead_of == configured else None

    def choose(self, chosen: ChosenProfile) -> None:
        """From the next start on. Raises OSError."""
        write_whole(self._path, chosen.model_dump_json().encode(), PRIVATE)

    def forget(self) -> None:
        """The profile of booth.toml counts from the next start on. Raises OSError."""
        self._path.unlink(missing_ok=True)
        sync_folder(self._path.parent)

    def in_force(self, configured: str) -> str:
        """The name of the profile to judge by; the configured one when the chosen one cannot be used."""
        chosen = self.read(configured)
        if chosen is not None:
            try:
                return load_profile(chosen.profile).name
            except (ProfileInvalidError, ProfileUnknownError) as error:
                log.warning("the profile %s that an order chose cannot be used: %s", chosen.profile, error)
        return configured
