"""Questions and commands to one VISCA camera over an open port: two commands at a time, errors and silences told apart.

VISCA does not say which question an answer belongs to. After any silence the line is therefore cleared with IF_Clear, whose echo comes
behind all late answers. "Buffer full" is waited for; "not executable" is tried again for a moment, and for longer after power-on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from hardware.errors import (
    ControlAnswerError,
    ControlError,
    ControlRefusedError,
    ControlSyntaxError,
    ControlTimeoutError,
    LinkError,
    LinkGarbledError,
    LinkSilentError,
)
from hardware.link import SerialLink
from hardware.visca_codec import (
    ADDRESS_SET,
    IF_CLEAR,
    Command,
    ErrorCode,
    Kind,
    Reply,
    ReplyDecoder,
    Sockets,
    encode,
    encode_cancel,
)

# A camera answers within a frame or two; a long packet takes 17 ms at 9600 baud, a chain of seven passes it on.
ANSWER_S = 1.2
BUFFER_FULL_S = 5.0
# How long "not executable" is tried again when the camera is warm: a mode change needs a frame or two.
REFUSED_S = 0.5
PAUSE_S = 0.1

T = TypeVar("T")


class ViscaLine:
    """Questions and commands to one camera over an open port."""

    def __init__(self, link: SerialLink, address: int) -> None:
        self._link = link
        self._address = address
        self._decoder = ReplyDecoder()
        self._replies: deque[Reply] = deque()
        self._heard = 0
        self.network_changed = False
        # Until when "not executable" may mean that the camera is still warming up.
        self.warm_at = 0.0

    def next_reply(self, timeout_s: float) -> Reply | None:
        """The next reply of our camera (or of a broadcast), or None when none came in time."""
        deadline = time.monotonic() + timeout_s
        late = False
        while True:
            while self._replies:
                reply = self._replies.popleft()
                if reply.kind is Kind.NETWORK_CHANGE:
                    self.network_changed = True
                elif reply.address in {0, self._address}:
                    return reply
            if late:
                return None
            left = deadline - time.monotonic()
            late = left <= 0
            data = self._link.read(max(0.0, left))
            self._heard += len(data)
            self._replies.extend(self._decoder.feed(data))

    def set_addresses(self) -> None:
        """Give the chain its addresses, clear all cameras' buffers."""
        self.network_changed = False
        reply = self._broadcast(ADDRESS_SET, Kind.ADDRESS_SET)
        count = reply.data[0] - 1
        if count < self._address:
            raise ControlRefusedError(
                f"The VISCA chain has {count} cameras, none with the address {self._address}: correct the settings."
            )
        self.clear()

    def clear(self) -> None:
        """Clear buffers; what comes behind the echo is no late answer any more."""
        self._broadcast(IF_CLEAR, Kind.IF_CLEAR)

    def _broadcast(self, packet: bytes, kind: Kind) -> Reply:
        for _ in range(2):
            self._heard = 0
            self._link.write(packet)
            deadline = time.monotonic() + ANSWER_S
            while (left := deadline - time.monotonic()) > 0:
                reply = self.next_reply(left)
                if reply is not None and reply.kind is kind:
                    return reply
        raise self._unanswered()

    def _unanswered(self) -> LinkError:
        if self._heard:
            return LinkGarbledError(
                f"{self._heard} bytes came from {self._link.path}, but no VISCA answer: check the speed and the cable."
            )
        return LinkSilentError(
            f"No camera answers at {self._link.path}: check that it has power, the cable (crossed) and the speed."
        )

    def ask(self, message: bytes, read: Callable[[bytes], T]) -> T:
        """Ask one question; return what `read` makes of the answer's data. It raises ControlAnswerError for data of no such answer."""
        while True:
            try:
                return self._ask_once(message, read)
            except ControlRefusedError:
                if time.monotonic() >= self.warm_at:
                    raise
                self._pause()

    def _ask_once(self, message: bytes, read: Callable[[bytes], T]) -> T:
        garbled: ControlAnswerError | None = None
        for attempt in range(2):
            if attempt:
                self.clear()
            self._heard = 0
            self._link.write(encode(self._address, message))
            deadline = time.monotonic() + ANSWER_S
            while (left := deadline - time.monotonic()) > 0:
                reply = self.next_reply(left)
                if reply is None:
                    break
                if reply.kind is Kind.COMPLETION and reply.data:
                    try:
                        return read(reply.data)
                    except ControlAnswerError as error:  # noise that looks like an answer, or one that lost a byte
                        garbled = error
                if reply.kind is Kind.ERROR:
                    raise refusal(f"the question {message.hex(' ')}", reply.error)
        raise garbled or self._unanswered()

    def _pause(self) -> None:
        deadline = time.monotonic() + PAUSE_S
        while (left := deadline - time.monotonic()) > 0:
            self.next_reply(left)

    def execute(self, commands: Sequence[Command]) -> None:
        """Perform commands, two at a time; return when all are completed, raise what the first that failed says."""
        waiting = deque(commands)
        sockets = Sockets()
        started: dict[str, float] = {}
        sent_at = ready_at = 0.0
        repeated = False
        failure: ControlError | None = None
        while sockets.busy or (waiting and failure is None):
            now = time.monotonic()
            may_send = bool(waiting) and failure is None and sockets.free
            if may_send and now >= ready_at:
                sockets.sent = command = waiting.popleft()
                started.setdefault(command.name, now)
                sent_at = now
                self._link.write(encode(self._address, command.message))
                may_send = False
            limits = [started[each.name] + each.timeout_s for each in sockets.running.values()]
            limits += [sent_at + ANSWER_S] if sockets.sent else []
            limits += [ready_at] if may_send else []
            reply = self.next_reply(min(limits) - time.monotonic())
            if reply is not None:
                over = sockets.take(reply)
                if over is not None and over[1] is not None:
                    command, error = over[0], over[1]
                    if time.monotonic() < self._patience_until(error, started[command.name]):
                        waiting.appendleft(command)
                        ready_at = time.monotonic() + PAUSE_S
                    else:
                        failure = failure or refusal(command.name, error)
                continue
            late = self._late(sockets, started)
            if late is not None:
                raise late
            if sockets.sent is not None and time.monotonic() >= sent_at + ANSWER_S:
                # Lost on the way, or its acknowledgement was: IF_Clear ends what runs, and all of it is sent once more.
                self.clear()
                if repeated:
                    raise ControlTimeoutError(
                        f"The camera answers, but not to {sockets.sent.name}: check the model in the settings."
                    )
                repeated = True
                waiting.extendleft([*sockets.running.values(), sockets.sent])
                sockets = Sockets()
        if failure is not None:
            raise failure

    def _patience_until(self, error: int, started: float) -> float:
        if error == ErrorCode.BUFFER_FULL:
            return started + BUFFER_FULL_S
        if error == ErrorCode.NOT_EXECUTABLE:
            return max(started + REFUSED_S, self.warm_at)
        return 0.0

    def _late(self, sockets: Sockets, started: Mapping[str, float]) -> ControlTimeoutError | None:
        for socket, command in sockets.running.items():
            if time.monotonic() >= started[command.name] + command.timeout_s:
                self._link.write(encode_cancel(self._address, socket))
                self.clear()
                return ControlTimeoutError(
                    f"The camera did not complete {command.name} within {command.timeout_s:.0f} s: switch it off and on."
                )
        return None


def refusal(name: str, error: int) -> ControlError:
    """Say what an error reply means."""
    if error == ErrorCode.SYNTAX:
        return ControlSyntaxError(f"The camera does not know the command for {name}: check the model in the settings.")
    if error == ErrorCode.BUFFER_FULL:
        return ControlTimeoutError(f"The camera stays too busy for {name}: switch it off and on.")
    if error == ErrorCode.NOT_EXECUTABLE:
        return ControlRefusedError(
            f"The camera refuses {name} now: it does not fit its present mode; correct the settings."
        )
    return ControlRefusedError(f"The camera gave up {name} (VISCA error {error:02X}): switch it off and on.")
