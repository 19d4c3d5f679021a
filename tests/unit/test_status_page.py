"""The public status page: what a token tells, that nothing else is told, and that the page is complete in every language."""

from __future__ import annotations

import re

import httpx2
import pytest

from crypto.application import application_digest, check_character
from crypto.status_token import make_status_token, status_digest
from server.application_rows import Links, note_captures
from server.applications import REASONS, NewApplication, Outcome
from server.messages import LANGUAGES, load_messages
from server.rates import PARTIES_REMEMBERED, Rate, Rates
from server.status_page import FILES
from tests.intake_rig import BASE, problem, running
from tests.sealed_packets import Keys

ASK = "/status/v1/lookup"
NUMBER = "EF000001" + check_character("EF000001")


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("status-keys") / "pki")


@pytest.fixture
async def intake(keys, tmp_path):
    async with running(keys, tmp_path / "data") as started:
        yield started


async def captured(intake) -> str:
    """A visit whose packet arrived; its token."""
    token = make_status_token()
    registry = intake.intake.registry
    today = intake.rooms.now().date()
    await registry.file([NewApplication(NUMBER, "centre-07", today)])
    links = Links(application_digest(NUMBER).hex(), status_digest(token).hex())
    async with intake.rooms.store.writing() as connection:
        await note_captures(connection, [("a" * 64, links)], intake.rooms.now)
    return token


def shown(page: str) -> list[str]:
    """The sections that are not hidden."""
    return re.findall(r'data-view="(\w+)" aria-labelledby', page)


async def test_a_token_tells_its_visits_outcome_and_nothing_else(intake):
    token, registry = await captured(intake), intake.intake.registry
    answer = await intake.client.post(ASK, json={"token": token})
    assert answer.json() == {"state": "received", "reasons": []}
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    await registry.decide(NUMBER, Outcome.RETAKE, ("glasses",))
    assert (await intake.client.post(ASK, json={"token": f" {token.upper()} "})).json() == {
        "state": "retake",
        "reasons": ["glasses"],
    }


async def test_whatever_is_not_known_has_one_answer(intake):
    token = await captured(intake)
    answers = [
        await intake.client.post(ASK, json={"token": text})
        for text in (make_status_token(), "", "x", token[:-1], token + "a", NUMBER, "ä" * 26, "%00", "' OR 1=1 --")
    ]
    for answer in answers:
        problem(answer, 404, "status.unknown")
    assert len({answer.content for answer in answers}) == 1
    assert len({tuple(sorted(answer.headers.items())) for answer in answers}) == 1


@pytest.mark.parametrize("body", [b"", b"7", b'{"token": 7}', b'{"token": "a", "more": 1}', b"\xff", b"[" * 500])
async def test_what_is_no_question_is_refused(intake, body):
    headers = {"Content-Type": "application/json"}
    problem(await intake.client.post(ASK, content=body, headers=headers), 400, "request.malformed")


async def test_a_network_that_asks_too_often_waits_and_others_do_not(keys, tmp_path):
    async with running(keys, tmp_path / "data", status_asks_per_minute=5) as intake:

        def client(address: str):
            transport = httpx2.ASGITransport(intake.app, raise_app_exceptions=False, client=(address, 1))
            return httpx2.AsyncClient(transport=transport, base_url=BASE)

        question = {"token": make_status_token()}
        async with client("2001:db8::1") as one, client("2001:db8::2") as same, client("192.0.2.1") as other:
            for _ in range(10):
                problem(await one.post(ASK, json=question), 404, "status.unknown")
            for asking in (one, same):
                answer = await asking.post(ASK, json=question)
                problem(answer, 429, "status.too_many")
                assert 1 <= int(answer.headers["retry-after"]) <= 12
            page = await same.post("/status", data=question)
            assert (page.status_code, shown(page.text)) == (429, ["busy"])
            assert "retry-after" in page.headers
            problem(await other.post(ASK, json=question), 404, "status.unknown")
            assert (await one.get("/status")).status_code == 200, "looking at the page is not asking"


async def test_without_script_the_form_tells_the_same(intake):
    token, registry = await captured(intake), intake.intake.registry
    tried = [make_status_token(), token]
    told = [(await intake.client.post("/status?lang=de", data={"token": typed})).text for typed in tried]
    assert "prüfen Sie ihn" in told[0], (
        "a typed code may be misspelt; nobody is sent away for an hour without a word of that"
    )
    seen = [shown(page) for page in told]
    await registry.decide(NUMBER, Outcome.RETAKE, ("pose", "light"))
    page = (await intake.client.post("/status?lang=de", data={"token": token})).text
    seen.append(shown(page))
    assert seen == [["unknown"], ["received"], ["retake"]]
    told = re.findall(r'<dd data-reason="(\w+)">([^<]*)</dd>', page)
    words = load_messages().languages["de"]
    assert sorted(told) == [(reason, words(f"status.reason.{reason}")) for reason in ("light", "pose")]
    assert token not in page
    assert shown((await intake.client.get("/status")).text) == ["ask"]
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in (b"&" * 6, b"token=a&" * 6):
        problem(await intake.client.post("/status", content=body, headers=headers), 400, "request.malformed")


@pytest.mark.parametrize("code", LANGUAGES)
async def test_the_page_speaks_every_language(intake, code):
    chosen = (await intake.client.get(f"/status?lang={code}")).text
    by_browser = (
        await intake.client.get("/status", headers={"Accept-Language": f"xx, {code}-XX;q=0.9, en;q=0.1"})
    ).text
    assert chosen == by_browser
    assert f'<html lang="{code}" dir="{"rtl" if code == "ar" else "ltr"}">' in chosen
    words = load_messages().languages[code]
    assert not re.findall(r">\s*status\.[\w.]+\s*<", chosen), "a key without a text"
    for key in ("status.accepted.title", *(f"status.reason.{reason}" for reason in REASONS)):
        assert words.texts[key]
        assert words(key).split("'")[0] in chosen


async def test_the_page_runs_nothing_foreign_and_its_files_are_there(intake):
    answer = await intake.client.get("/status")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    assert not re.search(r"\son\w+=|<style|style=|javascript:|https?://", answer.text)
    linked = set(re.findall(r'(?:src|href)="/status/([\w.]+)"', answer.text))
    assert linked == set(FILES)
    total = len(answer.content)
    for name, kind in FILES.items():
        file = await intake.client.get(f"/status/{name}")
        assert (file.status_code, file.headers["content-type"].split(";")[0]) == (200, kind)
        assert file.headers["x-content-type-options"] == "nosniff"
        total += len(file.content)
    assert total < 40_000
    for path in ("/status/desk.css", "/status/..%2Fdesk.css", "/status/v1", "/static/desk.css"):
        problem(await intake.client.get(path), 404, "request.unknown_path")


def test_a_bucket_fills_again_and_the_oldest_are_forgotten():
    now = [0.0]
    rates = Rates(Rate(burst=3, per_s=2.0), lambda: now[0])
    assert [rates.ask("a") for _ in range(5)] == [0, 0, 0, 2, 2], "a refused question does not count"
    now[0] = 2.0
    assert [rates.ask("a") for _ in range(2)] == [0, 2]
    now[0] = 100.0
    assert [rates.ask("a") for _ in range(4)] == [0, 0, 0, 2]
    for party in range(PARTIES_REMEMBERED):
        rates.ask(str(party))
    assert rates.ask("a") == 0
