"""The second opinion: two reports held against each other, a checker that is shut in and ended, and what the desk's pages make of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from booth.attempt import judge_burst
from capture.frames import Frame
from capture.portrait import encode_chip
from server import recheck_child
from server.audit import Action, audit_log
from server.confinement import landlock_version
from server.errors import SettingsError
from server.messages import load_messages
from server.opening import PacketContent
from server.own_check import check_objects
from server.recheck import LEAST_CHIP_SSIM, ONLY_AT_THE_BOOTH, ChipOpinion, Standing, compare
from server.recheck_child import likeness
from server.recheck_errors import (
    RecheckBusyError,
    RecheckEndedError,
    RecheckForeignProfileError,
    RecheckNothingError,
    RecheckPictureError,
    RecheckProfileError,
    RecheckTimeoutError,
    RecheckUnavailableError,
)
from server.recheck_spread import LEAST, SPREAD, tolerance
from server.recheck_views import recheck_card
from server.rechecker import MOST_WAITING, open_rechecker
from server.records import read_report
from tests.desk_rig import opened_desk, parts
from tests.fake_checker import READY, checker
from tests.sealed_packets import APPLICANT, Keys, finding, report, visit
from validation.face import FaceModel
from validation.image import read_image
from validation.profile import load_profile
from validation.rules import RULES

MESSAGES = load_messages()
YAW = finding("pose.yaw", 2.0)


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("recheck-keys") / "pki")


@pytest.fixture
async def desk(keys, tmp_path):
    async with opened_desk(keys, tmp_path / "data", MESSAGES) as started:
        assert (await started.sign_in()).status_code == 303
        yield started


def read(*findings, **more):
    told = read_report(json.dumps(report(*findings, **more)).encode())
    assert told is not None
    return told


def standings(booth, desk) -> dict[str, Standing]:
    return {row.rule: row.standing for row in compare(booth, desk).rows}


# Two reports.


@pytest.mark.parametrize(
    ("booth", "desk", "standing"),
    [
        (finding("pose.yaw", 2.0), finding("pose.yaw", 2.4), Standing.AGREES),
        (finding("pose.yaw", 2.0), finding("pose.yaw", 7.0), Standing.VALUE),
        (finding("pose.yaw", 2.0), finding("pose.yaw", 20.0, "fail"), Standing.CONTRADICTION),
        (finding("pose.yaw", 20.0, "fail"), finding("pose.yaw", 2.0), Standing.CONTRADICTION),
        (finding("pose.yaw", 7.9), finding("pose.yaw", 8.1, "fail"), Standing.CLOSE),
        (finding("pose.yaw", 20.0), finding("pose.yaw", 20.0, "fail"), Standing.CONTRADICTION),  # denies itself
        (finding("pose.yaw", 2.0, limit={"low": -60, "high": 60}), YAW, Standing.LIMITS),
        (finding("pose.yaw", 2.0, level="info"), YAW, Standing.LIMITS),
        (finding("pose.yaw", None, "not_assessed"), finding("pose.yaw", 2.0), Standing.CONTRADICTION),
        (finding("pose.yaw", None, "not_assessed"), finding("pose.yaw", None, "not_assessed"), Standing.AGREES),
        (
            finding("pose.yaw", None, "not_assessed", level="warn"),
            finding("pose.yaw", 2.0, level="warn"),
            Standing.UNJUDGED,
        ),
        (finding("image.upscaled", 50.0, limit={"high": 100}), None, Standing.BOOTH_ONLY),
        (finding("rule.of.tomorrow"), None, Standing.BOOTH_ONLY),
        (finding("rule.of.tomorrow", 99.0), None, Standing.CONTRADICTION),
        (None, YAW, Standing.LEFT_OUT),
    ],
)
def test_each_rule_stands_as_the_two_say_of_it(booth, desk, standing):
    other = finding("pose.roll")
    both = [read(*(one for one in (side, other) if one)) for side in (booth, desk)]
    found = standings(*both)
    assert found.pop("pose.roll") is Standing.AGREES
    assert list(found.values()) == [standing]


def test_what_an_officer_has_to_look_at_comes_first_and_another_version_of_the_profile_excuses_limits():
    booth = read(finding("pose.roll"), finding("pose.yaw", 2.0), finding("pose.pitch", 1.0))
    desk = read(
        finding("pose.roll"), finding("pose.yaw", 9.0, "fail"), finding("pose.pitch", 1.0), finding("eyes.open")
    )
    opinion = compare(booth, desk)
    assert [row.standing for row in opinion.rows][:2] == [Standing.CONTRADICTION, Standing.LEFT_OUT]
    assert opinion.blocks
    assert not opinion.agrees
    older = booth.model_copy(update={"profile_version": "0"})
    assert standings(older, desk)["eyes.open"] is Standing.UNJUDGED
    assert not compare(older, desk).same_profile
    # Another version is no way around: what is hardly there cannot agree.
    empty = read(finding("rule.of.tomorrow"), profile_version="0")
    assert not compare(empty, read(finding("pose.roll"), finding("pose.yaw"))).striking
    assert not compare(empty, read(finding("pose.roll"), finding("pose.yaw"))).agrees


def test_a_chip_image_of_another_picture_is_no_agreement():
    same = read(YAW)
    assert compare(same, same, ChipOpinion(LEAST_CHIP_SSIM)).agrees
    assert not compare(same, same, ChipOpinion(LEAST_CHIP_SSIM - 0.01)).agrees
    assert not compare(same, same, ChipOpinion(None, "image.unreadable")).agrees


def test_every_rule_of_the_table_was_measured_for_its_spread_or_is_the_booths_alone():
    # The booth judges pixels and not a file, so it has no value of the file's compression.
    assert {rule.id for rule in RULES} - set(SPREAD) == ONLY_AT_THE_BOOTH | {"image.compression"}
    assert tolerance("pose.yaw") == 3 * SPREAD["pose.yaw"]
    assert tolerance("image.size") == LEAST
    assert tolerance("rule.of.tomorrow") is None


@pytest.mark.parametrize("code", ["en", "de", "ru", "ar"])
def test_every_standing_has_words_in_every_language(code):
    language = MESSAGES.languages[code]
    for standing in Standing:
        assert language.texts.get(f"recheck.standing.{standing}"), standing
    opinion = compare(read(YAW, software="other"), read(finding("pose.yaw", 20.0, "fail")), ChipOpinion(0.2))
    card = recheck_card(opinion, language)
    assert (card.tone, len(card.remarks), len(card.striking)) == ("bad", 2, 1)
    assert card.verdict == language("recheck.refuses")


# The checker.


def content_of(packet_parts=None, number=[0]) -> PacketContent:  # noqa: B006 (each one another packet)
    """An opened packet as the checker's owner sees it."""
    number[0] += 1
    held = packet_parts or parts(YAW)
    stored = SimpleNamespace(sha256=f"{number[0]:064x}", booth="booth-0001")
    return PacketContent(stored, SimpleNamespace(parts=held), read_report(held.get("report.json")), None)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (READY + "time.sleep(3600)", RecheckTimeoutError),
        (READY + "os.kill(os.getpid(), 11)", RecheckEndedError),
        (READY + "tell([1])", RecheckEndedError),
        (READY + 'tell({"report": 7})', RecheckEndedError),
        (READY + 'sys.stdout.buffer.write(struct.pack(">I", 2**31))', RecheckEndedError),
        (READY + 'sys.stdout.buffer.write(struct.pack(">I", 3) + b"{,}")', RecheckEndedError),
        (READY + 'tell({"error": "recheck.picture"})', RecheckPictureError),
        (READY + 'tell({"error": "recheck.profile"})', RecheckProfileError),
        (READY + 'tell({"error": "recheck.unavailable", "why": "ValueError"})', RecheckEndedError),
        (READY + 'tell({"error": ["x"]})', RecheckEndedError),
        ('tell({"error": "recheck.unavailable", "why": "ImportError"})', RecheckUnavailableError),
        ("sys.exit(3)", RecheckUnavailableError),
    ],
)
async def test_whatever_becomes_of_a_checker_the_desk_gets_one_error_and_goes_on(code, error):
    content = content_of()
    async with open_rechecker(0.2 if "sleep" in code else 30.0, checker(code), spare_s=0) as rechecker:
        with pytest.raises(error):
            await rechecker.opinion(content)
        # What is the picture's fault is kept, what is the desk's own is tried again.
        assert (rechecker._find(content) is None) == (error is RecheckUnavailableError)
        assert rechecker.kept(content) is None


