"""The users' page and everybody's own: a first password is told once, replaced by its owner, and what was done is in the audit log without a name."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from contextlib import closing

import httpx2
import pytest
from typer.testing import CliRunner

from crypto.totp import code_at
from server import memory, users_command
from server.cli import app
from server.messages import LANGUAGES, load_messages
from server.roles import Role
from tests.desk_rig import NOW, Desk, opened_desk
from tests.made_stores import make_store
from tests.sealed_packets import Keys

OWN = "my own long password 7"


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("account") / "pki")


@pytest.fixture
async def desk(keys, tmp_path):
    async with opened_desk(keys, tmp_path / "data", load_messages(), totp="required") as opened:
        yield opened


def token(page: httpx2.Response) -> str:
    return re.search(r'name="csrf_token" value="([^"]+)"', page.text)[1]


def entries(data) -> list[tuple[str, str, str]]:
    """Actor, action and subject of the audit log."""
    with closing(sqlite3.connect(data / "intake.sqlite3")) as connection:
        return list(connection.execute("SELECT actor, action, subject FROM audit_log ORDER BY number"))


async def as_administrator(desk: Desk) -> str:
    """Signed in with an authenticator; the id."""
    made = await desk.rooms.users.add("Anna Berg", ["administrator"], with_totp=True, temporary=False)
    code = code_at(made.totp, NOW.timestamp())
    assert (await desk.sign_in(made.password, name="Anna Berg", code=code)).status_code == 303
    return made.user.id


async def test_a_new_user_from_the_first_password_to_the_first_page(desk):
    admin = await as_administrator(desk)
    client, csrf = desk.client, {"csrf_token": token(await desk.client.get("/users"))}
    nobody = await client.post("/users", data=csrf | {"name": "Omar Saleh"})
    assert (nobody.status_code, "Choose at least one role" in nobody.text) == (400, True)
    taken = await client.post("/users", data=csrf | {"name": "anna BERG", "role-clerk": "on", "role-king": "on"})
    assert (taken.status_code, "Somebody has this name already" in taken.text) == (409, True)
    assert re.search(r'name="role-clerk" checked', taken.text)
    assert 'value="anna BERG"' in taken.text
    made = await client.post("/users", data=csrf | {"name": "Omar <b>Saleh</b>", "role-officer": "on"})
    password, user = (
        re.search(pattern, made.text)[1] for pattern in (r"((?:[2-9a-z]{4}-){3}[2-9a-z]{4})", r">(u-[0-9a-f]{8})<")
    )
    assert "<b>" not in made.text
    assert password not in (await client.get(f"/users/{user}")).text
    # The new user: nothing but the account, until password and authenticator are his own.
    client.cookies.clear()
    name = "Omar <b>Saleh</b>"
    assert (await desk.sign_in(password, name=name)).headers["location"] == "/account"
    for path in ("/", "/counter", f"/packets/{'0' * 64}", "/users"):
        assert (await client.get(path)).headers["location"] == "/account"
    assert (await client.get("/api/packets")).json()["code"] == "login.set_up"
    csrf = {"csrf_token": token(await client.get("/account"))}
    for form, said in (
        ({"present": password, "new": OWN, "again": OWN + "x"}, "not the same"),
        ({"present": password, "new": "short", "again": "short"}, "at least 12 characters"),
        ({"present": "not it", "new": OWN, "again": OWN}, "The present password is wrong"),
    ):
        refused = await client.post("/account/password", data=csrf | form)
        assert (refused.status_code in {400, 403}, said in refused.text) == (True, True)
    done = await client.post("/account/password", data=csrf | {"present": password, "new": OWN, "again": OWN})
    told = await client.get(done.headers["location"])
    assert "Your new password counts" in told.text
    assert "set up an authenticator app" in told.text
    assert (await client.get("/")).headers["location"] == "/account"
    page = await client.post("/account/authenticator", data={"csrf_token": token(told), "present": OWN})
    secret = re.search(r'dir="ltr">((?:[A-Z2-7]{4} ?){8})<', page.text)[1].replace(" ", "")
    assert page.text.count("<svg") == 1
    for code, status in (("000000", 400), (code_at(base64.b32decode(secret), NOW.timestamp()), 303)):
        sealed = re.search(r'name="sealed" value="([^"]+)"', page.text)[1]
        form = {"csrf_token": token(page), "sealed": sealed, "code": code}
        page = await client.post("/account/authenticator/confirm", data=form)
        assert page.status_code == status
    assert (await client.get("/")).status_code == 200
    client.cookies.clear()
    assert (await desk.sign_in(OWN, name=name)).status_code == 403
    later = code_at(base64.b32decode(secret), NOW.timestamp() + 30)
    assert (await desk.sign_in(OWN, name=name, code=later)).headers["location"] == "/"
    noted = entries(desk.rooms.settings.data_dir)
    assert (admin, "user.add", user) in noted
    own = [action for actor, action, _ in noted if actor == user]
    failed, done = ["user.password", "act.failed"], ["user.password"]
    assert own[: own.index("packets.list")] == ["sign_in", *failed, *failed, *done, *failed, *done]
    held = b"".join(file.read_bytes() for file in desk.rooms.settings.data_dir.glob("*.sqlite3*"))
    assert not [word for word in (b"Saleh", b"Anna", password.encode(), OWN.encode(), secret.encode()) if word in held]


async def test_what_an_administrator_changes_and_what_nobody_changes_of_himself(desk):
    admin = await as_administrator(desk)
    users, client = desk.rooms.users, desk.client
    other = (await users.add("Omar Saleh", ["officer"], temporary=False)).user.id
    csrf = {"csrf_token": token(await client.get(f"/users/{other}"))}
    assert (await client.post(f"/users/{other}/roles", data=csrf)).status_code == 400
    changed = await client.post(f"/users/{other}/roles", data=csrf | {"role-auditor": "on", "role-clerk": "on"})
    assert changed.headers["location"] == f"/users/{other}"
    assert (await users.find(other)).roles == {Role.AUDITOR, Role.CLERK}
    for act, state in (("disable", "disabled"), ("enable", "active")):
        assert (await client.post(f"/users/{other}/{act}", data=csrf)).status_code == 303
        assert (await users.find(other)).state == state
    reset = await client.post(f"/users/{other}/reset", data=csrf)
    assert re.search(r"(?:[2-9a-z]{4}-){3}[2-9a-z]{4}", reset.text)
    before = await users.find(admin)
    for act in ("roles", "disable", "enable", "reset"):
        own = await client.post(f"/users/{admin}/{act}", data=csrf | {"role-administrator": "on"})
        assert (own.status_code, "Nobody changes his own roles" in own.text) == (409, True)
    assert await users.find(admin) == before
    assert "/reset" not in (await client.get(f"/users/{admin}")).text
    with closing(sqlite3.connect(desk.rooms.settings.data_dir / "intake.sqlite3")) as connection, connection:
        connection.execute("UPDATE desk_users SET roles = 'administrator' WHERE id = ?", (other,))
    for path in ("/users", f"/users/{other}"):
        assert "Changed outside of the desk" in (await client.get(path)).text
    assert (await client.post(f"/users/{other}/enable", data=csrf)).status_code == 500
    noted = [(action, subject) for actor, action, subject in entries(desk.rooms.settings.data_dir) if actor == admin]
    assert [("user.change", other), ("user.disable", other), ("user.enable", other), ("user.reset", other)] == [
        one for one in noted if one[0] in {"user.change", "user.disable", "user.enable", "user.reset"}
    ][:4]
    assert ("act.failed", admin) in noted
    for language in LANGUAGES:
        for path in ("/users", f"/users/{other}", "/account", "/login"):
            text = (await client.get(path, params={"lang": language})).text
            assert not re.search(r">\s*(?:users?|account|role|section|nav|login|error)\.[a-z_.]+\s*<", text), path


async def test_wrong_present_passwords_make_wait_too(desk):
    await as_administrator(desk)
    csrf = {"csrf_token": token(await desk.client.get("/account")), "present": "not it"}
    tried = [await desk.client.post("/account/authenticator", data=csrf) for _ in range(4)]
    assert [answer.status_code for answer in tried] == [403, 403, 403, 429]
    assert "61 seconds" in tried[-1].text


def test_the_command_makes_the_first_administrator_and_notes_it(keys, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "forbid_dumps", lambda: None)
    where = ["--data", str(tmp_path / "data"), "--pki", str(keys.folder)]

    def typed(*words: str, status: int = 0):
        done = CliRunner().invoke(app, ["users", *words, *where, "--json"])
        assert done.exit_code == status, done.output
        return json.loads(done.stdout) if status == 0 else done.stderr

    assert "intake serve" in typed("list", status=2)
    make_store(tmp_path / "data")
    picture = tmp_path / "code.svg"
    anna = typed("add", "Anna Berg", "--role", "administrator", "--qr", str(picture))
    assert (anna["state"], anna["roles"], anna["authenticator"]) == ("new", ["administrator"], True)
    assert anna["otpauth"].startswith("otpauth://totp/Passbooth:Anna%20Berg?secret=")
    assert (picture.read_text().startswith("<svg "), picture.stat().st_mode & 0o777) == (True, 0o600)
    omar = typed("add", "Omar Saleh", "--role", "officer", "--role", "clerk", "--final", "--no-totp")
    assert (omar["state"], omar["otpauth"], omar["password_until"]) == ("active", None, None)
    assert "already" in typed("add", "OMAR SALEH", "--role", "officer", status=1)
    assert "last administrator" in typed("disable", anna["id"], status=1)
    assert typed("roles", omar["id"], "--role", "supervisor")["roles"] == ["supervisor"]
    assert typed("disable", omar["id"])["state"] == "disabled"
    reset = typed("reset", omar["id"])
    assert (reset["password"] != omar["password"], reset["state"], reset["authenticator"]) == (True, "disabled", True)
    assert {one["name"] for one in typed("list")} == {"Anna Berg", "Omar Saleh"}
    noted = [one for one in entries(tmp_path / "data") if one[0] == users_command.OPERATOR]
    assert [(action, subject) for _, action, subject in noted if not action.startswith("act.")] == [
        *[("user.add", anna["id"]), ("user.add", omar["id"])],
        ("user.add", noted[2][2]),
        *[("user.disable", anna["id"]), ("user.change", omar["id"]), ("user.disable", omar["id"])],
        ("user.reset", omar["id"]),
    ]
    assert len([one for one in noted if one[1] == "act.failed"]) == 2
    plain = CliRunner().invoke(app, ["users", "list", *where])
    assert re.search(r"^u-[0-9a-f]{8}  new  +administrator  authenticator  Anna Berg$", plain.stdout, re.MULTILINE)
