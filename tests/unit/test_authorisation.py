"""Who may do what at the desk: every route by every role and by nobody, against a table written by hand; and what somebody tries who may not."""

from __future__ import annotations

import base64
import contextlib
import re
import sqlite3
from dataclasses import replace
from datetime import timedelta

import httpx2
import pytest

from crypto.keys import Purpose, SignerSource
from crypto.totp import code_at
from server.audit import AuditLog
from server.auth import LOOK_S
from server.decisions import HandOver, HandOverRooms
from server.desk import make_desk
from server.holds import Holds
from server.messages import load_messages
from server.roles import Role
from tests.desk_rig import BASE, NOW, Desk, opened_desk, parts
from tests.sealed_packets import Keys


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("authorisation") / "pki")


class Quiet(AuditLog):
    """Writes nothing: a thousand durable entries cost more than everything else here, and have tests of their own (test_desk_audit.py)."""

    async def note(self, *_: object, **__: object) -> int:
        return 1


@pytest.fixture
async def desk(keys, tmp_path):
    """A desk with everything that a desk may have."""
    async with opened_desk(keys, tmp_path / "data", load_messages()) as plain:
        signer = SignerSource(f"file:{keys.folder / 'desk.key'}").current
        hand_over = HandOver(
            HandOverRooms(
                *(plain.rooms.store, plain.objects.orders, plain.rooms.opener, keys.folder / "producers"),
                signer=signer,
                answer_within=timedelta(hours=72),
                now=lambda: NOW,
            )
        )
        holds = Holds(plain.rooms.store, signer, Purpose.DESK, lambda: NOW)
        audit = Quiet(plain.rooms.store, plain.rooms.secret, tmp_path, signer=None, now=lambda: NOW)
        rooms = replace(plain.rooms, audit=audit, hand_over=hand_over, holds=holds)
        transport = httpx2.ASGITransport(make_desk(rooms), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            yield Desk(rooms, plain.objects, plain.receipts, client, plain.clock)


def flat(routes):
    """The routes of included routers too, which FastAPI keeps as they are."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        yield from flat(inner.routes) if inner is not None else (route,)


def known_routes(desk: Desk) -> set[str]:
    app = desk.client._transport.app
    while not hasattr(app, "routes"):
        app = app._app
    return {
        f"{method} {route.path}" for route in flat(app.routes) if hasattr(route, "methods") for method in route.methods
    }


# Who may ask what, by hand. A route that is not here fails the test: its row is written when it is made.
#   o officer  s supervisor  a auditor  t technician  m administrator  c clerk
#   everybody: without signing in;  own: whoever is signed in, also who has yet to set his own password
ROUTES = {
    "GET /login": "everybody",
    "POST /login": "everybody",
    "POST /logout": "own",
    "GET /account": "own",
    "GET /account/{form}": "own",
    "POST /account/password": "own",
    "POST /account/authenticator": "own",
    "POST /account/authenticator/confirm": "own",
    # Packets: looked at by who decides, supervises or audits; by nobody who makes users, mends booths or takes applications.
    "GET /": "osa",
    "GET /search": "osa",
    "POST /search": "osa",
    "POST /queue/next": "os",
    "POST /packets/{sha256}/look": "os",
    "GET /packets/{sha256}": "osa",
    "GET /packets/{sha256}/portrait.jpg": "osa",
    "GET /packets/{sha256}/pad/{name}": "osa",
    "GET /packets/{sha256}/recheck": "osa",
    "GET /packets/{sha256}/recheck/part": "osa",
    "GET /api/packets": "osa",
    "GET /api/packets/{sha256}": "osa",
    # Decisions.
    "GET /packets/{sha256}/accept": "os",
    "POST /packets/{sha256}/accept": "os",
    "GET /packets/{sha256}/refuse": "os",
    "POST /packets/{sha256}/refuse": "os",
    "POST /packets/{sha256}/propose": "os",
    "POST /packets/{sha256}/withdraw": "os",
    "GET /packets/{sha256}/approve": "s",
    "POST /packets/{sha256}/approve": "s",
    "POST /packets/{sha256}/reject-proposal": "s",
    "POST /packets/{sha256}/hold": "s",
    "POST /packets/{sha256}/release": "s",
    # What leaves the desk as a file.
    "GET /api/packets/{sha256}/parts/{name:path}": "s",
    "GET /api/packets/{sha256}/records.zip": "s",
    "GET /api/packets/{sha256}/package.zip": "s",
    "GET /api/packets/{sha256}/cms": "s",
    "GET /api/packets/{sha256}/packet": "s",
    # Hand-over.
    "GET /handover": "osa",
    "POST /handover/{order}/resend": "s",
    # The counter.
    "GET /counter": "sc",
    "GET /counter/{form}": "sc",
    "POST /counter/find": "sc",
    "POST /counter/register": "sc",
    "POST /counter/slip": "sc",
    # Fleet and statistics: seen by whoever runs the house; changed by technicians alone.
    "GET /fleet": "satm",
    "GET /fleet/booths/{booth}": "satm",
    "POST /fleet/sites": "t",
    "POST /fleet/sites/{site}/remove": "t",
    "POST /fleet/booths": "t",
    "POST /fleet/booths/{booth}": "t",
    "POST /fleet/booths/{booth}/retire": "t",
    "POST /fleet/booths/{booth}/return": "t",
    "POST /fleet/booths/{booth}/token": "t",
    "POST /fleet/booths/{booth}/withdraw": "t",
    "POST /fleet/booths/{booth}/orders/{kind}": "t",
    "POST /fleet/booths/{booth}/withdraw-order/{order}": "t",
    "GET /fleet/booths/{booth}/bundles/{order}": "t",
    "GET /fleet/booths/{booth}/orders/{kind}": "satm",
    "GET /fleet/booths/{booth}/withdraw-order/{order}": "satm",
    "GET /fleet/{form}": "satm",
    "GET /fleet/sites/{site}/{form}": "satm",
    "GET /fleet/booths/{booth}/{form}": "satm",
    "GET /statistics": "satm",
    "GET /statistics.csv": "satm",
    # The audit log.
    "GET /audit": "a",
    "POST /audit/verify": "a",
    # Users.
    "GET /users": "m",
    "POST /users": "m",
    "GET /users/{user}": "m",
    "GET /users/{user}/{form}": "m",
    "POST /users/{user}/roles": "m",
    "POST /users/{user}/disable": "m",
    "POST /users/{user}/enable": "m",
    "POST /users/{user}/reset": "m",
}
LETTERS = dict(zip("osatmc", Role, strict=True))
# What stands in a packet and in the list of users, and may be in no answer to who may see neither.
PERSONAL = ("A1234567", "Zacharias")


def addresses(sha256: str, user: str) -> dict[str, tuple[str, str]]:
    """Method and address of each row of the table."""
    values = {"sha256": sha256, "user": user, "name": "portrait.jpg", "name:path": "visit.json", "form": "register"}
    filled = {}
    for route in ROUTES:
        method, path = route.split(" ")
        if path.endswith("/{form}"):  # where a change of language leads
            path += "?lang=en"
        if "/recheck" in path:  # of a packet that there is it takes a second in a process of its own
            path = path.replace("{sha256}", "0" * 64)
        filled[route] = (method, re.sub(r"\{([^}]*)\}", lambda found: values.get(found[1], "0" * 32), path))
    return filled


def told(answer: httpx2.Response) -> str:
    """What an answer says of the right to ask."""
    where = answer.headers.get("location", "")
    if answer.status_code == 303 and where.startswith("/login"):
        return "sign in"
    if answer.status_code == 303 and where == "/account":
        return "set up"
    if answer.status_code == 303 and answer.request.url.path == "/":
        return "denied"  # led to his own first page
    for code, word in (("login.required", "sign in"), ("login.set_up", "set up"), ("access.denied", "denied")):
        if code in answer.text:
            return word
    if "login.form" in answer.text:
        return "form"
    return "asked" if answer.status_code < 500 else f"failed {answer.status_code}"


def expected(who: str, allowed: str, method: str) -> str:
    """What the table says of somebody: a letter, `nobody` or `unfinished`."""
    if who == "nobody":
        return "sign in" if allowed != "everybody" else "asked" if method == "GET" else "form"
    if allowed in {"everybody", "own"} or (len(who) == 1 and who in allowed):
        return "asked" if method == "GET" else "form"
    return "set up" if who == "unfinished" else "denied"


async def test_every_route_is_in_the_table_and_the_other_way_round(desk):
    assert known_routes(desk) == set(ROUTES)


async def test_every_route_by_every_role_and_by_nobody(desk, keys):
    """Forms are sent without their token, so that nothing is changed and who gets as far as the token may do it."""
    sha256 = await desk.receive(keys.packet(parts()))
    somebody = await desk.rooms.users.add("Zacharias Somebody", ["officer"])
    asked = addresses(sha256, somebody.user.id)
    found, personal = [], set()
    for who in ("nobody", "unfinished", *LETTERS):
        if who == "unfinished":
            temporary = await desk.rooms.users.add("Temporary", [role.value for role in Role])
            assert (await desk.sign_in(temporary.password, name="Temporary")).headers["location"] == "/account"
        elif who in LETTERS:
            assert (await desk.sign_in_as(LETTERS[who])).status_code == 303
        for route, (method, path) in asked.items():
            if who != "nobody" and route in {"GET /login", "POST /login"}:
                continue
            answer = await desk.client.request(method, path, data={"x": "y"} if method == "POST" else None)
            got, wanted = told(answer), expected(who, ROUTES[route], method)
            if got != wanted:
                found.append(f"{route} by {who}: {got} instead of {wanted}")
            if any(word in answer.text for word in PERSONAL):
                personal.add((who, route))
                if wanted != "asked":
                    found.append(f"{route} by {who}: personal data in the answer")
    assert found == []
    assert {("o", "GET /packets/{sha256}"), ("s", "GET /api/packets/{sha256}/parts/{name:path}")} <= personal
    assert {who for who, _ in personal} == set("osam"), "technician and clerk see nothing of a packet or a user"
    assert {route for who, route in personal if who == "m"} == {"GET /users", "GET /users/{user}"}


def token_of(page: httpx2.Response) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


def contents(desk: Desk) -> dict[str, list]:
    """Every row of every table but those that a look at something writes."""
    noted = {"audit_log", "queue_looks"}
    with contextlib.closing(sqlite3.connect(desk.rooms.settings.data_dir / "intake.sqlite3")) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: list(connection.execute(f"SELECT * FROM {name}")) for name in names if name not in noted}


async def test_no_form_counts_that_this_session_s_page_has_not_shown(desk, keys):
    """Without a token, with the login form's, with another session's, with the right one from another site or as another type: nothing is done."""
    sha256 = await desk.receive(keys.packet(parts()))
    somebody = await desk.rooms.users.add("Somebody", ["officer"])
    login = token_of(await desk.client.get("/login"))
    await desk.sign_in()
    others = token_of(await desk.client.get("/account"))
    await desk.sign_in_as(*Role)
    right = token_of(await desk.client.get("/account"))
    assert len({login, others, right}) == 3
    forms = {route: told for route, told in addresses(sha256, somebody.user.id).items() if route.startswith("POST")}
    before, found = contents(desk), []
    for route, (_, path) in forms.items():
        if route == "POST /login":
            continue
        foreign = {"Origin": "https://evil.example"}
        tried = {
            "none": await desk.client.post(path, data={"x": "y"}),
            "login": await desk.client.post(path, data={"csrf_token": login}),
            "others": await desk.client.post(path, data={"csrf_token": others}),
            "foreign": await desk.client.post(path, data={"csrf_token": right}, headers=foreign),
            "query": await desk.client.post(f"{path}?csrf_token={right}", data={"x": "y"}),
        }
        found += [(route, how) for how, answer in tried.items() if (answer.status_code, told(answer)) != (403, "form")]
        typed = await desk.client.post(path, json={"csrf_token": right})
        found += [(route, "json")] if typed.status_code != 415 else []
        # And no GET does what a form does.
        plain = await desk.client.get(path, params={"csrf_token": right})
        found += [(route, "GET")] if plain.status_code >= 500 else []
    assert found == []
    assert contents(desk) == before


async def test_whose_account_it_is_comes_from_the_session_and_from_nothing_that_is_sent(desk):
    victim = await desk.user(Role.SUPERVISOR)
    await desk.sign_in_as(Role.CLERK)
    clerk = await desk.user(Role.CLERK)
    names = ("user", "id", "officer", "name", "generation", "password_until", "totp", *(f"role-{r}" for r in Role))
    more = dict.fromkeys(names, victim.user.id) | {"roles": "administrator"}
    form = {"csrf_token": token_of(await desk.client.get("/account")), "new": "a quite new one 17"}
    form |= {"again": form["new"], "present": clerk.password}
    changed = await desk.client.post(f"/account/password?user={victim.user.id}", data=form | more)
    assert (changed.status_code, changed.headers["location"]) == (303, "/account?done=password")
    assert (await desk.rooms.users.find(victim.user.id)).generation == victim.user.generation
    after = await desk.rooms.users.find(clerk.user.id)
    assert (after.roles, after.generation) == (frozenset({Role.CLERK}), clerk.user.generation + 1)
    desk.client.cookies.clear()
    assert (await desk.sign_in(victim.password, name=victim.user.name)).status_code == 303
    # The victim's own form does not take an authenticator that was made for somebody else, or in another session.
    made = await begin_authenticator(desk, victim.password)
    for who in (await desk.user(Role.OFFICER), victim):
        desk.client.cookies.clear()
        await desk.sign_in(who.password, name=who.user.name)
        sent = {
            "csrf_token": token_of(await desk.client.get("/account")),
            "sealed": made["sealed"],
            "code": made["code"],
        }
        assert told(await desk.client.post("/account/authenticator/confirm", data=sent)) == "form"
        assert not (await desk.rooms.users.find(who.user.id)).has_totp


async def begin_authenticator(desk: Desk, password: str) -> dict[str, str]:
    """What the form with a new authenticator holds, and the code that the app would show."""
    form = {"csrf_token": token_of(await desk.client.get("/account")), "present": password}
    page = await desk.client.post("/account/authenticator", data=form)
    text = re.search(r'dir="ltr">((?:[A-Z2-7]{4} ?){8})<', page.text)[1]
    secret = base64.b32decode(text.replace(" ", ""))
    sealed = re.search(r'name="sealed" value="([^"]+)"', page.text)[1]
    return {"sealed": sealed, "code": code_at(secret, NOW.timestamp()), "csrf_token": token_of(page)}


async def test_an_invented_name_finds_nothing_and_nobody(desk):
    await desk.sign_in()
    csrf = {"csrf_token": token_of(await desk.client.get("/account"))}
    for name in ("%2e%2e", "u-00000000%00", "' OR 1=1 --", "u-%", "\N{BLACK STAR}" * 40):
        for path in (f"/users/{name}", f"/packets/{name}", f"/api/packets/{name}", f"/packets/{'0' * 64}/pad/{name}"):
            assert (await desk.client.get(path)).status_code in {400, 404}, path
        for path in (
            f"/users/{name}/reset",
            f"/users/{name}/roles",
            f"/handover/{name}/resend",
            f"/packets/{name}/hold",
        ):
            assert (await desk.client.post(path, data=csrf)).status_code in {400, 404}, path


async def test_a_session_belongs_to_its_user_as_he_is_now(desk):
    users, clock = desk.rooms.users, desk.clock
    made = await desk.user(Role.OFFICER)
    await desk.sign_in_as(Role.OFFICER)
    assert (await desk.client.get("/")).status_code == 200
    await users.set_roles(made.user.id, ["clerk"], by=None)
    clock.now += LOOK_S + 1
    denied = await desk.client.get("/handover")
    assert (denied.status_code, told(denied)) == (403, "denied")
    assert (await desk.client.get("/counter")).status_code == 200
    # Disabled, and enabled again: the session is over for good.
    await users.disable(made.user.id, by=None)
    clock.now += LOOK_S + 1
    assert told(await desk.client.get("/counter")) == "sign in"
    await users.enable(made.user.id, by=None)
    assert told(await desk.client.get("/counter")) == "sign in"
    # A new password ends the sessions of the old one.
    await desk.sign_in_as(Role.OFFICER)
    reset = await users.reset(made.user.id, by=None, temporary=False)
    clock.now += LOOK_S + 1
    assert told(await desk.client.get("/counter")) == "sign in"
    assert (await desk.sign_in(made.password, name=made.user.name)).status_code == 403
    assert (await desk.sign_in(reset.password, name=made.user.name)).status_code == 303


async def test_no_session_is_fixed_carried_on_or_used_again(desk):
    """A token that was planted is none; each sign-in, sign-out and change of password has its own; an old one is worth nothing."""
    made, seen = await desk.user(Role.ADMINISTRATOR), set()

    def cookie() -> str:
        return desk.client.cookies.get("__Host-desk")

    desk.client.cookies.set("__Host-desk", "planted", domain="desk.test", path="/")
    await desk.sign_in(made.password, name=made.user.name)
    assert "planted" not in {one.value for one in desk.client.cookies.jar if one.domain != "desk.test"}
    desk.client.cookies.clear()
    # The form of another tab, sent once more while a session is open: that session ends.
    person = {"name": made.user.name, "password": made.password}
    person["csrf_token"] = token_of(await desk.client.get("/login"))
    form_cookie = desk.client.cookies.get("__Host-desk-form")
    for _ in range(2):
        desk.client.cookies.set("__Host-desk-form", form_cookie, domain="desk.test", path="/")
        assert (await desk.client.post("/login", data=person)).status_code == 303
        seen.add(cookie())
    form = {"csrf_token": token_of(await desk.client.get("/account")), "present": made.password}
    form |= dict.fromkeys(("new", "again"), "another long word 9")
    changed = await desk.client.post("/account/password", data=form)
    flags = changed.headers.get_list("set-cookie")
    assert all({"httponly", "secure", "samesite=strict", "path=/"} <= set(one.lower().split("; ")) for one in flags)
    last = cookie()
    assert len(seen | {last}) == 3
    await desk.client.post("/logout", data={"csrf_token": token_of(await desk.client.get("/account"))})
    for old in (*seen, last, "planted", ""):
        desk.client.cookies.clear()
        desk.client.cookies.set("__Host-desk", old, domain="desk.test", path="/")
        assert told(await desk.client.get("/users")) == "sign in"
