"""The technician's pages are closed without the passphrase: files, waiting times, sessions, commands, words."""

from __future__ import annotations

import asyncio
import logging
import re
import stat

import argon2
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from booth import config_command, passphrase
from booth.cli import app
from booth.errors import PassphraseError
from booth.kept_tries import ALLOWED, LOCKOUT_S
from booth.messages import known_languages
from booth.passphrase import make_passphrase, matches, read_passphrase_hash, write_passphrase
from booth.technician_login import COOKIE, MOST_SESSIONS, Refusal, TechnicianDoor
from booth.web import create_app
from tests.unit.fake_booth import FakeBooth
from tests.unit.test_config import GOOD

HOST = "127.0.0.1:8000"
SECRET = "vier Füchse gehen über Eis"
CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)  # verifying costs what the hash says
SESSION = "/api/technician/session"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "data" / "technician.argon2id"
    write_passphrase(path, SECRET, CHEAP)
    return path


@pytest.fixture
def door(file, clock):
    return TechnicianDoor(file, session_s=1800, clock=clock)


@pytest.fixture
def booth():
    return FakeBooth()


@pytest.fixture
def client(booth, door):
    return browser(booth, door)


def browser(booth, door):
    return TestClient(create_app(booth, door=door), base_url=f"http://{HOST}", client=("127.0.0.1", 40000))


def token_of(client):
    return re.search(r'name="kiosk-token" content="([^"]+)"', client.get("/technician").text).group(1)


def log_in(client, secret=SECRET, path=SESSION, **headers):
    return client.post(path, json={"passphrase": secret}, headers={"X-Kiosk-Token": token_of(client)} | headers)


# --- the file ----------------------------------------------------------------------------------------------------------


def test_the_file_holds_an_argon2id_hash_with_the_recommended_costs_for_its_owner_alone(tmp_path):
    path = tmp_path / "new" / "technician.argon2id"
    write_passphrase(path, SECRET)
    stored = read_passphrase_hash(path)
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=1$")
    assert SECRET not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert matches(stored, SECRET)
    assert not matches(stored, SECRET + "!")
    write_passphrase(path, SECRET)
    assert read_passphrase_hash(path) != stored  # another salt


def test_a_passphrase_is_the_same_however_its_letters_are_put_together(file):
    assert matches(read_passphrase_hash(file), SECRET.replace("ü", "u\u0308"))


@pytest.mark.parametrize(
    "bad", ["", "eleven char", "x" * 129, "twelve chars\nand a line", "twelve chars\x00more", " " * 11]
)
def test_a_poor_passphrase_is_refused_and_never_repeated(tmp_path, bad):
    path = tmp_path / "technician.argon2id"
    with pytest.raises(PassphraseError) as refused:
        write_passphrase(path, bad, CHEAP)
    assert not bad.strip() or bad not in str(refused.value)
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"plain passphrase",
        b"\xff\xfe",
        b"$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHRzYWx0$" + b"A" * 43,
        b"$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHRzYWx0$" + b"A" * 43,
        b"$argon2id$v=19$m=64,t=900,p=1$c29tZXNhbHRzYWx0$" + b"A" * 43,
        b"$argon2id$v=19$m=64,t=1,p=64$c29tZXNhbHRzYWx0$" + b"A" * 43,
        b"$argon2id$" + b"A" * 5000,
    ],
)
async def test_a_file_that_is_no_hash_of_ours_opens_nothing(file, door, content, caplog):
    file.write_bytes(content)
    with pytest.raises(PassphraseError):
        read_passphrase_hash(file)
    assert door.lock == "unusable"
    assert (await door.open(SECRET)).code == "technician.no_passphrase"
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1  # told once
    assert content[:11].decode("latin-1") not in caplog.text or not content


def test_a_hash_that_is_damaged_inside_matches_nothing(file):
    stored = read_passphrase_hash(file)
    assert not matches(stored[:-2] + "!!", SECRET)


def test_a_file_that_others_can_read_or_that_is_none_is_not_used(file, door):
    file.chmod(0o640)
    assert door.lock == "unusable"
    file.unlink()
    assert door.lock == "unset"
    file.mkdir(mode=0o700)
    assert door.lock == "unusable"


@given(typed=st.text(max_size=300))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_can_be_typed(file, typed):
    assert matches(read_passphrase_hash(file), typed) == (typed == SECRET)


def test_random_passphrases_are_good_and_differ(tmp_path):
    made = {make_passphrase() for _ in range(100)}
    assert len(made) == 100
    write_passphrase(tmp_path / "hash", made.pop(), CHEAP)


# --- sessions ----------------------------------------------------------------------------------------------------------


async def test_the_right_passphrase_opens_a_session_that_ends_by_itself(door, clock):
    token = await door.open(SECRET)
    assert door.admits(token)
    clock.now += 1799
    assert door.admits(token)  # looking does not prolong it
    clock.now += 1
    assert not door.admits(token)


