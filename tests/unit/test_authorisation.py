"""Who may do what at the desk: every route by every role and by nobody, against a table written by hand; and what somebody tries who may not."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import httpx2
import pytest

from crypto.keys import Purpose, SignerSource
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
        rooms = replace(plain.rooms, hand_over=hand_over, holds=holds)
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
    # Fleet and statistics.
    "GET /statistics": "satm",
    "GET /statistics.csv": "satm",
    # Users.
    "GET /users": "m",
    "POST /users": "m",
    "GET /users/{user}": "m",
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
