"""Packets that are validly signed and hostile through and through: every text, number and picture of them, on every page and in every export of the desk."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import tracemalloc
import uuid
from datetime import UTC, datetime

import pytest
from starlette.routing import Mount

from crypto.desk_secret import load_desk_secret
from crypto.seal import HeaderFields, seal, sign
from server.desk_terms import DeskTerms
from server.messages import load_messages
from server.queue_reader import QueueReader
from server.recheck_wire import MOST_PIXELS
from server.rechecker import ENVIRONMENT
from server.roles import Role
from tests.desk_rig import opened_desk
from tests.fake_checker import READY, checker
from tests.hostile import (
    MARK,
    NUMBERS,
    ODD,
    REPORT,
    STEERING,
    WORDS,
    chips,
    faults_of,
    in_turn,
    of_words,
    packages,
    pictures,
    plain_package,
    poisoned,
    records,
)
from tests.sealed_packets import APPLICANT, Keys

MESSAGES = load_messages()
# A page of a packet at its worst: 200 findings of some lines each. Everything else is smaller.
MOST_PAGE_BYTES = 3_000_000


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("hostile-keys") / "pki")


@pytest.fixture
async def desk(keys, tmp_path):
    async with opened_desk(keys, tmp_path / "data", MESSAGES, list_length=100) as started:
        assert (await started.sign_in_as(*Role)).status_code == 303
        yield started


def flat(routes):
    for route in routes:
        inner = getattr(route, "original_router", None)
        yield from flat(inner.routes) if inner is not None else (route,)


def pages_of(app, sha256: str, names: list[str]) -> list[str]:
    """Every address of the desk that reads a packet, with this one and its parts in it; for no packet, all others."""
    found = []
    for route in flat(app.routes):
        of_packet = "{sha256}" in getattr(route, "path", "")
        if (
            isinstance(route, Mount)
            or "GET" not in (getattr(route, "methods", None) or ())
            or of_packet != bool(sha256)
        ):
            continue
        path = route.path.replace("{sha256}", sha256)
        named = names if "{name" in path else [""]
        found += [re.sub(r"{[^}]*}", "unknown", re.sub(r"{name[^}]*}", name, path)) for name in named]
    return found


def app_of(desk):
    inner = desk.client._transport.app
    while not hasattr(inner, "routes"):
        inner = getattr(inner, "_app", None) or inner.app
    return inner


def taken_over(leaf) -> tuple[str, ...]:
    """A checker whose report is hostile in every field."""
    report = json.dumps(
        {"report": poisoned(REPORT, leaf, keep=STEERING), "chip": {"ssim": leaf(""), "error": leaf("")}}
    )
    return checker(f"{READY}tell(json.loads({report!r}))")


async def check_everything(desk, sha256: str, names: list[str], told: str) -> int:
    """Reads every page about a packet; returns how many showed something of it."""
    shown = 0
    for path in pages_of(app_of(desk), sha256, names):
        answer = await desk.client.get(path, headers={"Accept-Language": "de" if "/packets/" in path else "en"})
        where = f"{told}: {path} {answer.status_code}"
        assert answer.status_code in {200, 303, 307, 404, 409, 422, 503}, where
        assert not {"set-cookie2", "a", "x"} & set(answer.headers), where
        assert MARK not in str(answer.headers), where
        kind = answer.headers.get("content-type", "")
        if "attachment" in answer.headers.get("content-disposition", ""):
            assert answer.headers["x-content-type-options"] == "nosniff", where
            assert re.fullmatch(r'attachment; filename="[a-zA-Z0-9_.\-]+"', answer.headers["content-disposition"]), (
                where
            )
        elif kind.startswith("text/html"):
            assert len(answer.content) < MOST_PAGE_BYTES, where
            assert faults_of(answer.text) == [], where
            shown += MARK in answer.text
        elif kind.startswith(("application/json", "application/problem+json")):
            json.loads(answer.content)
        elif answer.status_code == 200:
            assert kind in {"image/jpeg", "image/svg+xml", "text/csv; charset=utf-8"}, where
    return shown


# What booths could say.


async def test_a_hostile_word_in_every_field_of_every_record_stays_a_word_on_every_page(desk, keys):
    for name, word in WORDS.items():
        # A picture may have taken the checker over: what it says is hostile, too.
        desk.rooms.rechecker._command = taken_over(of_words(word))
        shown = 0
        for told in (records(of_words(word), keys=word), records(of_words(word), keep=STEERING)):
            sha256 = await desk.receive(keys.packet(told))
            shown += await check_everything(desk, sha256, ["visit.json", "frame-01.jpg"], name)
        assert shown, f"{name} is on no page at all: the test sees nothing"
        await check_search(desk, word)
    assert await read_by_worker(desk, keys) == 2 * len(WORDS)
    assert await check_everything(desk, "", [], "lists"), "no list shows any of them"


async def read_by_worker(desk, keys) -> int:
    """The lists then read what a desk keeps of the packets, made by its worker."""
    terms = DeskTerms(load_desk_secret(keys.folder / "desk.secret"))
    return await QueueReader(desk.rooms.store, desk.rooms.opener, terms).look()


async def check_search(desk, word: str) -> None:
    token = re.search(r'name="csrf_token" value="([^"]+)"', (await desk.client.get("/")).text)
    assert token is not None
    form = {
        "q": word[:150],
        "booth": word[:100],
    }
    answer = await desk.client.post("/search", data=form | {"csrf_token": token[1]})
    assert answer.status_code in {200, 400}
    # The word of the one who searches stands in his own field again, with whatever letters he typed.
    assert [fault for fault in faults_of(answer.text) if not fault.startswith("U+")] == []


async def test_numbers_and_shapes_beyond_reason_break_no_page(desk, keys):
    desk.rooms.rechecker._command = taken_over(in_turn((*NUMBERS, *ODD)))
    for told in (records(in_turn(NUMBERS)), records(in_turn(ODD)), records(in_turn((*NUMBERS, *ODD)), keep=STEERING)):
        sha256 = await desk.receive(keys.packet(told))
        await check_everything(desk, sha256, ["visit.json", "frame-01.jpg"], "numbers")
    assert await read_by_worker(desk, keys) == 3
    await check_everything(desk, "", [], "numbers")


async def test_as_much_of_everything_as_a_record_can_hold_stays_bounded(desk, keys):
    told = records(lambda value: value)
    report, attempts, visit = (json.loads(told[name]) for name in ("report.json", "attempts.json", "visit.json"))
    finding = {
        **report["findings"][0],
        "rule": MARK * 5_000,
        "reason": WORDS["markup"] * 3,
        "source": "s" * 300,
        "unit": "u" * 300,
    }
    # Each document as long as one that is read at all (server/records.py), filled with one kind of line.
    filled = {
        "report.json": report | {"findings": as_many_as_fit(finding)},
        "attempts.json": attempts | {"attempts": as_many_as_fit(attempts["attempts"][0])},
        "visit.json": visit | {"steps": as_many_as_fit({"state": "x" * 300, "after_ms": 1})},
    }
    told |= {name: json.dumps(document).encode() for name, document in filled.items()}
    assert all(1_500_000 < len(told[name]) < 2_097_152 for name in filled)
    sha256 = await desk.receive(keys.packet(told))
    await check_everything(desk, sha256, ["report.json"], "much")


def as_many_as_fit(line) -> list:
    return [line] * (1_900_000 // len(json.dumps(line)))


def test_the_reader_of_pages_finds_what_it_is_for():
    for bad in (
        "<script>alert(1)</script>",
        '<a href="javascript:x">x</a>',
        '<p onclick="x">x</p>',
        "<p style=x>x</p>",
        "<p>a\u202eb</p>",
        "<p>\u2066open</p>",
        '<a href="//evil.example">x</a>',
        "<p>9359</p>",
        f"<{MARK}>",
    ):
        assert faults_of(bad), bad
    assert (
        faults_of('<p>&lt;script&gt; {{1337*7}} <a href="/x">x</a> <script type="module" src="/static/a.js"></script>')
        == []
    )
    assert poisoned({"a": [1, "b"], "c": "d"}, of_words("x"), keep=frozenset({"c"}), keys="k") == {
        "a": [1, "x"],
        "c": "d",
        "k": "x",
    }


# How they could be packed.


async def test_no_hostile_package_opens_costs_memory_or_breaks_a_list(desk, keys):
    now = datetime.now(UTC).replace(microsecond=0)
    count = 0
    for name, package in packages(keys.recipient.key_id):
        header = HeaderFields(packet_id=uuid.uuid4().hex, booth="booth-0001", created_at=now)
        packet = seal(sign(package, keys.signer, now), header, [keys.recipient])
        sha256 = await desk.receive(packet)
        tracemalloc.start()
        page = await desk.client.get(f"/packets/{sha256}")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert page.status_code == 422, name
        assert faults_of(page.text) == [], name
        assert MARK not in page.text, name
        # A few copies of what came (sealed, opened, read) and the page; a bomb of 60 MB would show.
        assert peak < 8 * len(packet) + 12_000_000, (name, peak, len(packet))
        count += 1
    assert count > 15
    listed = await desk.client.get("/")
    assert listed.status_code == 200
    assert faults_of(listed.text) == []
    assert plain_package(b"{}", {}) != package


# What their pictures could do, to the checker alone.

CHECKED = """
import base64, json, os, sys, time
import validation
from server.confinement import confine, limit_process
from server.recheck_child import MEMORY_BYTES, MEMORY_PER_CORE_BYTES, OPEN_FILES, _readable, second_opinion
asked = json.load(sys.stdin)
told = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
status = open("/proc/self/status")  # before it is shut in
limit_process(MEMORY_BYTES + MEMORY_PER_CORE_BYTES * (os.cpu_count() or 1), OPEN_FILES)
confine(_readable())
from validation.face import FaceModel
answers = {}
with FaceModel() as model:
    for name, (words, portrait, chip) in asked.items():
        answer = second_opinion(model, words, base64.b64decode(portrait), base64.b64decode(chip))
        findings = (answer.pop("report", None) or {}).get("findings", [])
        answers[name] = answer | {"findings": len(findings)}
