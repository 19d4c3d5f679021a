"""The controller's side of training (`booth train`): it knows that it is one, and where the trainer listens; never which fault is hidden.

Rules:
  - A training booth says so on every page, and sends nothing anywhere: its intake must be on this machine (checked here, at start).
  - The trainer is a Unix socket beside the booth's data: one JSON object a line each way. What it answers is read strictly; a trainer that is gone is told
    (TrainerLostError), and the booth itself works on.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from booth.errors import ConfigInvalidError, TrainerLostError

ANSWER_S = 5.0
MOST_BYTES = 65_536

Scene = Literal["empty", "card", "sitter"]
SCENES: tuple[Scene, ...] = ("empty", "card", "sitter")
Name = Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,40}$")]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainingSection(_Value):
    """[training] written by `booth train` alone."""

    socket: Path


class Outcome(_Value):
    """How an answer was judged."""

    given: Name
    cause: Name
    right: bool


class TrainingView(_Value):
    """Where the training stands."""

    exercise: int
    exercises: int
    answered: int
    right: int
    over: bool
    scene: Scene
    causes: tuple[Name, ...]  # to choose from
    outcome: Outcome | None  # of this exercise, once it was answered


class TrainingDesk:
    """The way to the trainer."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def view(self) -> TrainingView:
        """Where the training stands. Raises TrainerLostError."""
        return await self.tell({"state": True})

    async def tell(self, order: dict[str, object]) -> TrainingView:
        """One order to the trainer; where the training stands afterwards. Raises TrainerLostError."""
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(str(self._socket), limit=MOST_BYTES)
                try:
                    writer.write(json.dumps(order).encode() + b"\n")
                    await writer.drain()
                    line = await reader.readline()
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
            return TrainingView.model_validate_json(line)
        except (OSError, TimeoutError, ValueError, ValidationError) as error:
            raise TrainerLostError("The trainer does not answer: is `booth train` still running?") from error


def open_training(section: TrainingSection | None, intake_url: str) -> TrainingDesk | None:
    """The way to the trainer, where there is one. Raises ConfigInvalidError when a training booth could reach a real intake."""
    if section is None:
        return None
    host = urlsplit(intake_url).hostname or ""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise ConfigInvalidError(
            "training: a training booth has its intake on this machine; take [training] out of booth.toml."
        )
    return TrainingDesk(section.socket)
