"""The technician's routes: for his session alone, doing by POST with the token, and pictures only of himself."""

from __future__ import annotations

import asyncio
import io
import json
import re
import zipfile

import argon2
import httpx2
import pytest
import websockets
from fastapi.testclient import TestClient

from booth.errors import HistoryUnusableError, TrainerLostError
from booth.passphrase import write_passphrase
from booth.technician_login import TechnicianDoor
from booth.web import create_app, open_pages
from tests.unit.fake_booth import FakeBooth, kiosk_state
from tests.unit.fake_technician import FakeTrainer

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
PASSPHRASE = "correct horse battery staple"
READ = ("", "/live", "/maintenance", "/history", "/fleet", "/test-card", "/training")
DO = {
    "/bundle": {},
    "/tests": {},
    "/calibration": {"baseline": True},
    "/maintenance/proceed": {},
    "/maintenance/cancel": {},
    "/service/off": {"reason": "cleaning"},
    "/service/on": {},
    "/fleet/profile": {},
    "/training/answer": {"cause": "lamp_dark"},
    "/training/next": {},
    "/training/scene": {"scene": "card"},
}


@pytest.fixture
def booth():
    return FakeBooth(kiosk_state("attract"), b"\xff\xd8 a picture \xff\xd9")


@pytest.fixture
def door(tmp_path):
    file = tmp_path / "technician.argon2id"
    write_passphrase(file, PASSPHRASE, CHEAP)
    return TechnicianDoor(file)


@pytest.fixture
def outside(booth, door):
    app = create_app(booth, door=door, training=FakeTrainer())
    return TestClient(app, base_url="http://127.0.0.1:8000", client=("127.0.0.1", 40000))


@pytest.fixture
def inside(outside):
    token = re.search(r'name="kiosk-token" content="([^"]+)"', outside.get("/").text).group(1)
    outside.headers["X-Kiosk-Token"] = token
    assert outside.post("/api/technician/session", json={"passphrase": PASSPHRASE}).status_code == 204
    return outside


@pytest.mark.parametrize("path", READ)
def test_reading_is_for_a_session_and_changes_nothing(booth, outside, path):
    assert outside.get(f"/api/technician{path}").status_code == 401
    assert outside.post(f"/api/technician{path}").status_code == 405
    assert booth.maintenance.done == []


@pytest.mark.parametrize("path", DO)
def test_doing_needs_the_token_and_a_session(booth, outside, path):
    assert outside.get(f"/api/technician{path}").status_code == 405
    refused = outside.post(f"/api/technician{path}", json=DO[path])
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "page.token")
    token = re.search(r'name="kiosk-token" content="([^"]+)"', outside.get("/").text).group(1)
    refused = outside.post(f"/api/technician{path}", json=DO[path], headers={"X-Kiosk-Token": token})
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "technician.login")
    assert booth.maintenance.done == []


def test_a_technician_runs_tests_stops_them_and_switches_the_booth(booth, inside):
    running = inside.post("/api/technician/tests", json={"attended": True})
    assert running.status_code == 202
    assert running.json()["state"]["busy"] == "tests"
    assert inside.get("/api/technician/maintenance").json()["state"]["tests"]["current"] == "disk.free"
    inside.post("/api/technician/maintenance/cancel")
    off = inside.post("/api/technician/service/off", json={"reason": "cleaning"})
    assert off.json()["state"]["switch"]["reason"] == "cleaning"
    assert inside.post("/api/technician/service/on").json()["state"]["switch"] is None
    assert booth.maintenance.done == ["tests attended", "cancel", "off cleaning", "on"]


def test_a_technician_calibrates(booth, inside):
    started = inside.post("/api/technician/calibration", json={"baseline": True}).json()["state"]
    assert (started["busy"], started["calibration"]["current"]["expired"]) == ("calibration", False)
    assert [step["key"] for step in started["calibration"]["steps"] if step["state"] == "waiting"] == ["empty"]
    inside.post("/api/technician/maintenance/proceed")
    assert booth.maintenance.done == ["calibration baseline", "proceed"]


