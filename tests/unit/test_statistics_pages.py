"""The statistics page and its file: sums as the rows say, the failing lamp in words, one booth and one site, and nothing shown that was not asked for."""

from __future__ import annotations

import csv
import io
import random
import re
from collections import Counter
from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from server.desk_statistics import read_asked
from server.fleet_rows import booths, fleet_days, read_days, sites
from server.messages import load_messages
from server.roles import Role
from server.statistics_rows import KEPT_S, FleetSums
from server.store import open_store
from tests.desk_rig import NOW, Clock, opened_desk
from tests.sealed_packets import Keys

TODAY = NOW.date()
YESTERDAY = TODAY - timedelta(days=1)
WEEK = TODAY - timedelta(days=7)
FORMULA = '=HYPERLINK("https://evil.test")'
RATES = {"light.even": 0.02, "pose.yaw": 0.1, "eyes.open": 0.05}


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("statistics-keys") / "pki")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path) -> str:
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    (tmp_path / "rows").mkdir()
    return f"sqlite+aiosqlite:///{tmp_path / 'rows' / 'intake.sqlite3'}"


@pytest.fixture
async def store(url):
    async with open_store(url) as opened:
        yield opened


@pytest.fixture
async def desk(keys, tmp_path):
    async with opened_desk(keys, tmp_path / "data", load_messages()) as started:
        await fill(started.rooms.store)
        assert (await started.sign_in_as(Role.TECHNICIAN)).status_code == 303
        yield started


async def fill(store) -> None:
    """Seven booths at two sites and one at none; in booth-0004 a lamp is weak. booth-0002 said nothing for three days."""
    draw = random.Random(7)
    rows = []
    for number in range(1, 8):
        booth = f"booth-{number:04}"
        for back in range(1, 8):
            if number == 2 and back in {3, 4, 5}:
                continue
            told = [("visits", "started", 30, 30), ("visits", "finished", 27, 30), ("visits", "cancelled", 2, 30)]
            told.append(("portraits", "assessed", 28, 28))
            for rule, usual in RATES.items():
                rate = 0.5 if (booth, rule) == ("booth-0004", "light.even") else usual
                told.append(("rule", rule, sum(draw.random() < rate for _ in range(28)), 28))
            rows += [(booth, TODAY - timedelta(days=back), *one) for one in told]
    columns = [column.name for column in fleet_days.columns]
    async with store.writing() as connection:
        for site, name in (("north", "Bürgeramt Nord"), ("south", FORMULA)):
            await connection.execute(sa.insert(sites).values(site=site, name=name, made_at=NOW))
        for number in range(1, 8):
            site = ["north", "south"][number % 2] if number < 7 else None
            label = "<i>door</i>" if number == 4 else ""
            await connection.execute(
                sa.insert(booths).values(
                    booth=f"booth-{number:04}", site=site, label=label, made_at=NOW, retired_at=None
                )
            )
        await connection.execute(sa.insert(fleet_days), [dict(zip(columns, row, strict=True)) for row in rows])


async def test_the_comparison_is_that_of_the_rows_on_the_booths_own_days(store):
    await fill(store)
    clock = Clock()
    fleet = FleetSums(store, clock)
    compared = await fleet.compared(WEEK, YESTERDAY)
    rows = await read_days(store, WEEK, YESTERDAY, kinds=("rule",))
    days = {(row.booth, row.day) for row in rows}
    for one in compared.rows:
        own, everybody = Counter(), Counter()
        for row in rows:
            if row.name == one.rule and (one.booth, row.day) in days:
                everybody.update(failed=row.count, assessed=row.total)
                if row.booth == one.booth:
                    own.update(failed=row.count, assessed=row.total)
        assert (one.own.count, one.own.total) == (own["failed"], own["assessed"])
        assert (one.everybody.count, one.everybody.total) == (everybody["failed"], everybody["assessed"])
    assert len(compared.rows) == 7 * len(RATES)
    assert [(one.booth, one.rule) for one in compared.standouts] == [("booth-0004", "light.even")]
    days_of_pose = await fleet.sums((WEEK, YESTERDAY), "rule", by=("day",), name="pose.yaw")
    assert len(days_of_pose) == 7
    # Kept, as its answer changes once a day, and then read again.
    async with store.writing() as connection:
        await connection.execute(sa.delete(fleet_days).where(fleet_days.c.booth == "booth-0004"))
    assert await fleet.compared(WEEK, YESTERDAY) is compared
    assert await fleet.sums((WEEK, YESTERDAY), "rule", by=("day",), name="pose.yaw") is days_of_pose
    clock.now += KEPT_S
    assert len((await fleet.compared(WEEK, YESTERDAY)).rows) == 6 * len(RATES)


