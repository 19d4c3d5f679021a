"""The booth as a witness: a log may grow, never change; only a contradiction keeps a packet, and it is told."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from booth.config import IntakeSection
from booth.log_witness import MAX_ANSWER_BYTES, MAX_LOGS, NAME, LogWitness
from crypto.errors import LogProofError
from crypto.keys import load_trust, make_development_pki, open_signer
from crypto.receipt import verify_receipt
from tests.receipts import ReceiptPad


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Path:
    return make_development_pki(tmp_path_factory.mktemp("pki"))


def digests(prefix: str, number: int) -> list[str]:
    return [hashlib.sha256(f"{prefix} {i}".encode()).hexdigest() for i in range(number)]


class Scene:
    """A booth's witness, and an intake that answers for whichever log is put before it."""

    def __init__(self, folder: Path, pki: Path, worker) -> None:
        self.folder, self.worker = folder, worker
        self.trust = load_trust(pki / "ca.pem")
        self.signer = open_signer(f"file:{pki / 'intake.key'}")
        self.settings = IntakeSection(url="https://intake.test", trust=pki / "ca.pem")
        self.pad = ReceiptPad(self.signer)
        self.answer: object = None
        self.asked: list[str] = []
        self.told: list[object] = []
        self.witness = LogWitness(folder, self.trust)

    def restart(self) -> None:
        self.witness = LogWitness(self.folder, self.trust)

    def other_history(self, number: int) -> ReceiptPad:
        """A log of the same name with other entries."""
        other = ReceiptPad(self.signer, self.pad.log)
        other.give(*digests("other", number))
        return other

    async def judge(self, *names: str, pad: ReceiptPad | None = None) -> None:
        digest = hashlib.sha256(names[-1].encode()).hexdigest()
        data = (pad or self.pad).give(*(hashlib.sha256(one.encode()).hexdigest() for one in names))
        await self.judge_data(data, digest, pad or self.pad)

    async def judge_data(self, data: bytes, digest: str, pad: ReceiptPad) -> None:
        def answer(request: httpx2.Request) -> httpx2.Response:
            self.asked.append(str(request.url.query, "ascii"))
            if isinstance(self.answer, Exception):
                raise self.answer
            if isinstance(self.answer, httpx2.Response):
                return self.answer
            return httpx2.Response(200, json=pad.consistency(dict(request.url.params)))

        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
            receipt = verify_receipt(data, self.trust, digest)
            await self.witness.judge(
                receipt, client, self.settings, self.worker, lambda _, error: self.told.append(error)
            )

    @property
    def size(self) -> int:
        return self.witness.newest(self.pad.log).size


@pytest.fixture
def scene(tmp_path, pki):
    with ThreadPoolExecutor(1) as worker:
        yield Scene(tmp_path, pki, worker)


async def test_a_growing_log_is_followed_over_restarts(scene):
    for turn in range(5):
        await scene.judge(*(f"{turn} {i}" for i in range(turn + 1)))
        if turn % 2:
            scene.restart()
    assert scene.size == 15
    assert scene.asked == ["first=1&second=3", "first=3&second=6", "first=6&second=10", "first=10&second=15"]
    assert set(scene.told) == {None}


async def test_packets_of_one_batch_need_no_question(scene):
    names = digests("packet", 4)
    scene.pad.give(*names)
    for digest, data in zip(names, scene.pad.extension.receipts, strict=True):
        await scene.judge_data(data, digest, scene.pad)
    assert scene.asked == []


async def test_an_old_receipt_given_again_is_proved_too_and_takes_nothing_back(scene):
    (digest,) = digests("first", 1)
    old = scene.pad.give(digest)
    await scene.judge_data(old, digest, scene.pad)
    await scene.judge("a", "b")
    await scene.judge_data(old, digest, scene.pad)
    assert scene.asked == ["first=1&second=3"] * 2
    assert scene.size == 3


async def test_another_root_at_the_same_size_is_a_contradiction(scene):
    await scene.judge("a", "b")
    other = scene.other_history(1)
    with pytest.raises(LogProofError, match="contradicts itself"):
        await scene.judge("x", pad=other)
    assert isinstance(scene.told[-1], LogProofError)
    assert scene.asked == []