@pytest.mark.parametrize("token", [None, "", "x", "\udc80", "passbooth"])
async def test_no_other_token_is_let_in(door, token):
    await door.open(SECRET)
    assert not door.admits(token)


async def test_a_new_passphrase_ends_every_session_and_so_does_none(door, file):
    token = await door.open(SECRET)
    write_passphrase(file, SECRET, CHEAP)
    assert not door.admits(token)
    again = await door.open(SECRET)
    assert door.admits(again)
    file.unlink()
    assert not door.admits(again)


async def test_the_oldest_session_makes_room(door):
    tokens = [await door.open(SECRET) for _ in range(MOST_SESSIONS + 1)]
    assert [door.admits(token) for token in tokens] == [False] + [True] * MOST_SESSIONS


async def test_wrong_passphrases_wait_longer_each_time_and_the_right_one_waits_too(door, clock):
    for _ in range(ALLOWED):
        assert (await door.open("wrong" * 3)).code == "technician.wrong"
    refused = await door.open(SECRET)
    assert (refused.code, refused.wait_s) == ("technician.wait", LOCKOUT_S + 1)
    clock.now += LOCKOUT_S
    assert (await door.open("wrong" * 3)).code == "technician.wrong"
    assert (await door.open(SECRET)).wait_s == 2 * LOCKOUT_S + 1
    clock.now += 2 * LOCKOUT_S
    assert isinstance(await door.open(SECRET), str)
    assert (await door.open("wrong" * 3)).code == "technician.wrong"  # the right one forgot those before it


async def test_a_booth_that_is_killed_and_started_again_goes_on_with_the_wait(file, clock, tmp_path):
    tries = tmp_path / "technician.tries"
    for number in range(1, ALLOWED + 1):
        door = TechnicianDoor(file, tries=tries, clock=clock)  # another life of the booth for each try
        assert (await door.open("wrong" * 3)).code == "technician.wrong", number
    door = TechnicianDoor(file, tries=tries, clock=clock)
    refused = await door.open(SECRET)
    assert refused.code == "technician.wait"
    assert 1 < refused.wait_s <= LOCKOUT_S + 1
    clock.now += LOCKOUT_S
    assert isinstance(await door.open(SECRET), str)
    assert (await TechnicianDoor(file, tries=tries, clock=clock).open("wrong" * 3)).code == "technician.wrong"
    assert stat.S_IMODE(tries.stat().st_mode) == 0o600
    assert SECRET not in tries.read_text()


async def test_a_disk_that_takes_no_count_keeps_nobody_out_and_gives_no_more_tries(file, clock, tmp_path, caplog):
    door = TechnicianDoor(file, tries=tmp_path / "no such folder" / "technician.tries", clock=clock)
    assert isinstance(await door.open(SECRET), str)
    codes = [(await door.open("wrong" * 3)).code for _ in range(ALLOWED + 1)]
    assert codes == ["technician.wrong"] * ALLOWED + ["technician.wait"]
    assert "count until the booth ends only" in caplog.text


async def test_many_tries_at_once_are_no_way_around(door):
    outcomes = await asyncio.gather(*(door.open(f"wrong number {number}") for number in range(50)))
    assert [type(each) for each in outcomes] == [Refusal] * 50
    assert [each.code for each in outcomes].count("technician.wrong") == ALLOWED


# --- the pages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", known_languages())
def test_without_a_session_the_page_asks_and_shows_nothing_else(client, booth, language):
    page = client.get(f"/technician?language={language}")
    assert page.status_code == 200
    assert 'type="password"' in page.text
    assert f'<html lang="{language}"' in page.text
    told = booth.status
    assert not [word for word in (told.booth, told.site, told.centre, told.software_version) if word in page.text]
    assert (client.get("/api/technician").status_code, client.get("/technician?language=xx").status_code) == (401, 404)


@pytest.mark.parametrize("language", known_languages())
def test_without_a_passphrase_the_page_says_how_to_set_one(booth, tmp_path, language):
    for door in (None, TechnicianDoor(tmp_path / "technician.argon2id")):
        client = browser(booth, door)
        page = client.get(f"/technician?language={language}").text
        assert "booth config passphrase" in page
        assert "<input" not in page
        assert str(tmp_path) not in page
        answer = log_in(client)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "technician.no_passphrase")
        assert client.get("/api/technician").json()["error"]["code"] == "technician.login"


def test_a_passphrase_that_is_set_later_counts_at_once(booth, tmp_path):
    path = tmp_path / "technician.argon2id"
    client = browser(booth, TechnicianDoor(path))
    assert log_in(client).status_code == 409
    write_passphrase(path, SECRET, CHEAP)
    assert log_in(client).status_code == 204


def test_in_a_session_everything_is_there_until_its_end(client, booth, clock):
    answer = log_in(client)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["cache-control"] == "no-store"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "max-age=1800" in cookie
    assert client.get("/api/technician").json() == booth.status.model_dump(mode="json")
    assert "Technik" in client.get("/technician?language=de").text
    assert 'type="password"' not in client.get("/technician").text
    clock.now += 1800
    assert client.get("/api/technician").status_code == 401
    assert 'type="password"' in client.get("/technician").text


