"""The counter: numbers by rule, an application registered once, told what became of it, and a slip that booths take; nothing of it in an address or a log."""

from __future__ import annotations

import asyncio
import html
import random
import re
import shutil
from datetime import date, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from crypto.application import MAX_LENGTH, MIN_LENGTH, application_digest, grouped_number, parse_number
from crypto.slip import centre_of, claimed_number, read_slip
from crypto.trust import load_certificates
from server.application_rows import Links, Registry, note_captures
from server.applications import NewApplication, Outcome
from server.audit import audit_log
from server.config import DeskSettings
from server.counter_errors import SlipOverError, SlipUnavailableError
from server.counter_rows import look_up, register
from server.errors import SettingsError
from server.messages import load_messages
from server.number_rules import DEFAULT_RULE, DRAWN, NumberRuleError, read_rule
from server.roles import Role
from server.slips import CentreKeys, slip_day, slip_text
from server.store import open_store
from tests.desk_rig import NOW, opened_desk
from tests.sealed_packets import Keys
from tests.unit.test_slip_command import seen_code

TODAY = NOW.date()
NUMBER, OTHER = "DEMO2026000017Q", read_rule("OTHER{random:5}").make(NOW.date(), lambda _of: "Z")


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("counter-keys") / "pki")


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path) -> str:
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    (tmp_path / "rows").mkdir()
    return f"sqlite+aiosqlite:///{tmp_path / 'rows' / 'intake.sqlite3'}"


@pytest.fixture
async def desk(keys, tmp_path):
    async with opened_desk(keys, tmp_path / "data", load_messages()) as started:
        assert (await started.sign_in_as(Role.CLERK)).status_code == 303
        yield started


async def send(desk, form: str, **fields: str):
    page = (await desk.client.get("/counter")).text
    names = dict(re.findall(r'name="(csrf_token|mark)" value="([^"]+)"', page))
    return await desk.client.post(f"/counter/{form}", data={**names, **fields})


def shown(page) -> str:
    return re.search(r'application-number"><bdi>([^<]+)<', page.text)[1]


async def logged(desk) -> list[tuple[str, str]]:
    async with desk.rooms.store.reading() as connection:
        rows = await connection.execute(sa.select(audit_log.c.action, audit_log.c.subject).order_by(audit_log.c.number))
        return [(row.action, row.subject) for row in rows if row.action.startswith("application.")]


# Numbers by rule


@given(st.integers(0, 2**32), st.dates(date(2020, 1, 1), date(2099, 12, 31)))
def test_a_number_by_rule_is_a_number(seed, today):
    draw = random.Random(seed)
    for line in (DEFAULT_RULE, "CN{yy}{day}{random:6}", "{random:19}", "{random:7}", "AB{random:5}{year}C7"):
        number = read_rule(line).make(today, draw.choice)
        assert parse_number(number) == number
        assert MIN_LENGTH <= len(number) <= MAX_LENGTH
    assert read_rule("CN{yy}{day}{random:6}").make(date(2026, 1, 9), lambda _of: "Z").startswith("CN26009ZZZZZZ")
    assert not set(DRAWN) & set("01IO")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "makes 1"),
        ("{random:6}", "makes 7"),
        ("{random:20}", "makes 21"),
        ("ABCDEFGH{random:4}", "rule has 4"),
        ("{year}{month}{random:6}", "character 7"),
        ("north-{random:8}", "character 1"),
        ("{random:0}{random:9}", "character 1"),
    ],
)
def test_a_rule_that_is_none_says_why(line, why):
    with pytest.raises(NumberRuleError, match=why):
        read_rule(line)


def test_a_wrong_rule_or_key_prevents_the_start(keys, tmp_path):
    with pytest.raises(ValidationError, match="rule has 0"):
        DeskSettings.from_pki(keys.folder, tmp_path, number_rules={"*": "ABCDEFGHIJ"})
    key = f"file:{keys.folder / 'centre.key'}"
    for uris, why in (
        ([key, key], "Two keys"),
        (["pkcs11:token=x"], "not in a token"),
        ([f"file:{tmp_path / 'none.key'}"], "cannot be used"),
    ):
        with pytest.raises(SettingsError, match=why):
            CentreKeys(uris)


# Rows


async def test_a_number_stands_for_one_application_whatever_comes_at_once(database):
    async with open_store(database) as store:
        new = NewApplication(NUMBER, "centre-north", TODAY)
        assert await look_up(store, NUMBER) is None
        done = await asyncio.gather(*(register(store, new, NOW) for _ in range(5)))
        assert sorted(done) == [False, False, False, False, True]
        assert not await register(store, NewApplication(NUMBER, "centre-south", TODAY + timedelta(days=9)), NOW)
        found = await look_up(store, NUMBER)
        assert (found.application.centre, found.application.expires, found.application.state) == (
            "centre-north",
            TODAY,
            "filed",
        )
        assert NUMBER not in repr(found)
        # Portraits that came first give an application its state.
        async with store.writing() as connection:
            links = Links(application_digest(OTHER).hex())
            await note_captures(connection, [("a" * 64, links)], lambda: NOW)
        assert await register(store, NewApplication(OTHER, "centre-north", TODAY), NOW)
        found = await look_up(store, OTHER)
        assert found.application.state == "captured"
        assert [(one.booth, one.outcome) for one in found.portraits] == [(None, "received")]


