"""Questions that come while one is answered are answered together next: one round trip, or one transaction, for many.

Rules: whoever asks waits for his own answer alone; a failure is told to each that asked with it, and the next ones are served; who gives up meanwhile harms nobody. The work runs only while
somebody waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Gathering(Generic[Q, A]):
    """Answers questions by `answer`, at most `most` at once, each by its place; `name` is the task's."""

    def __init__(self, answer: Callable[[Sequence[Q]], Awaitable[Sequence[A]]], most: int, name: str) -> None:
        self._answer, self._most, self._name = answer, most, name
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._serving: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """The answer. Raises what `answer` raises."""
        given: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, given))
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve(), name=self._name)
        return await given

    async def _serve(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            try:
                answers = await self._answer([question for question, _ in taken])
            except Exception as error:  # noqa: BLE001 - each that asked is told; the next ones are served
                for _, given in taken:
                    if not given.done():
                        given.set_exception(error)
            else:
                for (_, given), answer in zip(taken, answers, strict=True):
                    if not given.done():  # given up meanwhile
                        given.set_result(answer)
