"""Users of the desk: what their rows hold and what they do not, signing in by password and code, and what an administrator may do with them."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
import zxingcpp
from pydantic import TypeAdapter

from crypto.decision import OfficerId
from crypto.desk_secret import generate_desk_secret
from crypto.totp import code_at, matching_step, otpauth_uri, secret_text
from server.auth import MOST_TYPED, Credentials, Doorkeeper
from server.desk_password import PasswordHashes, make_password, password_fault
from server.errors import LoginLockedError, LoginRefusedError, LoginRequiredError
from server.local_users import LocalUsers
from server.roles import Role
from server.screen_code import qr_lines, qr_modules, qr_svg
from server.store import open_store
from server.user_errors import (
    AuthenticatorCodeError,
    LastAdministratorError,
    OwnUserError,
    PasswordRefusedError,
    PasswordWrongError,
    UserNameError,
    UserRolesError,
    UserRowChangedError,
    UserTakenError,
    UserUnknownError,
)
from server.users import TEMPORARY, NewSecrets, Users, desk_users, read_name
from tests.desk_users import QUICK

RFC_6238_KEY = b"12345678901234567890"


class Clock:
    now = datetime(2026, 11, 23, 12, 0, 7, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path) -> str:
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite+aiosqlite:///{tmp_path / 'desk.sqlite3'}"


@pytest.fixture
async def store(url):
    async with open_store(url) as opened:
        yield opened


@pytest.fixture
async def embedded(tmp_path):
    async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'desk.sqlite3'}") as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


def users_of(store, clock) -> Users:
    secret = generate_desk_secret()
    return Users(store, secret, PasswordHashes(secret, QUICK), clock)


@pytest.fixture
def users(store, clock) -> Users:
    return users_of(store, clock)


def typed(made: NewSecrets, clock: Clock, *, password: str = "", code: str | None = None) -> Credentials:
    now = "" if made.totp is None else code_at(made.totp, clock.now.timestamp())
    return Credentials(made.user.name, password or made.password, now if code is None else code)


@pytest.mark.parametrize(
    ("at_s", "code"), [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")]
)
def test_codes_are_those_of_rfc_6238(at_s, code):
    """Appendix B, of whose eight digits an app shows the last six."""
    assert code_at(RFC_6238_KEY, at_s) == code
    assert matching_step(RFC_6238_KEY, f" {code[:3]} {code[3:]}", at_s, 0) == at_s // 30


def test_a_code_counts_for_its_step_and_those_beside_it_and_never_before_the_last_one():
    now = 1_800_000_000
    step = now // 30
    for apart, counts in ((-2, False), (-1, True), (0, True), (1, True), (2, False)):
        code = code_at(RFC_6238_KEY, now + 30 * apart)
        assert (matching_step(RFC_6238_KEY, code, now, 0) is not None) is counts
    code = code_at(RFC_6238_KEY, now)
    assert matching_step(RFC_6238_KEY, code, now, step - 1) == step
    assert matching_step(RFC_6238_KEY, code, now, step) is None
    for wrong in ("", "000", code + "0", "\N{ARABIC-INDIC DIGIT ONE}" * 6, "\N{PILE OF POO}", f"{code}\x00"):
        assert matching_step(RFC_6238_KEY, wrong, now, 0) is None


def test_an_app_reads_the_whole_of_an_authenticator():
    assert secret_text(RFC_6238_KEY) == "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ"
    assert otpauth_uri(RFC_6238_KEY, "Passbooth", "Anna: Berg/2") == (
        "otpauth://totp/Passbooth:Anna%3A%20Berg%2F2?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Passbooth&algorithm=SHA1&digits=6&period=30"
    )


def test_the_code_of_an_authenticator_is_read_from_a_page_and_from_a_terminal():
    text = otpauth_uri(RFC_6238_KEY, "Passbooth", "Anna Berg")
    shown = [[letter in upper for letter in line] for line in qr_lines(text) for upper in ("█▀", "█▄")]
    drawn = qr_modules(text)
    for light in (np.array(shown)[: len(drawn)], ~np.array(drawn)):
        picture = np.where(light, 255, 0).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        assert zxingcpp.read_barcode(picture).text == text
    assert qr_svg(text).count("M") - 1 == sum(row[x] and not row[x - 1] for row in drawn for x in range(1, len(row))), (
        "one stroke for each run of black"
    )


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("short word!", "short"),
        ("x" * 201, "long"),
        ("aaaaabbbbbccccc", "simple"),
        ("my name is BERGMANN 7", "name"),
        ("Passbooth desk 2026", "name"),
        ("\N{LATIN SMALL LIGATURE FFI}" * 5, "simple"),
        ("correct horse battery", None),
        ("пароль из слов", None),
    ],
)
def test_what_may_be_a_password(password, fault):
    assert password_fault(password, "Anna Bergmann") == fault


def test_made_passwords_are_long_and_never_the_same():
    made = {make_password() for _ in range(50)}
    assert len(made) == 50
    assert {password_fault(one, "Anna") for one in made} <= {None, "simple"}


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "a\x00b", "a\u202eb", "\N{SNOWMAN}", "-", "a\u200bb"])
def test_what_is_no_name(name):
    with pytest.raises(UserNameError):
        read_name(name)


def test_a_name_is_kept_in_one_form():
    assert read_name("  Jo\N{COMBINING ACUTE ACCENT}zsef \n Nagy ") == "J\N{LATIN SMALL LETTER O WITH ACUTE}zsef Nagy"


async def test_a_user_s_life(users, clock):
    admin = await users.add("Anna Berg", ["administrator"], with_totp=True, temporary=False)
    made = await users.add("Omar Saleh", ["officer", "clerk"])
    TypeAdapter(OfficerId).validate_python(made.user.id)
    assert (made.totp, made.user.state, made.user.password_until) == (None, "new", clock.now + TEMPORARY)
    for name in ("OMAR saleh", " omar  saleh", "Omar Saleh"):
        with pytest.raises(UserTakenError):
            await users.add(name, ["officer"])
    for roles in ([], ["officer", "king"]):
        with pytest.raises(UserRolesError):
            await users.add("Somebody", roles)
    for wrong in ("u-00000000", "", "u-\N{SNOWMAN}", f"{made.user.id}\0"):
        with pytest.raises(UserUnknownError):
            await users.find(wrong)
    changed = await users.set_roles(made.user.id, ["supervisor"], by=admin.user.id)
    assert (changed.roles, changed.generation) == (frozenset({Role.SUPERVISOR}), 1)
    assert (await users.disable(made.user.id, by=admin.user.id)).state == "disabled"
    again = await users.disable(made.user.id, by=None)
    assert again.disabled_at == clock.now.replace(microsecond=0)
    assert (await users.enable(made.user.id, by=None)).state == "new"
    reset = await users.reset(made.user.id, by=admin.user.id, with_totp=True, temporary=False)
    assert (reset.password != made.password, reset.user.state, reset.user.has_totp) == (True, "active", True)
    for act in (users.disable, users.enable, users.reset):
        with pytest.raises(OwnUserError):
            await act(admin.user.id, by=admin.user.id)
    with pytest.raises(OwnUserError):
        await users.set_roles(admin.user.id, ["administrator"], by=admin.user.id)
    assert [one.name for one in await users.rows()] in (["Anna Berg", "Omar Saleh"], ["Omar Saleh", "Anna Berg"])


async def test_one_administrator_is_left_however_many_go_at_once(users):
    first = (await users.add("One", ["administrator"])).user.id
    with pytest.raises(LastAdministratorError):
        await users.disable(first, by=None)
    with pytest.raises(LastAdministratorError):
        await users.set_roles(first, ["officer"], by=None)
    second = (await users.add("Two", ["administrator"])).user.id
    went = await asyncio.gather(
        users.disable(first, by=second), users.set_roles(second, ["clerk"], by=first), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in went) == ["LastAdministratorError", "User"]


async def test_every_refusal_is_the_same_and_says_whom_to_the_audit_log_alone(embedded, clock):
    users = users_of(embedded, clock)
    local = LocalUsers(users, totp_required=False)
    made = await users.add("Anna Berg", ["officer"], with_totp=True, temporary=False)
    await users.add("Keeper", ["administrator"])
    identity = await local.authenticate(typed(made, clock))
    assert (identity.user, identity.name, identity.roles) == (made.user.id, "Anna Berg", frozenset({Role.OFFICER}))
    told = set()
    clock.now += timedelta(seconds=30)
    right = typed(made, clock)
    for wrong, user in (
        (Credentials("Nobody", made.password, right.code), ""),
        (typed(made, clock, password="wrong"), made.user.id),
        (typed(made, clock, code="000000"), made.user.id),
        (typed(made, clock, code=""), made.user.id),
        (Credentials("", "", ""), ""),
        (Credentials("\ud800", "\ud800", "\ud800"), ""),
        (Credentials("x" * 100_000, "y" * 100_000, "z" * 100_000), ""),
    ):
        with pytest.raises(LoginRefusedError) as refused:
            await local.authenticate(wrong)
        told.add(str(refused.value))
        assert refused.value.user == user
    await users.disable(made.user.id, by=None)
    with pytest.raises(LoginRefusedError) as refused:
        await local.authenticate(right)
    assert len(told | {str(refused.value)}) == 1
    assert await local.present(made.user.id) is None
    await users.enable(made.user.id, by=None)
    assert (await local.authenticate(right)).user == made.user.id


async def test_a_code_counts_once_however_many_use_it_at_once(users, clock):
    local = LocalUsers(users, totp_required=True)
    made = await users.add("Anna Berg", ["officer"], with_totp=True, temporary=False)
    tried = await asyncio.gather(*(local.authenticate(typed(made, clock)) for _ in range(4)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in tried) == ["Identity", *["LoginRefusedError"] * 3]
    clock.now -= timedelta(seconds=30)
    with pytest.raises(LoginRefusedError):  # an older one, seen over a shoulder
        await local.authenticate(typed(made, clock))


async def test_a_first_password_is_for_setting_ones_own_and_for_seven_days(users, clock):
    local = LocalUsers(users, totp_required=True)
    made = await users.add("Anna Berg", ["officer"])
    assert (await local.authenticate(typed(made, clock))).unfinished
    for new, fault in ((made.password, "same"), ("short", "short"), ("anna berg is my name", "name")):
        with pytest.raises(PasswordRefusedError) as refused:
            await local.set_password(made.user.id, made.password, new)
        assert refused.value.fault == fault
    with pytest.raises(PasswordWrongError):
        await local.set_password(made.user.id, "not it", "a good new password")
    own = await local.set_password(made.user.id, made.password, "a good new password")
    assert (own.unfinished, own.generation) == (True, 2), "the authenticator is still to come"
    with pytest.raises(AuthenticatorCodeError):
        await local.set_totp(made.user.id, RFC_6238_KEY, "000000", 2)
    code = code_at(RFC_6238_KEY, clock.now.timestamp())
    ready = await local.set_totp(made.user.id, RFC_6238_KEY, code, 2)
    assert (ready.unfinished, ready.generation) == (False, 3)
    with pytest.raises(LoginRefusedError):  # the code that proved it was used by that
        await local.authenticate(Credentials("Anna Berg", "a good new password", code))
    clock.now += timedelta(days=400)
    code = code_at(RFC_6238_KEY, clock.now.timestamp())
    assert not (await local.authenticate(Credentials("anna berg", "a good new password", code))).unfinished
    late = await users.add("Late", ["officer"])
    clock.now += TEMPORARY
    with pytest.raises(LoginRefusedError):
        await local.authenticate(typed(late, clock))


async def test_whoever_can_write_to_the_database_makes_nobody_and_gives_no_role(embedded, clock, monkeypatch):
    """Each column of a row, changed by hand; a row copied under another id or name; a row of another secret."""
    monkeypatch.setattr("server.desk_password.NOBODY", QUICK.hash("nobody"))
    users, store = users_of(embedded, clock), embedded
    local = LocalUsers(users, totp_required=False)
    made = await users.add("Anna Berg", ["officer"], with_totp=True, temporary=False)
    other = await users.add("Omar Saleh", ["administrator"], temporary=False)
    async with store.reading() as connection:
        rows = {row.id: dict(row._mapping) for row in await connection.execute(sa.select(desk_users))}
    own, more = rows[made.user.id], rows[other.user.id]
    harms = [
        {name: more[name]} for name in own if name not in {"id", "name_hash", "generation", "made_at", "totp_step"}
    ]
    harms += [{"generation": 7}, {"made_at": clock.now + timedelta(1)}, {"totp_step": 7}, {"totp": None}]
    harms += [{"roles": "administrator officer"}, {"roles": ""}, {"name_hash": "0" * 64}, {"disabled_at": clock.now}]
    harms += [{"password_until": clock.now + timedelta(days=1)}, {"seal": "0" * 64}, {"seal": ""}]
    # What ends a comparison, or makes one that takes all memory.
    harms += [{"seal": "\N{LATIN SMALL LETTER A WITH DIAERESIS}"}, {"generation": 2**60}, {"totp_step": -(2**60)}]
    harms += [{"password": "$argon2id$v=19$m=2147483647,t=999,p=1$c29tZXNhbHQ$c29tZWhhc2g"}, {"password": "\u00e4"}]
    assert {name for harm in harms for name in harm} == set(own) - {"id"}
    mine = desk_users.c.id == made.user.id
    for harm in harms:
        if all(own[name] == value for name, value in harm.items()):
            continue
        async with store.writing() as connection:
            await connection.execute(sa.update(desk_users).where(mine).values(**own | harm))
        assert not (await users.find(made.user.id)).intact, harm
        assert await local.present(made.user.id) is None, harm
        with pytest.raises(LoginRefusedError):
            await local.authenticate(typed(made, clock))
        with pytest.raises(UserRowChangedError):
            await users.set_roles(made.user.id, ["officer"], by=None)
        assert {one.state for one in await users.rows()} == {"changed", "active"}
    async with store.writing() as connection:
        await connection.execute(sa.update(desk_users).where(mine).values(**own))
        copied = own | {"id": "u-11111111", "name_hash": users.name_hash("Somebody")}
        await connection.execute(sa.insert(desk_users).values(**copied))
    assert [one.state for one in await users.rows() if one.id == "u-11111111"] == ["changed"]
    assert await local.present("u-11111111") is None
    assert (await local.authenticate(typed(made, clock))).user == made.user.id
    another = generate_desk_secret()
    stranger = LocalUsers(Users(store, another, PasswordHashes(another, QUICK), clock), totp_required=False)
    clock.now += timedelta(seconds=30)
    with pytest.raises(LoginRefusedError):
        await stranger.authenticate(typed(made, clock))
    assert await stranger.present(made.user.id) is None


async def test_the_database_holds_no_name_no_password_and_no_code(tmp_path, clock):
    secret, path = generate_desk_secret(), Path(tmp_path / "desk.sqlite3")
    async with open_store(f"sqlite+aiosqlite:///{path}") as store:
        users = Users(store, secret, PasswordHashes(secret, QUICK), clock)
        made = await users.add("Zacharias Quintus", ["officer"], with_totp=True)
    held = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert made.user.id.encode() in held
    assert made.totp is not None
    told = [made.user.name, made.password, made.totp.hex(), base64.b32encode(made.totp).decode()]
    for needle in (*(one.encode() for one in told), made.totp, base64.b64encode(made.totp), b"quintus"):
        assert needle not in held
    assert made.password not in repr(made)
    assert made.user.name not in repr(made)


async def test_a_reset_by_an_administrator_is_not_undone_by_a_change_that_began_before_it(embedded, clock):
    users = users_of(embedded, clock)
    local = LocalUsers(users, totp_required=False)
    made = await users.add("Anna Berg", ["officer"], temporary=False)
    make, resets = users.hashes.make, []

    def slow(password: str) -> str:
        kept = make(password)
        if not resets:  # while the new password is hashed, in its thread
            resets.append(kept)
            resets.append(asyncio.run_coroutine_threadsafe(users.reset(made.user.id, by=None), loop).result())
        return kept

    loop = asyncio.get_running_loop()
    users.hashes.make = slow
    with pytest.raises(PasswordWrongError):
        await local.set_password(made.user.id, made.password, "a good new password")
    assert (await local.authenticate(typed(resets[1], clock))).unfinished


async def test_a_reset_is_not_undone_by_an_authenticator_of_a_session_before_it(embedded, clock):
    users = users_of(embedded, clock)
    local = LocalUsers(users, totp_required=False)
    made = await users.add("Anna Berg", ["officer"], temporary=False)
    before = (await local.authenticate(typed(made, clock))).generation
    reset = await users.reset(made.user.id, by=None)
    with pytest.raises(LoginRequiredError):
        await local.set_totp(made.user.id, RFC_6238_KEY, code_at(RFC_6238_KEY, clock.now.timestamp()), before)
    assert not (await users.find(made.user.id)).has_totp
    assert (await local.authenticate(typed(reset, clock))).unfinished


@pytest.mark.parametrize(
    "spelling", ["ANNA  berg", "\uff21nna Berg", "Anna\u00a0Berg", "Anna Berg" + " " * MOST_TYPED + "7"]
)
async def test_another_spelling_of_a_name_has_no_tries_of_its_own(embedded, clock, spelling):
    """What finds a user is what his tries are counted by."""
    users = users_of(embedded, clock)
    made = await users.add("Anna Berg", ["officer"], temporary=False)
    door = Doorkeeper(LocalUsers(users, totp_required=False), idle_s=60, session_s=60, tries=2, lockout_s=60)
    assert (await door.sign_in("192.0.2.1", Credentials(spelling, made.password))).user == made.user.id
    for network in (1, 2):
        with pytest.raises(LoginRefusedError):
            await door.sign_in(f"192.0.{network}.1", Credentials("Anna Berg", "wrong"))
    with pytest.raises(LoginLockedError):
        await door.sign_in("192.0.3.1", Credentials(spelling, "wrong"))