# Slips


def test_a_slip_counts_as_long_as_everything_behind_it():
    end = TODAY + timedelta(days=500)
    assert slip_day(TODAY + timedelta(days=30), TODAY, end) == TODAY + timedelta(days=30)
    assert slip_day(TODAY + timedelta(days=900), TODAY, end) == TODAY + timedelta(days=366)
    assert slip_day(TODAY + timedelta(days=90), TODAY, TODAY + timedelta(days=9)) == TODAY + timedelta(days=9)
    assert slip_day(TODAY, TODAY, end) == TODAY
    with pytest.raises(SlipOverError):
        slip_day(TODAY - timedelta(days=1), TODAY, end)


def test_a_key_counts_as_it_is_now_and_no_other_centre_s_in_its_place(keys, tmp_path):
    other = Keys(tmp_path / "other").folder
    folder = tmp_path / "centre"
    folder.mkdir()
    for suffix in ("key", "pem"):
        shutil.copy(keys.folder / f"centre.{suffix}", folder)
    centre_keys = CentreKeys([f"file:{folder / 'centre.key'}"])
    (name,) = centre_keys.names
    text = slip_text(NUMBER, TODAY, centre_keys.signer(name))
    assert claimed_number(text) == NUMBER
    shutil.copy(other / "centre.key", folder)
    with pytest.raises(SlipUnavailableError, match="cannot be used just now"):
        centre_keys.signer(name)
    for suffix in ("key", "pem"):
        shutil.copy(keys.folder / f"booth.{suffix}", folder / f"centre.{suffix}")
    with pytest.raises(SlipUnavailableError):
        centre_keys.signer(name)
    with pytest.raises(SlipUnavailableError, match="no key"):
        centre_keys.signer("centre-elsewhere")


# Pages


async def test_an_application_is_registered_found_and_its_slip_read_by_a_booth(desk, keys, caplog):
    centre = centre_of(load_certificates(keys.folder / "centre.pem")[0])
    made = await send(desk, "register", centre=centre.name, last=f"{TODAY + timedelta(days=20)}", number="")
    assert made.status_code == 200
    assert "The application is registered" in made.text
    number = parse_number(shown(made))
    assert number.startswith(f"{TODAY:%Y}")
    assert "centre" in made.headers["set-cookie"]
    slip = await send(desk, "slip", number=number, centre=centre.name)
    assert slip.status_code == 200
    svg = html.unescape(slip.text[slip.text.index("<svg xmlns") : slip.text.index("</svg>") + 6])
    text = seen_code(svg)
    read = read_slip(text, {centre.key_id: centre}, TODAY)
    assert (read.number, read.expires) == (number, TODAY + timedelta(days=20))
    for word in (number, grouped_number(number).lower(), text):
        found = await send(desk, "find", word=word)
        assert shown(found) == grouped_number(number)
        assert "Waits for its photo" in found.text
        assert "None yet." in found.text
    digest = desk.rooms.secret.mac("application", application_digest(number)).hex()
    assert await logged(desk) == [
        ("application.register", digest),
        ("application.see", digest),
        ("application.slip", digest),
        *[("application.see", digest)] * 3,
    ]
    assert number not in caplog.text
    assert "style=" not in slip.text.replace("font-style", "")


async def test_a_form_that_is_sent_twice_and_a_number_that_is_known_register_once(desk):
    page = (await desk.client.get("/counter")).text
    names = dict(re.findall(r'name="(csrf_token|mark)" value="([^"]+)"', page))
    centre = re.search(r"<option[^>]*>([^<]+)</option>", page)[1]
    form = {**names, "centre": centre, "last": f"{TODAY}", "number": ""}
    answers = await asyncio.gather(*(desk.client.post("/counter/register", data=form) for _ in range(3)))
    assert len({shown(answer) for answer in answers}) == 1
    again = await send(desk, "register", centre=centre, last=f"{TODAY}", number="")
    assert shown(again) != shown(answers[0])
    registry = Registry(desk.rooms.store, lambda: NOW)
    assert (await registry.counts())["filed"] == 2
    # A number that is known is told, and nothing changed.
    await registry.file([NewApplication(NUMBER, "centre-elsewhere", TODAY + timedelta(days=5))])
    answer = await send(desk, "register", centre=centre, last=f"{TODAY + timedelta(days=80)}", number=NUMBER.lower())
    assert "This number was registered before" in answer.text
    assert "centre-elsewhere" in answer.text
    assert (await registry.find(NUMBER)).expires == TODAY + timedelta(days=5)
    async with desk.rooms.store.reading() as connection:
        actions = (await connection.execute(sa.select(audit_log.c.action).order_by(audit_log.c.number))).scalars().all()
    assert actions[-3:] == ["application.register", "act.failed", "application.see"]