def test_he_sees_what_was_told_and_asked_and_takes_a_profile_back(booth, inside):
    seen = inside.get("/api/technician/fleet").json()
    assert json.loads(seen["heartbeat"]["body"])["service"] == {"state": "in_service", "reason": None, "since": None}
    assert [(one["kind"], one["by"]) for one in seen["orders"]] == [
        ("change_profile", "u-3f9a11c2"),
        ("run_tests", "u-3f9a11c2"),
    ]
    assert seen["profile"]["instead_of"] == "icao"
    assert inside.post("/api/technician/fleet/profile").status_code == 204
    assert inside.get("/api/technician/fleet").json()["profile"] is None


@pytest.mark.parametrize("path", ["/tests", "/calibration", "/service/off"])
def test_during_a_visit_it_is_refused_in_a_sentence(booth, inside, path):
    booth.maintenance.visiting = True
    refused = inside.post(f"/api/technician{path}", json=DO[path])
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "maintenance.refused")
    assert "try again" in refused.json()["error"]["message"]


def test_a_disk_that_refuses_the_switch_is_told(booth, inside, monkeypatch):
    def fail(_reason):
        raise OSError(28, "No space left on device", "/a/place")

    monkeypatch.setattr(booth.maintenance, "switch_off", fail)
    refused = inside.post("/api/technician/service/off", json={"reason": "other"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "technician.disk")
    assert "/a/place" not in refused.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/service/off", {"reason": "because"}),
        ("/service/off", {}),
        ("/service/off", {"reason": "other", "more": 1}),
        ("/tests", {"attended": "perhaps"}),
        ("/tests", [True]),
        ("/calibration", {"baseline": 1, "id": "x"}),
        ("/service/on", {"reason": "other"}),
        ("/training/answer", {"cause": "DROP TABLE"}),
        ("/training/scene", {"scene": "elephant"}),
    ],
)
def test_a_body_that_is_no_command_is_refused(booth, inside, path, body):
    refused = inside.post(f"/api/technician{path}", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "technician.malformed")
    assert booth.maintenance.done == []


def test_live_values_come_for_one_family_of_rules(booth, inside):
    booth.maintenance.switch_off("maintenance")
    light = inside.get("/api/technician/live", params={"family": "light"}).json()
    assert light["inspecting"]
    assert {each["rule"].split(".")[0] for each in light["rules"]} == {"light"}
    assert light["histogram"]["mean"] > 0
    pose = inside.get("/api/technician/live", params={"family": "pose"}).json()
    assert all(each["plot"]["lines"] for each in pose["rules"])


def test_the_history_of_every_check_comes_as_plots_and_figures(inside):
    checks = inside.get("/api/technician/history").json()["checks"]
    disk = checks["disk.free"]
    assert disk["unit"] == "MB"
    assert len(disk["plot"]["lines"]) == 2, "eleven days without a test are a gap"
    assert len(disk["points"]) == 79
    assert disk["crosses_in_days"] is None, "it is beyond its limit already"
    assert checks["clock.skew"]["points"] == []


def test_a_history_that_cannot_be_read_is_told(booth, inside, monkeypatch):
    async def broken():
        raise HistoryUnusableError("The history cannot be used: look at the disk.")

    monkeypatch.setattr(booth.maintenance, "trends", broken)
    refused = inside.get("/api/technician/history")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, HistoryUnusableError.code)


def test_the_test_card_is_a_drawing_of_true_size(inside):
    card = inside.get("/api/technician/test-card")
    assert card.headers["content-type"] == "image/svg+xml"
    assert b"210mm" in card.content


def test_the_bundle_is_a_zip_file_with_a_name_of_its_own(booth, inside):
    answer = inside.post("/api/technician/bundle")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert re.fullmatch(
        r'attachment; filename="passbooth-support-booth-0001-\d{8}T\d{6}Z\.zip"', answer.headers["content-disposition"]
    )
    assert zipfile.is_zipfile(io.BytesIO(answer.content))
    assert booth.maintenance.done == ["bundle"]


def test_a_training_goes_through_its_trainer(inside):
    assert inside.get("/api/technician/training").json()["exercise"] == 1
    wrong = inside.post("/api/technician/training/answer", json={"cause": "nothing"}).json()
    assert wrong["outcome"] == {"given": "nothing", "cause": "lamp_dark", "right": False}
    assert inside.post("/api/technician/training/next").json()["exercise"] == 2
    assert inside.post("/api/technician/training/scene", json={"scene": "card"}).json()["scene"] == "card"