def test_logging_out_ends_the_session_at_the_booth_too(client):
    log_in(client)
    kept = client.cookies[COOKIE]
    assert client.post(f"{SESSION}/end", headers={"X-Kiosk-Token": token_of(client)}).status_code == 204
    assert COOKIE not in client.cookies
    client.cookies.set(COOKIE, kept)
    assert client.get("/api/technician").status_code == 401


def test_a_login_never_continues_what_a_browser_brought_along(client, door):
    log_in(client, Cookie=f"{COOKIE}=planted")
    assert not door.admits("planted")
    first = client.cookies[COOKIE]
    log_in(client)
    assert client.cookies[COOKIE] != first
    assert not door.admits(first)


@pytest.mark.parametrize("path", [SESSION, f"{SESSION}/end"])
def test_foreign_pages_cannot_log_in_or_out(client, door, path):
    for headers in ({"X-Kiosk-Token": ""}, {"X-Kiosk-Token": "guess"}, {"X-Kiosk-Token": b"\xe9"}):
        assert log_in(client, path=path, **headers).json()["error"]["code"] == "page.token"
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        assert log_in(client, path=path, **headers).json()["error"]["code"] == "page.foreign"
    assert client.get(path).status_code == 405
    assert log_in(client).status_code == 204


def test_wrong_ones_are_401_then_429_with_the_time(client):
    codes = [log_in(client, "wrong" * 3).status_code for _ in range(ALLOWED + 1)]
    assert codes == [401] * ALLOWED + [429]
    answer = log_in(client)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, str(int(LOCKOUT_S) + 1))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'"' + SECRET.encode() + b'"',
        b'{"passphrase": 7}',
        b'{"passphrase": "a", "b": 1}',
        b"[" * 4000,
        b"\xff",
    ],
)
def test_what_is_no_login_is_422_and_no_try(client, body):
    headers = {"X-Kiosk-Token": token_of(client)}
    for _ in range(ALLOWED + 1):
        answer = client.post(SESSION, content=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "technician.malformed")
        assert SECRET not in answer.text
    assert client.post(SESSION, content=b" " * 5000, headers=headers).status_code == 413
    assert log_in(client).status_code == 204


def test_a_lone_surrogate_is_a_wrong_passphrase_and_no_failure(client):
    headers = {"X-Kiosk-Token": token_of(client)}
    answer = client.post(SESSION, content=rb'{"passphrase": "\ud800\ud800\ud800"}', headers=headers)
    assert answer.json()["error"]["code"] == "technician.wrong"


def test_nothing_of_a_passphrase_is_logged(client, caplog):
    caplog.set_level(logging.DEBUG)
    log_in(client, "a wrong canary 4711")
    log_in(client)
    assert "4711" not in caplog.text
    assert SECRET not in caplog.text
    assert client.cookies[COOKIE] not in caplog.text
    assert "wrong passphrase" in caplog.text


# --- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture
def settings_file(tmp_path, monkeypatch):
    monkeypatch.setattr(passphrase, "HASHER", CHEAP)
    monkeypatch.setattr(write_passphrase, "__defaults__", (CHEAP,))
    path = tmp_path / "booth.toml"
    path.write_text(GOOD)
    return path


def test_the_command_takes_a_file_and_tells_nothing_of_it(settings_file, tmp_path):
    source = tmp_path / "passphrase.txt"
    source.write_text(f"{SECRET}\n")
    source.chmod(0o600)
    arguments = ["config", "passphrase", "--config", str(settings_file), "--file", str(source)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert SECRET not in done.output
    assert matches(read_passphrase_hash(tmp_path / "data" / "technician.argon2id"), SECRET)
    source.chmod(0o644)
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2
    assert "chmod 600" in refused.output


def test_the_command_asks_twice(settings_file, tmp_path, monkeypatch):
    answers = iter([SECRET, SECRET, SECRET, SECRET + "!"])
    monkeypatch.setattr(config_command.getpass, "getpass", lambda _: next(answers))
    monkeypatch.setattr(config_command, "_terminal", lambda: True)
    assert CliRunner().invoke(app, ["config", "passphrase", "-c", str(settings_file)]).exit_code == 0
    stored = read_passphrase_hash(tmp_path / "data" / "technician.argon2id")
    refused = CliRunner().invoke(app, ["config", "passphrase", "-c", str(settings_file)])
    assert refused.exit_code == 2
    assert "not the same" in refused.output
    assert read_passphrase_hash(tmp_path / "data" / "technician.argon2id") == stored


def test_without_a_terminal_the_command_asks_for_a_file(settings_file):
    refused = CliRunner().invoke(app, ["config", "passphrase", "-c", str(settings_file)])
    assert refused.exit_code == 2
    assert "--file" in refused.output


def test_no_argument_takes_a_passphrase(settings_file):
    assert CliRunner().invoke(app, ["config", "passphrase", SECRET]).exit_code == 2
