"""The serial link and its port against a bare pseudo-terminal: exclusive, timed, translated, told once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import select
import threading
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from hardware.errors import (
    ControlRefusedError,
    ControlValueError,
    HardwareError,
    LinkBusyError,
    LinkError,
    LinkLostError,
    LinkMissingError,
    LinkSilentError,
    SettingsError,
)
from hardware.link import DeviceState, DeviceStatus, Port, SerialLink, StatusBoard, read_serial_path


class Cable:
    """A pseudo-terminal under a stable name, as /dev/serial/by-id gives it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.master = self.slave = -1
        self.plug()

    def plug(self) -> None:
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(self.slave))

    def unplug(self) -> None:
        if self.master >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self.slave)
            os.close(self.master)
            self.master = self.slave = -1


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    made = Cable(tmp_path / "device")
    yield made
    made.unplug()


@pytest.fixture
def link(cable: Cable) -> Iterator[SerialLink]:
    made = SerialLink(str(cable.path), 57600)
    made.open()
    yield made
    made.close()


def test_bytes_go_both_ways(cable: Cable, link: SerialLink):
    link.write(b"ping")
    assert os.read(cable.master, 9) == b"ping"
    os.write(cable.master, b"pong")
    assert link.read(1) == b"pong"
    assert link.read(0) == b""


def test_a_second_program_is_kept_out(cable: Cable, link: SerialLink):
    with pytest.raises(LinkBusyError, match="another program"):
        SerialLink(str(cable.path), 57600).open()


def test_nothing_at_the_path_is_missing(tmp_path: Path):
    with pytest.raises(LinkMissingError, match="plug it in"):
        SerialLink(str(tmp_path / "nothing"), 9600).open()


def test_what_is_no_terminal_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(LinkError):
        SerialLink(str(tmp_path / "file"), 9600).open()


def test_a_pulled_cable_is_lost_in_every_call(cable: Cable, link: SerialLink):
    cable.unplug()
    for call in (lambda: link.read(1), lambda: link.write(b"x"), link.discard):
        with pytest.raises(LinkLostError, match=r"was lost \((the port ended|Input/output error)\): check the cable"):
            call()
    link.close()
    with pytest.raises(LinkLostError):
        link.read(0)


def test_a_peer_that_takes_nothing_is_silent(link: SerialLink):
    with pytest.raises(LinkSilentError):
        link.write(bytes(1_000_000))


def test_what_a_peer_did_not_take_never_reaches_it(cable: Cable, link: SerialLink):
    with pytest.raises(LinkSilentError, match="does not read"):
        link.write(bytes(1_000_000))
    os.set_blocking(cable.master, False)
    with contextlib.suppress(BlockingIOError):
        while os.read(cable.master, 1 << 20):
            pass
    link.write(b"new")
    poll = select.poll()
    poll.register(cable.master, select.POLLIN)
    assert poll.poll(5000)
    assert os.read(cable.master, 100) == b"new"


def test_a_write_that_waits_ends_when_the_port_is_closed_and_burns_no_time(cable: Cable):
    stopping = threading.Event()
    made = SerialLink(str(cable.path), 57600, stopping)
    made.open()
    timer = threading.Timer(0.2, stopping.set)
    timer.start()
    cpu = time.thread_time()
    try:
        with pytest.raises(LinkLostError, match="being closed"):
            made.write(bytes(1_000_000))
        assert time.thread_time() - cpu < 0.15  # a loop without a pause takes all of it
    finally:
        timer.join()
        made.close()


def test_clearing_a_line_ends_also_when_something_babbles(cable: Cable, link: SerialLink):
    ended = threading.Event()

    def babble() -> None:
        os.set_blocking(cable.master, False)
        while not ended.is_set():
            with contextlib.suppress(BlockingIOError):
                os.write(cable.master, bytes(64))
            ended.wait(0.0005)

    thread = threading.Thread(target=babble)
    thread.start()
    try:
        assert select.select([link.fileno()], [], [], 5)[0]
        assert link.discard() > 0
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize(
    "url", ["wled+serial://dev/x", "dmx+serial:///dev/x", "wled+serial:dev/x", "wled+serial:///dev/x?y", "", "/dev/x"]
)
def test_what_names_no_port_is_refused(url: str):
    with pytest.raises(SettingsError):
        read_serial_path(url, "wled+serial")


class Echo:
    """Greets, then echoes; the shake of hands is one byte back."""

    def __init__(self) -> None:
        self.connects = 0

    def connect(self, link: SerialLink) -> Mapping[str, str]:
        self.connects += 1
        self.ask(link)
        return {"firmware": "1"}

    def idle(self, link: SerialLink) -> None:
        self.ask(link)

    def ask(self, link: SerialLink) -> bytes:
        link.write(b"?")
        if not (data := link.read(0.2)):
            raise LinkSilentError("silence")
        return data