async def test_the_history_tells_every_portrait_of_any_centre_and_shows_no_picture(desk, keys):
    registry, store = Registry(desk.rooms.store, lambda: NOW), desk.rooms.store
    await registry.file([NewApplication(NUMBER, "centre-elsewhere", TODAY)])
    links = Links(application_digest(NUMBER).hex())
    for booth, outcome, reasons in (("booth-0007", "retake", ["eyes", "light"]), ("booth-0009", None, [])):
        sha256 = await desk.receive(keys.packet(booth=booth))
        async with store.writing() as connection:
            await note_captures(connection, [(sha256, links)], lambda: NOW)
        if outcome:
            await registry.decide(NUMBER, Outcome(outcome), reasons)
    page = (await send(desk, "find", word=NUMBER)).text
    assert page.index("booth-0009") < page.index("booth-0007")
    assert "Photo is being checked" in page
    assert "Photo refused" in page
    words = load_messages().languages["en"]
    told = html.unescape(page)
    assert all(words(f"status.reason.{reason}") in told for reason in ("eyes", "light"))
    assert "portrait.jpg" not in page
    assert sha256 not in page


WRONG = [
    ("find", {"word": "DEMO2026000017Z"}, 400, "compare it once more"),
    ("find", {"word": "<script>alert(1)</script>"}, 400, "letters A to Z and digits only"),
    ("find", {"word": "PB1AAAA"}, 400, "not read whole"),
    ("find", {"word": "PB1" + "A" * 300}, 400, "not read whole"),
    ("find", {"word": NUMBER}, 404, "No application of this number"),
    ("find", {}, 400, "8 to 20"),
    ("register", {"centre": "centre-elsewhere", "last": f"{TODAY}"}, 400, "no centre"),
    ("register", {"last": f"{TODAY - timedelta(days=1)}"}, 400, "between today and a year"),
    ("register", {"last": f"{TODAY + timedelta(days=367)}"}, 400, "between today and a year"),
    ("register", {"last": "2026-02-30"}, 400, "between today and a year"),
    ("register", {"last": f"{TODAY}", "number": "ABC"}, 400, "8 to 20"),
    ("slip", {"number": NUMBER}, 404, "No application of this number"),
    ("slip", {"number": "x"}, 404, "No application of this number"),
]


async def test_what_cannot_be_done_is_told_beside_its_field(desk):
    page = (await desk.client.get("/counter")).text
    centre = re.search(r"<option[^>]*>([^<]+)</option>", page)[1]
    for form, fields, status, told in WRONG:
        answer = await send(desk, form, **{"centre": centre, **fields})
        assert (answer.status_code, told in answer.text) == (status, True), (form, fields)
        assert "<script>alert" not in answer.text
    assert (await Registry(desk.rooms.store, lambda: NOW).counts())["filed"] == 0
    # An application whose last day has passed has no slip, nor has any of a centre whose key is elsewhere.
    await Registry(desk.rooms.store, lambda: NOW).file([NewApplication(NUMBER, "x", TODAY - timedelta(days=1))])
    over = await send(desk, "find", word=NUMBER)
    assert "Expired" in over.text
    assert "/counter/slip" not in over.text
    assert (await send(desk, "slip", number=NUMBER, centre=centre)).status_code == 409
    assert (await send(desk, "slip", number=NUMBER, centre="centre-elsewhere")).status_code == 503


async def test_only_who_registers_applications_may(desk):
    await desk.sign_in_as(Role.OFFICER)
    assert (await desk.client.get("/counter")).status_code == 403
    for form in ("register", "find", "slip"):
        assert (await desk.client.post(f"/counter/{form}", data={})).status_code == 403
    await desk.sign_in_as(Role.CLERK)
    for form in ("register", "find", "slip"):
        assert (await desk.client.post(f"/counter/{form}", data={"word": NUMBER})).status_code == 403
        assert (await desk.client.get(f"/counter/{form}?lang=de")).headers["location"] == "/counter?lang=de"


async def test_a_desk_without_centres_keys_registers_and_prints_nothing(keys, tmp_path):
    async with opened_desk(keys, tmp_path / "data", load_messages(), slip_signers=()) as desk:
        await desk.sign_in_as(Role.CLERK)
        made = await send(desk, "register", centre="centre-west", last=f"{TODAY}", number=NUMBER)
        assert shown(made) == grouped_number(NUMBER)
        assert "holds no centre" in html.unescape(made.text)
        assert "/counter/slip" not in made.text
        assert 'value="centre-west"' in made.text
        assert (await send(desk, "register", centre="West Side", last=f"{TODAY}")).status_code == 400
        assert (await send(desk, "slip", number=NUMBER, centre="centre-west")).status_code == 503