async def test_a_checker_gets_nothing_of_the_desks_environment_and_answers_as_a_stranger(monkeypatch):
    monkeypatch.setenv("DESK_DATABASE_URL", "postgresql://desk:hunter2@db/desk")
    code = (
        READY
        + 'tell({"report": {"software": " ".join(os.environ) + "<b>\\u202e", "findings": [{"rule": portrait[:3].hex()}]}})'
    )
    content = content_of()
    async with open_rechecker(30.0, checker(code), spare_s=0) as rechecker:
        opinion = await rechecker.opinion(content)
        assert "DESK" not in opinion.desk.software
        assert "\u202e" not in opinion.desk.software
        assert opinion.desk.findings[0].rule == "ffd8ff"


async def test_one_process_judges_a_packet_for_all_who_ask_and_its_answer_goes_with_the_packet(tmp_path):
    count = tmp_path / "starts"
    code = f"open({str(count)!r}, 'a').write('x')\n" + READY + 'tell({"report": {"findings": []}})'
    content = content_of()
    async with open_rechecker(30.0, checker(code), spare_s=0) as rechecker:
        told = await asyncio.gather(*(rechecker.opinion(content) for _ in range(MOST_WAITING)))
        assert all(one is told[0] for one in told)
        assert count.read_text() == "x"
        assert rechecker.kept(content) is told[0]
        del content
        assert not rechecker._kept


