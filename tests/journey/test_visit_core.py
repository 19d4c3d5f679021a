"""Whole visits against the virtual booth at the wire: the controller's core without its pages."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime, timedelta

import pytest

from booth.control_socket import AskTests, open_control_line
from booth.errors import CommandRefusedError
from booth.kiosk import Accept, Cancel, ChooseLanguage, Consent, Help, HelpGiven, Identify, MoreTime, Start
from crypto.face_record_der import read_face_record
from crypto.keys import Purpose, load_recipient_key, load_trust, make_development_pki, open_signer
from crypto.seal import open_packet
from crypto.slip import Slip, centre_of, write_slip
from hardware.lights import CHANNELS
from tests.booth_rig import Simulator, booth_config, running_booth
from tests.fake_intake import FakeIntake

NUMBER = "DEMO2026000017Q"
HURRY = {"patience": 0.03}  # the shortest wait of a person is then 0.9 s, a warning 0.6 s


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_development_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def virtual_booth(tmp_path_factory):
    simulator = Simulator(tmp_path_factory.mktemp("sim"), "visit")
    yield simulator
    simulator.stop()


@pytest.fixture
def simulator(virtual_booth):
    virtual_booth.calm()
    yield virtual_booth
    virtual_booth.calm()


@pytest.fixture
def intake(pki):
    return FakeIntake(pki)


@pytest.fixture
def opening(tmp_path, pki, simulator, intake):
    def make(**sections):
        return running_booth(booth_config(tmp_path, pki, simulator.facts["toml"], **sections), intake)

    return make


async def until_framing(watcher):
    await watcher.until("attract")
    watcher.booth.post(Start())
    watcher.booth.post(ChooseLanguage(language="de"))
    watcher.booth.post(Identify(number=NUMBER.lower()))
    await watcher.until("consent")
    watcher.booth.post(Consent(answer=True))
    return await watcher.until("framing")


def slip_of(pki):
    """What the counter printed."""
    signer = open_signer(f"file:{pki / 'centre.key'}", curve=Purpose.CENTRE.curve)
    centre = centre_of(signer.certificate)
    return write_slip(Slip(NUMBER, date(2099, 12, 31), centre.name, centre.key_id), signer.sign)


async def pictures(station, count):
    """The seconds between the first and the last of so many preview pictures."""
    frames = [await station.next_preview(-1)]
    while len(frames) < count:
        frames.append(await station.next_preview(frames[-1].sequence))
    return (frames[-1].at_ns - frames[0].at_ns) / 1e9


def opened(pki, packet):
    return open_packet(packet, [load_recipient_key(pki / "desk.hpke")], load_trust(pki / "ca.pem"))


async def test_a_visit_from_the_camera_to_the_intake(opening, simulator, intake, pki, caplog, tmp_path, no_tasks_left):
    intake.applications = {NUMBER: "filed"}
    async with opening() as watcher:
        await watcher.until("attract")
        station = watcher.booth._rooms.station
        await pictures(station, 2)
        assert (
            await pictures(station, 3) > 0.35
        )  # nobody is there: few pictures are decoded, the rate told is the camera's
        for _ in range(20):  # a busy machine has a slow camera for a while
            if watcher.booth.technician().preview_fps > 10:
                break
            await pictures(station, 5)
        assert watcher.booth.technician().preview_fps > 10
        watcher.booth.post(Start())
        watcher.booth.post(ChooseLanguage(language="de"))
        simulator.tell(sitter="still")
        simulator.tell(show_code=slip_of(pki))
        assert (await watcher.until("consent")).identity == "scanned"
        simulator.tell(show_code=None)
        simulator.tell(sitter="look_away")
        watcher.booth.post(Consent(answer=True))
        guided = await watcher.until(lambda s: s.state == "framing" and s.instruction.key.startswith("advice.turn"))
        assert guided.overlay is not None
        assert not station._camera._resting
        simulator.tell(sitter="still")
        review = await watcher.until("review")
        assert review.compliant, [f.rule for f in review.findings if f.verdict == "fail"]
        portrait = watcher.booth.portrait()
        watcher.booth.post(Accept())
        thanks = await watcher.until("thanks")
        async with asyncio.timeout(10):
            await intake.came.wait()
        watcher.booth.post(Cancel())
        await watcher.until("attract")
        assert watcher.booth.portrait() is None
        status = watcher.booth.technician()
        assert {device.state for device in status.devices} == {"ready"}
        assert watcher.path == [
            "attract",
            "identify",
            "consent",
            "framing",
            "capturing",
            "checking",
            "review",
            "sealing",
            "thanks",
            "clearing",
            "attract",
        ]
    content = opened(pki, intake.received[0])
    assert content.parts["portrait.jpg"] == portrait
    assert 16_150 <= len(content.parts["chip.jp2"]) <= 17_000
    face = read_face_record(content.parts["face.bin"])
    assert face.picture.data == content.parts["chip.jp2"]
    assert len(face.landmarks) > 6
    assert content.header.packet_id.upper().startswith(thanks.reference.replace("-", ""))
    report = json.loads(content.parts["report.json"])
    assert [(f["rule"], f["value"]) for f in report["findings"]] == [(f.rule, f.value) for f in review.findings]
    visit = json.loads(content.parts["visit.json"])
    known = {"verified": True, "registry": "filed", "centre": "centre-development", "expires": "2099-12-31"}
    assert visit["application"] == {"number": NUMBER, "source": "scanned", **known}
    assert visit["shutter"] == "held"
    assert visit["light"]["reading"]["evenness_pct"] > 50
    balance = visit["light"]["balance"]
    assert (balance["steps"], balance["reached"], balance["problem"]) == (0, True, None), "good light is left alone"
    assert visit["camera"]["settings"]["exposure_us"] > 0
    assert any(line["key"].startswith("advice.turn") for line in visit["guidance"])
    made, chip = visit["images"]["portrait.jpg"], report["chip"]
    assert (made["format"], made["quality"], made["subsampling"]) == ("JPEG", 95, "4:4:4")
    assert visit["camera"]["rotate_deg"] == 0
    assert (chip["width"], chip["height"], chip["target_bytes"]) == (622, 800, 17_000)
    assert chip["bytes"] == len(content.parts["chip.jp2"])
    stills = json.loads(content.parts["attempts.json"])["attempts"][0]["stills"]
    assert [still["chosen"] for still in stills].count(True) == 1
    assert len(stills) == 3
    assert NUMBER not in str(watcher.seen) + caplog.text
    left = [path for path in (tmp_path / "data").rglob("*") if path.is_file() and path.suffix == ".packet"]
    assert left == []


async def test_the_cameras_stills_are_overwritten_once_cut_and_everything_after_clearing(opening, simulator):
    async with opening() as watcher:
        await until_framing(watcher)
        simulator.tell(sitter="still")
        await watcher.until("review")
        candidates = watcher.booth._performer.record.attempt.candidates
        stills = [candidate.frame.pixels for candidate in candidates]
        portraits = [candidate.portrait for candidate in candidates]
        assert len(stills) == 3
        assert not any(pixels.any() for pixels in stills)
        assert all(pixels.any() for pixels in portraits)
        simulator.fault("camera.kill")
        watcher.booth.post(Cancel())
        await watcher.until("out_of_service")
        assert not any(pixels.any() for pixels in (*stills, *portraits))
        assert watcher.booth._rooms.checker._frame is None
        assert watcher.booth._rooms.station._camera._latest is None, "the last picture went with the camera"


async def test_an_expired_certificate_keeps_the_booth_out_of_service(tmp_path, simulator):
    expired = make_development_pki(tmp_path / "expired", at=datetime.now(UTC) - timedelta(days=800))
    config = booth_config(tmp_path, expired, simulator.facts["toml"])
    async with running_booth(config, FakeIntake(expired)) as watcher:
        closed = await watcher.until("out_of_service")
        assert closed.fault.code == "keys.certificate"
        assert closed.commands == ()
        status = watcher.booth.technician()
        assert status.certificate_days < 0
        assert "expired on" in status.fault_hint
        assert "Renew the booth's certificate" in status.fault_hint


async def test_a_camera_that_dies_while_framing_is_told_and_the_visit_goes_on_when_it_is_back(opening, simulator):
    async with opening() as watcher:
        await until_framing(watcher)
        simulator.fault("camera.kill")
        told = await watcher.until(lambda s: s.fault is not None)
        assert (told.state, told.fault.message, told.instruction.key) == ("framing", "fault.camera", "fault.camera")
        simulator.fault("camera.kill", on=False)
        await watcher.until(lambda s: s.fault is None)
        simulator.tell(sitter="still")
        assert (await watcher.until("review")).compliant


async def test_lamps_pulled_while_framing_stop_the_shutter_until_they_are_back(opening, simulator):
    async with opening() as watcher:
        await until_framing(watcher)
        simulator.fault("lights.unplug")
        told = await watcher.until(lambda s: s.fault is not None)
        assert (told.state, told.fault.message) == ("framing", "fault.lights")
        simulator.tell(sitter="still")
        simulator.fault("lights.unplug", on=False)
        await watcher.until("review")
        assert "capturing" not in [s.state for s in watcher.seen if s.fault is not None]


async def test_a_lost_camera_control_line_is_told_and_stops_nobody(opening, simulator):
    async with opening() as watcher:
        await until_framing(watcher)
        simulator.fault("visca.unplug")
        told = await watcher.until(lambda s: s.fault is not None)
        assert told.fault.message == "fault.controls"
        simulator.tell(sitter="still")
        assert (await watcher.until("review")).compliant
        simulator.fault("visca.unplug", on=False)
        await watcher.until(lambda s: s.fault is None)


async def test_a_camera_that_stays_away_ends_the_visit_and_the_booth_comes_back_by_itself(opening, simulator, intake):
    async with opening(visit=HURRY) as watcher:
        await until_framing(watcher)
        simulator.fault("camera.kill")
        await watcher.until("out_of_service")
        assert [s for s in watcher.path if s in {"clearing", "out_of_service"}] == ["clearing", "out_of_service"]
        with pytest.raises(CommandRefusedError):
            watcher.booth.post(Start())
        assert watcher.booth.technician().fault.code.startswith("camera.")
        simulator.fault("camera.kill", on=False)
        await watcher.until("attract")
    assert intake.received == []


async def test_dead_lamps_show_in_the_findings_and_in_the_signed_reading(opening, simulator, intake, pki):
    for lamp in ("key_left", "fill_top"):
        simulator.tell(lamp=lamp, dead=True)
    try:
        async with opening() as watcher:
            await until_framing(watcher)
            simulator.tell(sitter="still")
            review = await watcher.until("review")
            watcher.booth.post(Accept())
            async with asyncio.timeout(20):
                await intake.came.wait()
    finally:
        for lamp in ("key_left", "fill_top"):
            simulator.tell(lamp=lamp, dead=False)
    warned = {f.rule for f in review.findings if f.verdict in {"warn", "fail"}}
    light = json.loads(opened(pki, intake.received[0]).parts["visit.json"])["light"]
    assert warned & {"light.even", "light.sides", "light.shadows"}, (
        "two lamps of three are more than the loop can make up for"
    )
    assert light["balance"]["problem"]["kind"] == "lamp"
    assert light["balance"]["problem"]["name"] in {"key_left", "fill_top"}
    assert light["levels_pct"]["key_left"] > 60  # what the controller says; the camera knows better


async def test_a_frozen_picture_is_told_and_stops_the_shutter_until_it_moves_again(opening, simulator):
    async with opening() as watcher:
        await until_framing(watcher)
        simulator.tell(sitter="still")
        await watcher.until(lambda s: s.instruction.key == "advice.hold_still")
        simulator.tell(sitter="look_away")
        await watcher.until(lambda s: s.instruction.key.startswith("advice.turn"))
        simulator.fault("camera.freeze")
        told = await watcher.until(lambda s: s.fault is not None)
        assert (told.state, told.fault.message) == ("framing", "fault.camera")
        simulator.fault("camera.freeze", on=False)
        simulator.tell(sitter="still")
        assert (await watcher.until("review")).fault is None


async def test_a_wrong_exposure_set_over_the_control_line_shows_in_the_findings(tmp_path, pki, intake):
    simulator = Simulator(tmp_path / "sim", "seated")  # of its own: the camera keeps what it was set to
    try:
        dark = booth_config(tmp_path, pki, simulator.facts["toml"], controls={"exposure_us": 1000})
        async with running_booth(dark, intake) as watcher:
            await until_framing(watcher)
            lit = await watcher.until(lambda _: watcher.booth.technician().lights_pct["key_left"] > 60)
            assert lit.state == "framing"
            exposure = await watcher.until(
                lambda _: any(
                    f.rule == "light.exposure" and f.verdict in {"warn", "fail"} and f.value < 6
                    for f in watcher.booth.technician().findings
                )
            )
            assert exposure.state == "framing"
    finally:
        simulator.stop()


async def test_silence_warns_first_and_more_time_keeps_the_visit(opening):
    async with opening(visit=HURRY) as watcher:
        await watcher.until("attract")
        watcher.booth.post(Start())
        warned = await watcher.until(lambda s: s.timeout_s is not None)
        assert warned.state == "language"
        watcher.booth.post(MoreTime())
        assert (await watcher.until(lambda s: s.timeout_s is None)).state == "language"
        await watcher.until(lambda s: s.timeout_s is not None)
        cleared = await watcher.until("clearing")
        assert cleared.visit is None
        await watcher.until("attract")


async def test_a_declined_notice_and_help_end_in_clearing(opening, intake):
    intake.applications = {NUMBER: "retake", "KNOWN0000O": "captured"}
    async with opening() as watcher:
        await watcher.until("attract")
        watcher.booth.post(Start())
        watcher.booth.post(ChooseLanguage(language="ar"))
        watcher.booth.post(Identify(number="??"))
        await watcher.until(lambda s: s.fault is not None and s.fault.message == "identify.mistyped")
        for number, told in (("KNOWN0000O", "captured"), ("UNKNOWN00J", "unknown")):
            watcher.booth.post(Identify(number=number))
            await watcher.until(lambda s, key=f"identify.{told}": s.fault is not None and s.fault.message == key)
        watcher.booth.post(Identify(number=NUMBER))
        await watcher.until("consent")
        watcher.booth.post(Consent(answer=False))
        assert (await watcher.until("clearing")).language == "ar"
        await watcher.until("attract")
        watcher.booth.post(Start())
        watcher.booth.post(Help())
        assert watcher.booth.state.state == "assistance"
        watcher.booth.post(HelpGiven())
        await watcher.until("attract")


async def test_a_profile_that_the_camera_cannot_satisfy_keeps_the_booth_out_of_service(opening):
    async with opening(profile={"name": "icao"}) as watcher:
        await watcher.until("out_of_service")
        status = watcher.booth.technician()
        assert status.fault.code == "capture.profile_unsatisfiable"
        assert "upscaled" in status.fault_hint


async def test_a_disk_that_is_nearly_full_refuses_visits_before_they_start(opening):
    async with opening(outbox={"min_free_bytes": 10**15}) as watcher:
        await watcher.until("out_of_service")
        assert watcher.booth.technician().fault.code == "outbox.full"


async def test_between_visits_the_booth_tests_itself_and_tells_it_over_its_socket(opening, tmp_path, no_tasks_left):
    ids = ("camera.latency", "lamps.echo", "disk.free", "certificate.days", "outbox.age", "calibration.age")
    async with opening() as watcher:
        await watcher.until("attract")
        booth = watcher.booth
        async with open_control_line(tmp_path / "data") as line:
            await line.say(AskTests(ids=ids))
            seen = {booth.state.state async for _ in line.answers()}
        assert "out_of_service" in seen
        found = {each.id: each for each in booth.maintenance.state.tests.findings}
        assert {name: each.verdict for name, each in found.items()} == {
            **dict.fromkeys(ids, "pass"), "camera.latency": found["camera.latency"].verdict, "calibration.age": "warn",
        }  # fmt: skip
        assert found["camera.latency"].value is not None  # how much it is, on a busy machine, is another matter
        assert 395 < found["certificate.days"].value < 398
        await watcher.until("attract")
        levels = booth.technician().lights_pct
        assert {name: round(levels[name]) for name in CHANNELS} == dict.fromkeys(CHANNELS, 15)
        assert [trend.check for trend in await booth.maintenance.trends()] == [
            "camera.latency", "lamps.echo", "disk.free", "certificate.days", "outbox.age", "calibration.age",
        ]  # fmt: skip