class Peer:
    """Answers each byte from the event loop."""

    def __init__(self, cable: Cable) -> None:
        self.cable, self.mute = cable, False
        self.watch()

    def watch(self) -> None:
        asyncio.get_running_loop().add_reader(self.cable.master, self.answer)

    def ignore(self) -> None:
        if self.cable.master >= 0:
            asyncio.get_running_loop().remove_reader(self.cable.master)

    def answer(self) -> None:
        try:
            data = os.read(self.cable.master, 100)
        except OSError:  # nobody has the other side open
            return
        if not self.mute:
            os.write(self.cable.master, data)


class Watcher:
    """Collects what is told."""

    def __init__(self) -> None:
        self.told: list[DeviceStatus] = []
        self.news: asyncio.Queue[DeviceState] = asyncio.Queue()

    def __call__(self, status: DeviceStatus) -> None:
        self.told.append(status)
        self.news.put_nowait(status.state)

    async def wait(self, state: DeviceState) -> None:
        async with asyncio.timeout(5):
            while await self.news.get() is not state:
                pass


async def test_a_port_heals_by_itself_and_tells_each_way_once(cable: Cable, no_tasks_left, caplog):
    peer, watcher, dialogue = Peer(cable), Watcher(), Echo()
    board = StatusBoard("echo", "x", watcher)
    port = Port(board, str(cable.path), 57600, dialogue, idle_s=0.1)
    try:
        await port.open()
        assert board.status.state is DeviceState.READY
        assert board.status.info == {"firmware": "1"}
        assert await port.run(dialogue.ask) == b"?"

        peer.ignore()
        cable.unplug()
        await watcher.wait(DeviceState.LOST)
        with pytest.raises(LinkLostError, match="lost"):
            await port.run(dialogue.ask)
        cable.plug()
        peer.watch()
        await watcher.wait(DeviceState.READY)
        assert await port.run(dialogue.ask) == b"?"

        peer.mute = True
        await watcher.wait(DeviceState.LOST)
        peer.mute = False
        await watcher.wait(DeviceState.READY)
    finally:
        peer.ignore()
        await port.close()
    assert [each.state for each in watcher.told] == [DeviceState.READY, DeviceState.LOST] * 2 + [DeviceState.READY]
    assert dialogue.connects >= 3


async def test_a_port_opens_without_its_device_and_is_found_later(tmp_path: Path, no_tasks_left):
    watcher = Watcher()
    board = StatusBoard("echo", "x", watcher)
    port = Port(board, str(tmp_path / "device"), 57600, Echo(), idle_s=5)
    cable = None
    try:
        await port.open()
        assert board.status.state is DeviceState.MISSING
        assert "plug it in" in board.status.detail
        with pytest.raises(LinkLostError):
            await port.run(lambda link: None)
        cable = Cable(tmp_path / "device")
        peer = Peer(cable)
        await watcher.wait(DeviceState.READY)
        peer.ignore()
    finally:
        await port.close()
        if cable is not None:
            cable.unplug()


async def test_a_defect_in_a_job_reaches_the_caller_and_the_port_lives_on(cable: Cable, no_tasks_left):
    peer, board, dialogue = Peer(cable), StatusBoard("echo", "x", None), Echo()
    port = Port(board, str(cable.path), 57600, dialogue, idle_s=5)
    try:
        await port.open()
        with pytest.raises(ZeroDivisionError):
            await port.run(lambda link: 1 // 0)
        assert await port.run(dialogue.ask) == b"?"
    finally:
        peer.ignore()
        await port.close()


async def test_closing_does_not_wait_for_a_silent_device(cable: Cable, no_tasks_left):
    class Patient(Echo):
        def connect(self, link: SerialLink) -> Mapping[str, str]:
            link.read(60)
            return {}

    port = Port(StatusBoard("echo", "x", None), str(cable.path), 57600, Patient(), idle_s=5)
    opening = asyncio.ensure_future(port.open())
    await asyncio.wait_for(opening, 5)
    async with asyncio.timeout(2):
        await port.close()


async def test_a_refusal_stands_in_the_status_until_a_setting_is_taken_and_is_logged_once_each_way(
    cable: Cable, no_tasks_left, caplog
):
    peer, board = Peer(cable), StatusBoard("echo", "x", None)
    port = Port(board, str(cable.path), 57600, Echo(), idle_s=5)

    def refuse(error: type[HardwareError]) -> Callable[[SerialLink], None]:
        def job(link: SerialLink) -> None:
            with board.judging():
                raise error("no: correct it")

        return job

    def take(link: SerialLink) -> None:
        with board.judging():
            pass

    caplog.set_level("INFO", logger="hardware")
    try:
        await port.open()
        with pytest.raises(ControlValueError):
            await port.run(refuse(ControlValueError))  # our mistake says nothing about the device
        assert board.status.detail == "answers"
        for _ in range(2):
            with pytest.raises(ControlRefusedError):
                await port.run(refuse(ControlRefusedError))
            assert (board.status.state, board.status.detail) == (DeviceState.READY, "no: correct it")
        for _ in range(2):
            await port.run(take)
            assert board.status.detail == "answers"
        assert board.status.info == {"firmware": "1"}
    finally:
        peer.ignore()
        await port.close()
    assert [one.levelname for one in caplog.records] == ["INFO", "WARNING", "INFO"]