async def test_the_line_before_the_checker_has_an_end():
    contents = [content_of() for _ in range(2)]
    async with open_rechecker(30.0, checker(READY + 'tell({"report": {}})'), spare_s=0) as rechecker:
        waiting = [asyncio.create_task(rechecker.opinion(contents[0])) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(RecheckBusyError) as refused:
            await rechecker.opinion(contents[1])
        assert refused.value.retry_after_s
        await asyncio.gather(*waiting)
        assert await rechecker.opinion(contents[1])


async def test_a_spare_checker_waits_for_the_next_packet_and_ends_with_the_desk():
    first, second = (content_of() for _ in range(2))
    async with open_rechecker(30.0, checker(READY + 'tell({"report": {"software": str(os.getpid())}})')) as rechecker:
        await rechecker.opinion(first)
        assert rechecker._spare is not None
        waiting = str(rechecker._spare._process.pid)
        assert (await rechecker.opinion(second)).desk.software == waiting


async def test_a_packet_without_a_portrait_or_a_report_has_nothing_to_judge():
    async with open_rechecker(30.0, checker("sys.exit(9)"), spare_s=0) as rechecker:
        for missing in ("portrait.jpg", "report.json"):
            left = {name: data for name, data in parts(YAW).items() if name != missing}
            with pytest.raises(RecheckNothingError):
                await rechecker.opinion(content_of(left))


async def test_a_booth_that_judges_by_another_offices_profile_needs_a_second_person():
    async with open_rechecker(30.0, checker("sys.exit(9)"), spare_s=0, profiles=["icao"]) as rechecker:
        with pytest.raises(RecheckForeignProfileError):
            await rechecker.opinion(content_of())
        assert await check_objects(rechecker, content_of())
    with pytest.raises(SettingsError, match="invented"):
        async with open_rechecker(profiles=["demo", "invented"]):
            pass


@pytest.mark.parametrize("trouble", [ValueError("nan"), OSError(5, "x"), MemoryError(), None])
def test_what_goes_wrong_over_a_picture_is_the_pictures_fault(monkeypatch, trouble):
    def judge(*_):
        if trouble is not None:
            raise trouble
        return {"chip": {"ssim": float("nan")}}

    monkeypatch.setattr(recheck_child, "second_opinion", judge)
    assert recheck_child._answer(None, {}, b"", b"")["error"] == RecheckPictureError.code


@pytest.mark.skipif(not landlock_version(), reason="this kernel has no Landlock, or forbids it")
def test_a_process_that_is_shut_in_reaches_nothing_outside(tmp_path):
    secret = tmp_path / "desk.hpke"
    secret.write_text("the key")
    code = f"""
import os, signal, socket, subprocess, sys
from pathlib import Path
from server.confinement import confine, limit_process
import _posixsubprocess
limit_process(2**33, 64)
assert confine([Path(sys.base_prefix), Path("/usr/lib")])
def tried(what, *arguments):
    try:
        what(*arguments)
    except OSError as error:
        return error.errno in (1, 13)
    return False
print([
    tried(open, {str(secret)!r}),
    tried(open, {str(tmp_path / "new")!r}, "w"),
    tried(os.listdir, "/"),
    tried(open, "/proc/%d/environ" % os.getppid()),
    tried(os.kill, os.getppid(), 0) or {landlock_version() < 6},
    tried(socket.create_connection, ("127.0.0.1", 9), 1) or {landlock_version() < 4},
    tried(os.execv, sys.executable, ["python"]),
])
"""
    ran = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == str([True] * 7), ran.stderr
    assert secret.read_text() == "the key"


# What booths really send, and what officers see.


async def test_an_honest_packet_agrees_and_another_face_on_the_chip_is_found(desk, keys):
    profile = load_profile("demo")
    with FaceModel() as model:
        pixels, _ = read_image(APPLICANT)
        attempt = judge_burst((Frame(pixels, 1, 1, "PNG", lossy=False),), profile, model)
    assert attempt.jpeg is not None
    assert attempt.best.portrait is not None
    told = {
        "portrait.jpg": attempt.jpeg,
        "chip.jp2": encode_chip(attempt.best.portrait, profile.chip).data,
        "report.json": attempt.report.model_dump_json().encode(),
        "visit.json": json.dumps(visit()).encode(),
    }
    sha256 = await desk.receive(keys.packet(told))
    part = await desk.client.get(f"/packets/{sha256}/recheck/part")
    assert part.status_code == 200
    assert "Agrees with the booth" in part.text
    assert "To look at" not in part.text
    assert "other software" not in part.text
    content = await desk.rooms.opener.content(await desk.rooms.store.find(sha256))
    opinion = desk.rooms.rechecker.kept(content)
    assert opinion is not None
    assert opinion.agrees
    assert not opinion.blocks
    assert not attempt.report.blocking
    assert sum(row.standing is Standing.AGREES for row in opinion.rows) > 40
    # Of a face that looks the other way it would have been told.
    portrait, mirrored = attempt.best.portrait, encode_chip(attempt.best.portrait[:, ::-1].copy(), profile.chip).data
    assert (
        likeness(portrait, read_image(told["chip.jp2"])[0])
        > LEAST_CHIP_SSIM
        > likeness(portrait, read_image(mirrored)[0])
    )


async def test_the_packet_page_does_not_wait_and_both_pages_of_the_opinion_are_noted_once(desk, keys):
    desk.rooms.rechecker._command = checker(
        READY + 'tell({"report": {"profile": "demo", "profile_version": "1", "findings": [' + json.dumps(YAW) + "]}})"
    )
    sha256 = await desk.receive(keys.packet(parts(finding("pose.yaw", 2.0, limit={"low": -30, "high": 30}))))
    page = (await desk.client.get(f"/packets/{sha256}")).text
    assert f'data-part="/packets/{sha256}/recheck/part"' in page
    assert f'href="/packets/{sha256}/recheck"' in page
    content = await desk.rooms.opener.content(await desk.rooms.store.find(sha256))
    assert desk.rooms.rechecker.kept(content) is None
    for path, lang in (("recheck", "en"), ("recheck/part", "de"), ("recheck", "ar"), ("recheck", "ru")):
        answer = await desk.client.get(f"/packets/{sha256}/{path}", headers={"Accept-Language": lang})
        assert answer.status_code == 200
        assert MESSAGES.languages[lang]("recheck.standing.limits") in answer.text
        assert ("<html" in answer.text) == (path == "recheck")
    async with desk.rooms.store.reading() as connection:
        rows = await connection.execute(audit_log.select().where(audit_log.c.action == Action.PACKET_RECHECKED))
        assert [row.subject for row in rows] == [sha256]


async def test_an_error_stands_where_the_opinion_would_with_its_own_status(desk, keys):
    sha256 = await desk.receive(keys.packet(parts(YAW, profile="invented")))
    desk.rooms.rechecker._command = checker(READY + 'tell({"error": "recheck.profile"})')
    for path in ("recheck", "recheck/part"):
        answer = await desk.client.get(f"/packets/{sha256}/{path}")
        assert answer.status_code == 422
        assert "a profile that this desk does not have" in answer.text
    assert (await desk.client.get(f"/packets/{'0' * 64}/recheck/part")).status_code == 404


async def test_attempts_and_what_staff_did_have_cards_of_their_own(desk, keys):
    still = {"chosen": True, "compliant": False, "judged": "crop"}
    attempts = {
        "attempts": [
            {
                "at": "2026-11-22T11:57:00.000Z",
                "stills": [
                    {**still, "chosen": False, "findings": []},
                    {**still, "findings": [{**finding("eyes.open", 1.5, "fail"), "low": 3.0, "high": None}]},
                ],
            },
            {
                "at": "2026-11-22T11:58:00.000Z",
                "stills": [{**still, "compliant": True, "findings": [finding("pose.yaw")]}],
            },
        ],
        "errors": [{"code": "camera.lost", "at": "2026-11-22T11:56:00.000Z", "after_ms": 10}],
    }
    told = visit(
        override={
            "staff": "482103",
            "reason_class": "child",
            "open_rules": ["eyes.open"],
            "at": "2026-11-22T11:58:30.000Z",
        },
        assistance=[
            {"action": "override", "staff": "482103", "at": "2026-11-22T11:58:30.000Z", "reason_class": "child"}
        ],
    )
    packet = parts(YAW, told=told) | {"attempts.json": json.dumps(attempts).encode()}
    page = (await desk.client.get(f"/packets/{await desk.receive(keys.packet(packet))}")).text
    for text in (
        "Attempts of the visit",
        "2 pictures",
        "camera.lost",
        "Release by staff",
        "482103",
        "Let the photo pass",
    ):
        assert text in page, text
    assert "22 Nov 2026, 11:57:00 UTC" in page
    assert page.count("assistance.1") == 0, "told once, in words"