def test_a_booth_in_service_has_no_training(booth, door):
    client = TestClient(create_app(booth, door=door), base_url="http://127.0.0.1:8000", client=("127.0.0.1", 40000))
    assert "training-banner" not in client.get("/").text
    client.headers["X-Kiosk-Token"] = re.search(r'kiosk-token" content="([^"]+)"', client.get("/").text).group(1)
    client.post("/api/technician/session", json={"passphrase": PASSPHRASE})
    assert client.get("/api/technician/training").status_code == 404
    assert 'id="training' not in client.get("/technician").text


def test_a_training_says_so_on_every_page(inside):
    kiosk = inside.get("/").text
    assert all(word in kiosk for word in ("TRAINING", "ÜBUNG", "ТРЕНИРОВКА", "تدريب"))
    assert 'id="training-banner"' in inside.get("/technician").text


def test_a_trainer_that_is_gone_is_told(inside, monkeypatch):
    async def lost(_self, _ask):
        raise TrainerLostError("The trainer does not answer: is `booth train` still running?")

    monkeypatch.setattr(FakeTrainer, "view", lost)
    monkeypatch.setattr(FakeTrainer, "tell", lost)
    refused = inside.post("/api/technician/training/next")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "training.lost")


# --- pictures ----------------------------------------------------------------------------------------------------------


async def logged_in(address):
    async with httpx2.AsyncClient(base_url=address) as browser:
        token = re.search(r'name="kiosk-token" content="([^"]+)"', (await browser.get("/")).text).group(1)
        answer = await browser.post(
            "/api/technician/session", json={"passphrase": PASSPHRASE}, headers={"X-Kiosk-Token": token}
        )
        return token, answer.headers["set-cookie"].split(";")[0]


async def test_pictures_leave_to_a_session_while_the_booth_is_switched_off(booth, door, no_tasks_left):
    async with open_pages(booth, 0, door=door) as address:
        socket = address.replace("http", "ws") + "api/technician/preview"
        with pytest.raises(websockets.InvalidStatus):
            async with websockets.connect(socket):
                pass
        token, cookie = await logged_in(address)
        async with websockets.connect(socket, additional_headers={"Cookie": cookie}) as looking:
            assert booth.looks == 0, "opening a socket alone lights nothing"
            await looking.send("ready")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await looking.recv()
            assert booth.looks == 1
            booth.maintenance.switch_off("maintenance")
            assert (await looking.recv())[8:] == booth.picture
            async with httpx2.AsyncClient(base_url=address) as browser:
                await browser.post("/api/technician/session/end", headers={"X-Kiosk-Token": token, "Cookie": cookie})
            booth.picture_at_ns += 1
            await looking.send("ready")
            with pytest.raises(websockets.ConnectionClosed):
                await looking.recv()
        assert booth.looks == 0


async def test_who_logged_out_while_there_was_nothing_to_see_gets_nothing_of_the_next(booth, door, no_tasks_left):
    async with open_pages(booth, 0, door=door) as address:
        socket = address.replace("http", "ws") + "api/technician/preview"
        token, cookie = await logged_in(address)
        async with websockets.connect(socket, additional_headers={"Cookie": cookie}) as looking:
            await looking.send("ready")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await looking.recv()
            async with httpx2.AsyncClient(base_url=address) as browser:
                await browser.post("/api/technician/session/end", headers={"X-Kiosk-Token": token, "Cookie": cookie})
            booth.maintenance.switch_off("maintenance")
            with pytest.raises(websockets.ConnectionClosed):
                await looking.recv()
        assert booth.looks == 0


@pytest.mark.parametrize("state", ["framing"])
async def test_of_a_visit_no_picture_leaves_to_a_technician(booth, door, state):
    await booth.show(kiosk_state(state))
    async with open_pages(booth, 0, door=door) as address:
        _, cookie = await logged_in(address)
        socket = address.replace("http", "ws") + "api/technician/preview"
        async with websockets.connect(socket, additional_headers={"Cookie": cookie}) as looking:
            await looking.send("ready")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await looking.recv()
