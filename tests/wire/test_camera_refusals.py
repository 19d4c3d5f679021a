"""A camera that answers something else than its stream: the status says what, and what to do about it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from hardware.camera_source import HttpSource, Patience
from hardware.errors import CameraLostError

OK = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frontier\r\n\r\n"


class Server:
    """Answers each connection with the next of its answers and closes it; an answer of None stays silent until the client goes."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/video"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection, suppress(OSError):
                connection.settimeout(20)
                request = connection.recv(4096)
                if not request:
                    return
                self.requests.append(request)
                answer = self.answers.pop(0)
                if answer is None:
                    connection.recv(1)
                elif answer.startswith(OK) and len(answer) > len(OK):
                    connection.sendall(OK)
                    while True:  # the rest again and again, until the client goes
                        connection.sendall(answer[len(OK) :])
                else:
                    connection.sendall(answer)

    def close(self) -> None:
        with suppress(OSError), socket.create_connection(self._listener.getsockname(), 5):
            pass
        self._thread.join(30)
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def watch(source: HttpSource) -> None:
    source.open()
    while True:
        source.read()


def why(url: str) -> str:
    source = HttpSource(url)
    try:
        with pytest.raises(CameraLostError) as lost:
            watch(source)
        return str(lost.value)
    finally:
        source.close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "(401): check user and password"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "(404): check its address"),
        (b"HTTP/1.0 503 Busy\r\n\r\n", "busy (503): end the other program"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n", "answers 302"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "answers 500"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n", "text/html, not with a stream"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "something, not with a stream"),
        (b"SSH-2.0-OpenSSH\r\n", "No camera answers"),
        (OK, "ended its stream"),
        (OK + b"noise without a picture" * 100, "bytes, but no picture: check its address and its format"),
        (None, "does not answer: switch it off and on"),
    ],
)
def test_what_keeps_a_stream_from_coming_is_told(server: Server, answer: bytes | None, words: str):
    server.answers = [answer]
    assert words in why(server.url)


def test_a_camera_that_is_slow_to_begin_is_given_more_time_until_it_is_quick_again():
    patience = Patience()
    assert patience.read_s == 3.0
    for read_s in (6.0, 6.0):
        patience.missed()
        assert patience.read_s == read_s
    patience.came_after(4.0)
    assert patience.read_s == 6.0
    patience.came_after(0.1)
    assert patience.read_s == 1.5


def test_nobody_there_is_told(server: Server):
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    assert "No camera answers at its address" in why(url)
    assert "check its address" in why("http://[::/")


def test_user_and_password_go_out_as_the_camera_asks_and_are_not_repeated(server: Server):
    challenge = (
        b'HTTP/1.1 401 x\r\nWWW-Authenticate: Digest realm="c", nonce="n", qop="auth"\r\nContent-Length: 0\r\n\r\n'
    )
    server.answers = [challenge, challenge, OK]
    told = why(server.url.replace("://", "://ann:secret@"))
    assert "ended its stream" in told
    assert b"authorization: basic" in server.requests[0].lower()
    assert b'authorization: digest username="ann"' in server.requests[2].lower()
