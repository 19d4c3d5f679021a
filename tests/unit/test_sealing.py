"""One visit's packet: its parts, what each of them says of the others, and that no fact stands twice."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest

from booth.attempt import judge_burst
from booth.errors import CertificateNotValidError, ConfigInvalidError
from booth.events import Application
from booth.face_part import MESH_OF_POINT
from booth.pad_part import PadEvidence
from booth.record import Place, VisitRecord
from booth.sealing import Sealer, reference_of
from capture.frames import Frame
from crypto.application import application_digest
from crypto.errors import KeyUnavailableError
from crypto.face_record import Size
from crypto.face_record_2005 import read_face_record_2005
from crypto.face_record_codes import CaptureTechnology, PadDecision
from crypto.face_record_der import read_face_record
from crypto.keys import load_recipient_key, load_trust, make_development_pki
from crypto.recipient import generate_recipient_key
from crypto.seal import open_packet
from crypto.status_token import read_status_token, status_digest
from tests.booth_rig import booth_config
from validation.errors import ProfileUnknownError
from validation.pad import PadScore
from validation.profile import load_profile
from validation.report import Report

CAMERA = '[camera]\nurl = "http://127.0.0.1:9/"\n'
CONTROLS = '[controls]\nurl = "visca+serial:///dev/ttyUSB9"\n'
PARTS = {"attempts.json", "chip.jp2", "face.bin", "pad/score.json", "portrait.jpg", "report.json", "visit.json"}
APPLICATION = Application(number="004177392", source="scanned")


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_development_pki(tmp_path_factory.mktemp("pki"))


def made_visit(applicant, face_model, profile: str) -> VisitRecord:
    """A judged still of one visit."""
    pixels = np.ascontiguousarray(applicant("stills/anna/neutral"))
    frame = Frame(pixels, time.monotonic_ns() - 2_000_000_000, 1, "PNG", lossy=False)
    record = VisitRecord(
        "visit-1", Place("booth-0001", "site", "centre", "test"), lambda: datetime.now(UTC), time.monotonic_ns
    )
    record.note_state("checking", 1)
    assert record.add(judge_burst((frame,), load_profile(profile), face_model), 1)
    return record


def sealed(tmp_path, pki, record: VisitRecord, profile: str = "demo", camera: str = ""):
    config = booth_config(tmp_path, pki, CAMERA + camera + CONTROLS, profile={"name": profile})
    sealer = Sealer.open(config)
    try:
        made = sealer.seal(record, APPLICATION, "de", "device")
    finally:
        sealer.close()
    return made, open_packet(made.packet, [load_recipient_key(pki / "desk.hpke")], load_trust(pki / "ca.pem"))


def test_a_probe_goes_into_the_folder_and_into_the_face_record_with_its_time(tmp_path, pki, applicant, face_model):
    record = made_visit(applicant, face_model, "demo")
    begun_ns = time.monotonic_ns() - 5_000_000_000
    record.note_pad(PadEvidence(PadScore(usable=True, score=0.25), ((1.0, b"\xff\xd8\xff"),), begun_ns=begun_ns))
    before = datetime.now(UTC)
    _, opened = sealed(tmp_path, pki, record)
    assert set(opened.parts) == {*PARTS, "pad/frame-01.jpg"}
    block = read_face_record(opened.parts["face.bin"]).attack
    assert (block.decision, block.scores[0].value) == (PadDecision.ATTACK, 25)
    began = datetime(block.captured.year, block.captured.month, block.captured.day, block.captured.hour, tzinfo=UTC)
    began = began.replace(minute=block.captured.minute, second=block.captured.second)
    assert 3 < (before - began).total_seconds() < 60
    record.wipe()
    assert record.pad is None
    record.note_pad(PadEvidence(PadScore(usable=False, score=None)))
    assert record.pad is None, "the visit is over"


def test_the_parts_tell_the_same_visit(tmp_path, pki, applicant, face_model):
    record = made_visit(applicant, face_model, "demo")
    before = datetime.now(UTC)
    made, opened = sealed(tmp_path, pki, record)
    parts = opened.parts
    assert set(parts) == PARTS
    assert json.loads(parts["pad/score.json"])["reason"] == "not_run"
    assert read_face_record(parts["face.bin"]).attack is None
    assert made.reference == reference_of(opened.manifest.packet_id)
    assert read_status_token(made.status_token) == made.status_token
    assert made.links.application == application_digest(APPLICATION.number).hex()
    assert made.links.status == status_digest(made.status_token).hex()
    assert made.status_token not in repr(made)
    assert not any(made.status_token.encode() in part for part in parts.values())
    assert parts["portrait.jpg"] == record.attempt.jpeg

    report = Report.model_validate_json(parts["report.json"])
    assert report.model_copy(update={"chip": None}) == record.attempt.report, (
        "sealing adds the chip and changes nothing"
    )
    chip = report.chip
    assert (chip.width, chip.height, chip.target_bytes, chip.bytes) == (622, 800, 17_000, len(parts["chip.jp2"]))
    assert chip.fills_target
    assert chip.psnr_db > 40
    seen = cv2.imdecode(np.frombuffer(parts["chip.jp2"], np.uint8), cv2.IMREAD_COLOR)
    assert cv2.PSNR(seen, record.attempt.best.portrait) == pytest.approx(chip.psnr_db, abs=0.05)

    face = read_face_record(parts["face.bin"])
    assert face.picture.data == parts["chip.jp2"]
    assert face.picture.information.size == Size(chip.width, chip.height)
    assert face.picture.device.technology is CaptureTechnology.VIDEO_FRAME_DIGITAL_CAMERA
    assert len(face.landmarks) == len(MESH_OF_POINT)
    taken = face.captured
    # The still is two seconds old; the record has its time, not the sealing's.
    told = datetime(taken.year, taken.month, taken.day, taken.hour, taken.minute, taken.second, tzinfo=UTC)
    assert timedelta(seconds=0) < before - told < timedelta(seconds=8)

    visit = json.loads(parts["visit.json"])
    assert visit["images"]["portrait.jpg"].keys() == {"format", "encoder", "quality", "subsampling"}
    assert "chip.jp2" not in visit["images"], "the report tells of the chip"


def test_a_profile_that_asks_for_the_older_record_gets_it(tmp_path, pki, applicant, face_model):
    _, opened = sealed(tmp_path, pki, made_visit(applicant, face_model, "ru"), "ru")
    face = read_face_record_2005(opened.parts["face.bin"])
    report = Report.model_validate_json(opened.parts["report.json"])
    assert opened.parts["face.bin"].startswith(b"FAC\x00010\x00")
    assert face.record().picture.data == opened.parts["chip.jp2"]
    assert (report.chip.width, report.chip.height, report.chip.target_bytes) == (413, 531, 15_000)
    assert report.chip.fills_target


def test_a_camera_with_stills_of_its_own_takes_photographs(tmp_path, pki, applicant, face_model):
    record = made_visit(applicant, face_model, "demo")
    _, opened = sealed(tmp_path, pki, record, camera='still_url = "http://127.0.0.1:9/still"\n')
    face = read_face_record(opened.parts["face.bin"])
    assert face.picture.device.technology is CaptureTechnology.PHOTOGRAPH_DIGITAL_CAMERA


def test_the_same_visit_sealed_twice_has_the_same_pictures_and_another_number(tmp_path, pki, applicant, face_model):
    record = made_visit(applicant, face_model, "demo")
    (one, first), (two, second) = (sealed(tmp_path, pki, record) for _ in range(2))
    assert one.packet_id != two.packet_id
    for name in ("portrait.jpg", "chip.jp2", "report.json", "attempts.json"):
        assert first.parts[name] == second.parts[name]


def test_every_recipient_opens_it(tmp_path, pki, applicant, face_model):
    coming = generate_recipient_key()
    (tmp_path / "next.hpke.pub").write_bytes(coming.public.to_pem())
    config = booth_config(tmp_path, pki, CAMERA + CONTROLS)
    both = (*config.keys.recipients, tmp_path / "next.hpke.pub")
    sealer = Sealer.open(config.model_copy(update={"keys": config.keys.model_copy(update={"recipients": list(both)})}))
    made = sealer.seal(made_visit(applicant, face_model, "demo"), APPLICATION, "de", None)
    sealer.close()
    for key in (load_recipient_key(pki / "desk.hpke"), coming):
        opened = open_packet(made.packet, [key], load_trust(pki / "ca.pem"))
        assert set(opened.parts) == PARTS


def test_nothing_is_opened_for_a_profile_or_a_key_that_is_not_there(tmp_path, pki):
    with pytest.raises(ProfileUnknownError):
        Sealer.open(booth_config(tmp_path, pki, CAMERA + CONTROLS, profile={"name": "none"}))
    config = booth_config(tmp_path, pki, CAMERA + CONTROLS)
    missing = config.keys.model_copy(update={"recipients": [tmp_path / "no.pub"]})
    with pytest.raises(KeyUnavailableError):
        Sealer.open(config.model_copy(update={"keys": missing}))
    other = config.booth.model_copy(update={"id": "booth-0002"})
    with pytest.raises(ConfigInvalidError, match="belongs to booth-0001"):
        Sealer.open(config.model_copy(update={"booth": other}))


def test_a_certificate_that_expired_during_the_visit_seals_nothing(tmp_path, applicant, face_model):
    old = make_development_pki(tmp_path / "old", at=datetime.now(UTC) - timedelta(days=800))
    with pytest.raises(CertificateNotValidError, match="expired on"):
        sealed(tmp_path, old, made_visit(applicant, face_model, "demo"))