async def test_a_rewritten_log_is_a_contradiction_until_it_is_gone(scene):
    await scene.judge("a", "b", "c")
    other = scene.other_history(7)
    for name in ("x", "y"):
        with pytest.raises(LogProofError, match="contradicts itself"):
            await scene.judge(name, pad=other)
    scene.restart()
    with pytest.raises(LogProofError):
        await scene.judge("z", pad=other)
    assert scene.size == 3
    await scene.judge("d")
    assert (scene.size, scene.told[-1]) == (4, None)


async def test_a_log_that_was_cut_off_and_goes_on_with_other_entries_is_a_contradiction(scene):
    """A database restored from an old backup."""
    backup = ReceiptPad(scene.signer, scene.pad.log)
    first = digests("kept", 5)
    scene.pad.give(*first)
    backup.give(*first)
    await scene.judge("a", "b", "c")
    scene.answer = httpx2.Response(400, json={"code": "request.malformed"})  # it knows six entries only
    await scene.judge("x", pad=backup)
    assert scene.size == 8
    scene.answer = None
    backup.give(*digests("more", 4))
    with pytest.raises(LogProofError):
        await scene.judge("y", pad=backup)


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.ConnectError("no way"),
        httpx2.ReadTimeout("slow"),
        OSError(5, "I/O"),
        httpx2.Response(404),
        httpx2.Response(503, json={"proof": []}),
        httpx2.Response(200, content=b"<html>"),
        httpx2.Response(200, content=b"[" * 5000),
        httpx2.Response(200, json=[]),
        httpx2.Response(200, json={}),
        httpx2.Response(200, json={"proof": "00"}),
        httpx2.Response(200, json={"proof": [1]}),
        httpx2.Response(200, json={"proof": ["zz"]}),
        httpx2.Response(200, json={"proof": ["00"]}),
        httpx2.Response(200, json={"proof": ["00" * 32] * 60}),
        httpx2.Response(200, content=b" " * (MAX_ANSWER_BYTES + 1)),
    ],
)
async def test_no_answer_keeps_nothing_back_and_is_asked_for_again(scene, answer):
    await scene.judge("a")
    scene.answer = answer
    await scene.judge("b")
    assert scene.size == 1
    scene.answer = None
    await scene.judge("c")
    assert scene.size == 3
    assert scene.asked == ["first=1&second=2", "first=1&second=3"]


async def test_a_proof_that_proves_nothing_is_a_contradiction(scene):
    await scene.judge("a")
    for proof in ([], ["00" * 32], ["00" * 32] * 3):
        scene.answer = httpx2.Response(200, json={"proof": proof})
        with pytest.raises(LogProofError, match="contradicts itself"):
            await scene.judge("b")
    assert scene.size == 1


async def test_another_log_is_told_once_and_then_followed(scene):
    await scene.judge("a")
    other = ReceiptPad(scene.signer)
    await scene.judge("b", pad=other)
    assert "another log" in str(scene.told[-1])
    await scene.judge("c", pad=other)
    assert scene.told[-1] is None
    await scene.judge("d")
    assert scene.size == 2
    for _ in range(MAX_LOGS):
        await scene.judge("e", pad=ReceiptPad(scene.signer))
    assert len(json.loads((scene.folder / NAME).read_bytes())) == MAX_LOGS
    assert scene.witness.newest(other.log) is None


@pytest.mark.parametrize("stored", [b"", b"{", b"[1]", b'["AAAA"]', b'["\xff"]', b"{}", b"7", b"[" * 100_000])
async def test_a_file_that_cannot_be_used_counts_as_nothing_known(scene, stored):
    await scene.judge("a")
    (scene.folder / NAME).write_bytes(stored)
    scene.restart()
    assert scene.witness.newest(scene.pad.log) is None
    await scene.judge("b")
    scene.restart()
    assert scene.size == 2


async def test_a_disk_that_is_full_keeps_nothing_back(scene, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("booth.log_witness.write_whole", full)
    await scene.judge("a")
    await scene.judge("b")
    assert scene.size == 2
    assert not (scene.folder / NAME).exists()