status.seek(0)  # of this program alone: what getrusage tells begins with the process that started it
answers["memory"] = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
json.dump(answers, told)
told.close()
"""


def test_pictures_that_want_to_be_more_than_they_look_cost_the_checker_little_and_are_told():
    words, good = {"profile": "demo", "judged": "crop", "format": "JPEG"}, APPLICANT.read_bytes()
    asked = {name: (words, data, b"") for name, data in pictures().items()}
    asked |= {f"chip {name}": (words, jpeg_small(), data) for name, data in chips().items()}
    asked["profile"] = ({**words, "profile": "../../etc/passwd"}, good, b"")
    sent = {
        name: (said, base64.b64encode(one).decode(), base64.b64encode(two).decode())
        for name, (said, one, two) in asked.items()
    }
    ran = subprocess.run(
        [sys.executable, "-I", "-B", "-c", CHECKED],
        input=json.dumps(sent),
        capture_output=True,
        text=True,
        env=dict(ENVIRONMENT),
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2_000:]
    told = json.loads(ran.stdout)
    # What the models take, and a few copies of the largest picture that is decoded at all.
    assert told.pop("memory") * 1024 < 450_000_000 + 12 * MOST_PIXELS
    assert told.pop("profile")["error"] == "recheck.profile"
    judged = {name for name, answer in told.items() if not name.startswith("chip ") and "error" not in answer}
    assert judged <= {"segments", "exif", "truncated with its end", "as large as allowed and empty", "filled"}
    assert {"segments", "exif"} <= judged
    for name, answer in told.items():
        if name.startswith("chip "):
            assert answer["findings"], name
            assert answer["chip"].get("error") or answer["chip"]["ssim"] < 0.9, (name, answer)
        elif name not in judged:
            assert answer["error"] == "recheck.picture", (name, answer)


def jpeg_small() -> bytes:
    import cv2
    import numpy as np

    whole = cv2.imdecode(np.frombuffer(APPLICANT.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".jpg", cv2.resize(whole, (240, 320)))[1].tobytes()


async def test_a_picture_is_given_to_browsers_only_when_it_is_one_and_never_as_a_page(desk, keys):
    for name in ("huge", "PNG named jpg", "nothing", "three bytes", "page"):
        data = pictures()[name]
        sha256 = await desk.receive(keys.packet({**records(lambda value: value), "portrait.jpg": data}))
        shown = await desk.client.get(f"/packets/{sha256}/portrait.jpg")
        assert shown.status_code == (200 if data.startswith(b"\xff\xd8\xff") else 404), name
        if shown.status_code == 200:
            assert shown.headers["content-type"] == "image/jpeg"
            assert shown.headers["x-content-type-options"] == "nosniff"
        assert (await desk.client.get(f"/packets/{sha256}")).status_code == 200, name
