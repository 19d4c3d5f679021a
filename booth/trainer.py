"""The trainer: which fault is hidden in the virtual booth, what is before its camera, and how the technician's answers are judged.

Order of an exercise: the fault before it is taken away and the booth emptied, the next one is hidden; the technician looks, tests and answers once; the
fault stays until the next exercise, so that he can look again. The booth's controller learns of none of this but what a TrainingView says.

What is told to the virtual booth are the orders of docs/virtual-booth.md: a fault is what the wire and the picture show, nothing in the product.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from booth.training import ANSWER_S, MOST_BYTES, SCENES, Outcome, Scene, TrainingView

log = logging.getLogger(__name__)

Order = Mapping[str, Any]
Tell = Callable[..., Awaitable[Any]]
LAMPS = ("key_left", "key_right", "fill_top", "background")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault as the virtual booth is told it; `cause` is the answer that is right."""

    name: str
    cause: str
    orders: Callable[[random.Random], tuple[Order, ...]]


def _lamp(**how: object) -> Callable[[random.Random], tuple[Order, ...]]:
    return lambda chance: ({"lamp": chance.choice(LAMPS), **how},)


def _always(*orders: Order) -> Callable[[random.Random], tuple[Order, ...]]:
    return lambda _: orders


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        fault.name: fault
        for fault in (
            Fault("nothing", "nothing", _always()),
            Fault("dead_lamp", "lamp_dark", _lamp(dead=True)),
            Fault("unaddressed_lamp", "lamp_dark", _lamp(connected=False)),
            Fault("weak_lamp", "lamp_weak", _lamp(strength=0.6)),
            Fault("swapped_lamps", "lamps_swapped", lambda chance: ({"swap": chance.sample(LAMPS, 2)},)),
            Fault("lamps_cable", "lamps_cable", _always({"fault": "lights.unplug", "on": True})),
            Fault("controls_cable", "controls_cable", _always({"fault": "visca.unplug", "on": True})),
            Fault("frozen_camera", "camera_frozen", _always({"fault": "camera.freeze", "on": True})),
            Fault("unfocused_lens", "lens_unfocused", _always({"lens": {"defocus_px": 4}})),
            Fault("tilted_camera", "camera_tilted", _always({"lens": {"tilt_deg": 3}})),
            Fault("colour_cast", "colour_cast", _always({"lens": {"cast": [1.2, 1, 0.8]}})),
        )
    }
)
CAUSES: tuple[str, ...] = tuple(dict.fromkeys(fault.cause for fault in FAULTS.values()))
SOUND: tuple[Order, ...] = (
    *({"lamp": lamp, "dead": False} for lamp in LAMPS),
    *({"lamp": lamp, "connected": True} for lamp in LAMPS),
    *({"lamp": lamp, "strength": 1} for lamp in LAMPS),
    {"swap": None},
    {"lens": None},
    *({"fault": name, "on": False} for name in ("lights.unplug", "visca.unplug", "camera.freeze")),
)
BEFORE_CAMERA: Mapping[Scene, tuple[Order, ...]] = MappingProxyType(
    {
        "empty": ({"card": None}, {"sitter": "absent"}),
        "card": ({"sitter": "absent"}, {"card": "test"}),
        "sitter": ({"card": None}, {"sitter": "still"}),
    }
)


def choose_faults(name: str | None, rounds: int, chance: random.Random) -> tuple[Fault, ...]:
    """The faults of a training: the named one each time, else by chance, none again before all were."""
    if name is not None:
        return (FAULTS[name],) * rounds
    chosen: list[Fault] = []
    while len(chosen) < rounds:
        some = list(FAULTS.values())
        chance.shuffle(some)
        chosen += some
    return tuple(chosen[:rounds])


class Trainer:
    """One training; `tell` gives the virtual booth an order (keywords: one JSON object)."""

    def __init__(self, faults: Sequence[Fault], tell: Tell, chance: random.Random) -> None:
        self.faults: tuple[Fault, ...] = tuple(faults)
        self._tell, self._chance = tell, chance
        self._at = 0
        self._right = self._answered = 0
        self._scene: Scene = "empty"
        self._outcome: Outcome | None = None
        self._turn = asyncio.Lock()

    @property
    def view(self) -> TrainingView:
        """Where the training stands."""
        return TrainingView(
            exercise=self._at + 1,
            exercises=len(self.faults),
            answered=self._answered,
            right=self._right,
            over=self._answered == len(self.faults),
            scene=self._scene,
            causes=CAUSES,
            outcome=self._outcome,
        )

    async def begin(self) -> None:
        """Hide this exercise's fault in a booth that is sound and empty."""
        self._outcome = None
        for order in SOUND:
            await self._tell(**order)
        await self.show("empty")
        for order in self.faults[self._at].orders(self._chance):
            await self._tell(**order)

    async def show(self, scene: Scene) -> None:
        """Who or what is before the camera."""
        for order in BEFORE_CAMERA[scene]:
            await self._tell(**order)
        self._scene = scene

    async def follow(self, order: Mapping[str, object]) -> TrainingView:
        """One order of the pages; what makes no sense now changes nothing."""
        async with self._turn:
            scene = order.get("scene")
            if scene in SCENES:
                await self.show(next(each for each in SCENES if each == scene))
            elif isinstance(given := order.get("answer"), str) and given in CAUSES and self._outcome is None:
                cause = self.faults[self._at].cause
                self._outcome = Outcome(given=given, cause=cause, right=given == cause)
                self._answered += 1
                self._right += given == cause
            elif order.get("next") is True and self._outcome is not None and not self.view.over:
                self._at += 1
                await self.begin()
            return self.view

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the controller: a line in, a line out."""
        try:
            async with asyncio.timeout(ANSWER_S):
                order = json.loads(await reader.readline())
            if isinstance(order, dict):
                view = await self.follow(order)
                writer.write(view.model_dump_json().encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError, TimeoutError) as error:
            log.warning("A message to the trainer was not understood: %s", type(error).__name__)
        finally:
            writer.close()


async def listen(trainer: Trainer, socket: Path) -> asyncio.Server:
    """The trainer's socket, for this user alone."""
    server = await asyncio.start_unix_server(trainer.answer, socket, limit=MOST_BYTES)
    await asyncio.to_thread(socket.chmod, 0o600)
    return server