async def test_the_lamp_is_named_in_words(desk):
    for code in ("en", "ar"):
        page = (await desk.client.get(f"/statistics?lang={code}")).text
        words = load_messages().languages[code]
        assert words("statistics.cause.lamps") in page
        assert page.count('<ul class="standouts">') == 1
        assert words("rule.light.even.name") in re.search(r'<h2 class="section">([^<]+)<', page)[1]
        assert "&lt;i&gt;door&lt;/i&gt; (booth-0004)" in page
        assert "<i>door" not in page
        assert " style=" not in page
        assert page.count('<svg class="chart"') == 4 + 7
        for key in re.findall(r">\s*(statistics\.[a-z_.]+|chart\.[a-z.]+)\s*<", page):
            pytest.fail(f"{code} lacks {key}")


async def test_one_booth_and_one_site_are_shown_beside_everybody(desk):
    page = (await desk.client.get("/statistics?booth=booth-0001&rule=pose.yaw")).text
    assert "statistics?" in page
    assert 'standouts">' not in page
    assert "No check fails in one booth" in page
    assert re.findall(r'<th scope="row"><a href="/statistics\?[^"]*booth=(booth-\d+)', page) == ["booth-0001"]
    assert re.search(r"<strong>210</strong>", page)  # visits of its seven days
    site = (await desk.client.get("/statistics?site=north")).text
    shown = re.findall(r'<th scope="row"><a href="/statistics\?[^"]*booth=(booth-\d+)', site)
    assert shown == ["booth-0004", "booth-0002", "booth-0006"]
    assert "Shown here" in site
    assert '<path class="reference" d="M11' in site
    assert 'class="reference"' not in (await desk.client.get("/statistics")).text
    elsewhere = (await desk.client.get("/statistics?booth=booth-0099&site=%3Cscript%3E")).text
    assert "No booth has told of these days" in elsewhere
    assert 'name="rule"' not in elsewhere, "a choice of nothing"
    assert "<script>" not in elsewhere


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("from=x", "The first day is no date"),
        ("to=2026-02-30", "The last day is no date"),
        (f"from={TODAY}", "must be over"),
        (f"from={YESTERDAY}&to={WEEK}", "must be over"),
        ("from=2020-01-01", "more than 400 days"),
    ],
)
def test_days_that_cannot_be_read(query, told):
    asked = read_asked(dict(pair.split("=") for pair in query.split("&")), TODAY)
    assert load_messages().languages["en"](f"statistics.wrong.{asked.wrong}").find(told) >= 0
    assert (asked.since, asked.until) == (TODAY - timedelta(days=30), YESTERDAY)


def test_days_are_those_that_are_over():
    assert read_asked({}, TODAY).days == [TODAY - timedelta(days=back) for back in range(30, 0, -1)]
    asked = read_asked({"from": f"{WEEK}", "to": "2999-01-01", "site": " ", "booth": "b\n"}, TODAY)
    assert (asked.since, asked.until, asked.site, asked.booth, asked.wrong) == (WEEK, YESTERDAY, None, "b", "")
    assert asked.query(by="all") == f"from={WEEK}&to={YESTERDAY}&booth=b&by=all"


async def test_the_file_says_what_the_rows_say(desk):
    rows = await read_days(desk.rooms.store, WEEK, YESTERDAY)
    wanted = sum(row.count for row in rows), sum(row.total for row in rows)
    for by in ("rule", "booth", "site", "day", "all"):
        answer = await desk.client.get(f"/statistics.csv?from={WEEK}&by={by}")
        assert answer.content.startswith(b"\xef\xbb\xbf")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert f"by-{by}.csv" in answer.headers["content-disposition"]
        told = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
        assert (sum(int(row["count"]) for row in told), sum(int(row["total"]) for row in told)) == wanted
        if by in {"booth", "site", "all"}:
            assert {row["site_name"] for row in told} == {"", "Bürgeramt Nord", f"'{FORMULA}"}
        if by == "all":
            assert len(told) == len(rows)
            days = {date.fromisoformat(row["day"]) for row in told}
            assert (min(days), max(days)) == (WEEK, YESTERDAY)
    one = await desk.client.get(f"/statistics.csv?from={WEEK}&by=booth&booth=booth-0003")
    assert {row["booth"] for row in csv.DictReader(io.StringIO(one.text.lstrip("\ufeff"), newline=""))} == {
        "booth-0003"
    }
    for wrong in ("by=everything", "from=x"):
        assert (await desk.client.get(f"/statistics.csv?{wrong}")).status_code == 400
    for role, status in ((Role.CLERK, 403), (Role.AUDITOR, 200)):
        await desk.sign_in_as(role)
        assert (await desk.client.get("/statistics")).status_code == status
        assert (await desk.client.get("/statistics.csv")).status_code == status
