"""What booths say, read as hostile; what officers read, complete in every language."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server import auth
from server.auth import Credentials, Doorkeeper, Identity
from server.errors import CsrfError, LoginLockedError, LoginRefusedError, SettingsError
from server.messages import LANGUAGES, LOCALE_FOLDER, accepted, load_messages
from server.records import MAX_TEXT, LimitRecord, Verdict, clean_text, read_report, read_visit
from server.views import GAUGE_WIDTH, SUBJECTS, course, finding_groups, finding_lines, gauge, visit_facts
from validation.report import Finding, Level, Limit, Report
from validation.report import Verdict as BoothVerdict
from validation.rules import RULES

MESSAGES = load_messages()
PAGES = Path(__file__).resolve().parents[2] / "server" / "pages"

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    ["rule", "value", "unit", "limit", "warn_limit", "verdict", "level", "reason", "source", "evidence", "low", "high"]
)
hostile_findings = st.dictionaries(names, values | st.sampled_from(["pass", "fail", "reject", "info"]), max_size=12)
hostile_reports = st.fixed_dictionaries(
    {},
    optional={
        "findings": values | st.lists(hostile_findings, max_size=5),
        "width": values,
        "height": values,
        "judged": values | st.just("crop"),
        "notes": values,
        "profile": values,
    },
)


@given(hostile_reports)
def test_no_report_breaks_the_page_whatever_it_says(document):
    data = json.dumps(document, allow_nan=True).encode("utf-8", "surrogatepass")
    report = read_report(data)
    if report is None:
        return
    for code in LANGUAGES:
        for line in finding_lines(report, MESSAGES.languages[code]):
            assert len(line.measured) < 100
            assert line.tone in {"good", "care", "bad", "none"}
        groups = finding_groups(finding_lines(report, MESSAGES.languages[code]), MESSAGES.languages[code])
        assert sum(len(group.lines) for group in groups) == len(report.findings)


def test_findings_are_grouped_by_subject_and_unfolded_where_an_officer_has_to_look():
    document = {
        "findings": [
            {"rule": "eyes.open", "verdict": "pass", "level": "reject"},
            {"rule": "pose.yaw", "verdict": "fail", "level": "reject"},
            {"rule": "geometry.vertical", "verdict": "pass", "level": "reject"},
            {"rule": "eyes.gaze", "verdict": "warn", "level": "warn"},
            {"rule": "light.even", "verdict": "pass", "level": "reject"},
            {"rule": "image.compression", "verdict": "not_assessed", "level": "warn"},
            {"rule": "future.rule", "verdict": "pass", "level": "reject"},
        ]
    }
    report = read_report(json.dumps(document).encode())
    assert report is not None
    english = MESSAGES.languages["en"]
    groups = finding_groups(finding_lines(report, english), english)
    assert [(group.name, group.met, group.unfolded) for group in groups] == [
        ("Position of the head", "1 of 2 met", True),
        ("Eyes", "1 of 2 met", True),
        ("Light", "1 of 1 met", False),
        ("Picture", "0 of 1 met", False),
        ("Other rules", "1 of 1 met", False),
    ]
    assert [group.tone for group in groups] == ["bad", "care", "good", "none", "good"]
    assert [line.rule for line in groups[1].lines] == ["eyes.gaze", "eyes.open"]


def test_every_rule_of_the_table_has_a_subject():
    assert {rule.id.partition(".")[0] for rule in RULES} <= SUBJECTS.keys()
    for subject in {*SUBJECTS.values(), "other"}:
        assert MESSAGES.languages["en"].has(f"subject.{subject}")


def test_outlines_are_read_as_far_as_they_are_shapes():
    triangle = [[0, 0], [10, 0], [5, 8]]
    shapes = [triangle, [[1, 1], [2, 2]], "x", [[0, "a"], [1, 2], [3, 4]], None, {"a": 1}, *[triangle] * 100]
    document = {"findings": [{"rule": "eyes.hair", "evidence": {"outlines": shapes}}]}
    report = read_report(json.dumps(document).encode())
    assert report is not None
    outlines = report.findings[0].evidence.outlines
    assert outlines[0] == ((0, 0), (10, 0), (5, 8))
    assert all(len(outline) == 3 for outline in outlines)
    assert len(outlines) < 30


@given(values)
def test_no_visit_breaks_the_page_whatever_it_says(document):
    visit = read_visit(json.dumps({"a": document}).encode("utf-8", "surrogatepass"))
    if visit is not None:
        named, other = visit_facts(visit, MESSAGES.languages["ar"])
        assert all(len(fact.value) <= MAX_TEXT + 20 for fact in (*named, *other))


def test_measured_values_of_a_visit_are_rounded_as_the_language_writes_them():
    visit = read_visit(
        json.dumps({"light": {"levels_pct": {"key_left": 62.352941}}, "zz": {"raw": 62.352941}}).encode()
    )
    named, other = visit_facts(visit, MESSAGES.languages["de"])
    assert [fact.value for fact in named] == ["62,4"]
    assert "62.35" in other[0].value


@given(values)
def test_no_course_breaks_the_page_whatever_it_says(moment):
    document = {"steps": [{"state": moment, "after_ms": moment}, moment], "guidance": moment}
    visit = read_visit(json.dumps(document).encode("utf-8", "surrogatepass"))
    if visit is not None:
        course(visit, MESSAGES.languages["de"])


def test_the_course_of_a_visit_is_told_in_the_order_of_its_time():
    document = {
        "steps": [{"state": "framing", "after_ms": 1000}, {"state": "capturing", "after_ms": 9100}],
        "guidance": [{"key": "advice.closer", "after_ms": 2500}, {"key": "advice.of_tomorrow", "after_ms": 3000}],
    }
    visit = read_visit(json.dumps(document).encode())
    assert visit is not None
    told = [(line.after, line.text, line.shown) for line in course(visit, MESSAGES.languages["en"])]
    space = "\N{NO-BREAK SPACE}"
    assert told == [
        (f"1{space}s", "Finding the position", False),
        (f"2.5{space}s", "Closer", True),
        (f"3{space}s", "advice.of_tomorrow", True),
        (f"9.1{space}s", "Taking the picture", False),
    ]
    assert visit.facts == ()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_report_or_none(data):
    read_report(data)
    read_visit(data)


@given(st.text())
def test_cleaned_text_is_one_short_line_without_controls(text):
    line = clean_text(text)
    assert len(line) <= MAX_TEXT
    assert line.isprintable() or all(c == " " or c.isprintable() for c in line)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x1f]", line)


@given(st.floats(allow_nan=False), st.floats() | st.none(), st.floats() | st.none())
@example(0.0, 0.0, 5e-324)
@example(0.0, 5e-324, None)
def test_a_gauge_always_stays_in_its_frame(value, low, high):
    limit = LimitRecord(low=low, high=high)
    drawn = gauge(value, limit)
    if drawn is not None:
        for place in (drawn.low, drawn.high, drawn.value):
            assert 0 <= place <= GAUGE_WIDTH


def test_the_report_that_booths_write_is_read_completely():
    written = Report(
        profile="demo",
        profile_version="1",
        judged="crop",
        width=622,
        height=800,
        software="passbooth",
        findings=(
            Finding(
                rule="pose.yaw",
                value=9.0,
                unit="°",
                limit=Limit(low=-5, high=5),
                verdict=BoothVerdict.FAIL,
                level=Level.REJECT,
                source="ISO",
                advice="advice.turn_left",
            ),
        ),
    )
    read = read_report(written.model_dump_json().encode())
    assert read is not None
    assert (read.profile, read.judged, read.width, read.height) == ("demo", "crop", 622, 800)
    (finding,) = read.findings
    assert (finding.rule, finding.value, finding.unit, finding.verdict) == ("pose.yaw", 9.0, "°", Verdict.FAIL)
    assert (finding.limit.low, finding.limit.high, finding.source) == (-5, 5, "ISO")
    assert read.compliant is written.compliant is False


def test_verdicts_of_booth_and_desk_are_the_same_words():
    assert {v.value for v in BoothVerdict} | {"unknown"} == {v.value for v in Verdict}


@pytest.mark.parametrize(
    ("verdict", "level", "blocks"),
    [
        ("pass", "reject", False),
        ("warn", "reject", False),
        ("fail", "reject", True),
        ("not_assessed", "reject", True),
        ("fail", "warn", False),
        ("not_assessed", "info", False),
        ("invented", "reject", True),
        ("fail", "invented", True),
    ],
)
def test_a_report_is_compliant_only_when_nothing_blocks(verdict, level, blocks):
    document = {"findings": [{"rule": "a", "verdict": verdict, "level": level}]}
    report = read_report(json.dumps(document).encode())
    assert report is not None
    assert report.findings[0].blocks is blocks
    assert report.compliant is not blocks


def test_a_report_without_findings_is_not_compliant():
    report = read_report(b'{"findings": []}')
    assert report is not None
    assert not report.compliant


@pytest.mark.parametrize(
    ("document", "number", "flags"),
    [
        ({"application": {"number": "A-1", "source": "scanned", "verified": True}}, "A-1", (False, False)),
        ({"application": {"number": "A-1", "source": "scanned", "verified": False}}, "A-1", (False, True)),
        ({"application": {"number": "A-1", "source": "scanned"}}, "A-1", (False, True)),
        ({"application": {"number": "A-1", "source": "typed", "verified": True}}, "A-1", (True, False)),
        ({"application": {"number": "A-3", "source": "guessed"}}, "A-3", (True, False)),
        ({}, "", (False, False)),
    ],
)
def test_the_application_number_and_how_it_came_are_found(document, number, flags):
    visit = read_visit(json.dumps(document).encode())
    assert visit is not None
    assert (visit.application_number, (visit.typed, visit.unsigned)) == (number, flags)


def test_every_language_has_every_text_with_the_same_placeholders():
    english = MESSAGES.languages["en"].texts
    for code in LANGUAGES:
        texts = MESSAGES.languages[code].texts
        assert set(texts) == set(english), code
        for key, text in texts.items():
            assert set(re.findall(r"{(\w+)}", text)) == set(re.findall(r"{(\w+)}", english[key])), (code, key)


def test_every_rule_of_the_table_has_a_name_in_every_language():
    for rule in RULES:
        assert MESSAGES.languages["en"].texts.get(f"rule.{rule.id}.name"), rule.id


def test_every_text_that_a_page_asks_for_is_there():
    english = MESSAGES.languages["en"].texts
    for page in PAGES.glob("*.html"):
        for key in re.findall(r'\bt\("([a-z_.]+[a-z_])"', page.read_text("utf-8")):
            assert key in english, (page.name, key)


def test_a_missing_catalogue_is_told_at_start(tmp_path):
    for path in LOCALE_FOLDER.glob("*.po"):
        if path.stem != "ru":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(SettingsError, match=r"ru\.po"):
        load_messages(tmp_path)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("de-DE,de;q=0.9,en;q=0.8", ["de", "de", "en"]),
        ("en;q=0.1, ar", ["ar", "en"]),
        ("ru;q=0", []),
        ("x;q=nonsense", []),
        ("", [""]),
        ("*", ["*"]),
    ],
)
def test_accept_language_is_read_by_weight(header, expected):
    assert accepted(header) == expected


def test_numbers_dates_and_ages_follow_the_language():
    german, english = MESSAGES.languages["de"], MESSAGES.languages["en"]
    assert german.number(-22.3449) == "\N{MINUS SIGN}22,34"
    assert english.number(183.4187) == "183.4"
    assert english.number(8.0) == "8"
    assert english.number(1e308) == "1.000e+308"
    assert english.number(12345678) == "12,345,678"
    assert english.size(512) == "512\N{NO-BREAK SPACE}B"
    assert german.size(130_600) == "130,6\N{NO-BREAK SPACE}kB"
    assert german.age(timedelta(minutes=6)) == "vor 6 Minuten"
    assert english.age(timedelta(days=-1)) == "1 second ago"
    assert german.time(datetime(2026, 11, 22, 22, 5, tzinfo=UTC)) == "22.11.2026, 22:05:00 UTC"


class OnePerson:
    """Knows one password of every name."""

    async def authenticate(self, credentials: Credentials) -> Identity:
        if credentials.password != RIGHT:
            raise LoginRefusedError
        return Identity("u-00000001", credentials.name, frozenset(), 1)

    async def present(self, user: str) -> Identity | None:
        return None


RIGHT = "the right password"


async def tries(keeper: Doorkeeper, address: str, password: str, *, name: str = "", device: str | None = None) -> None:
    """By default each address tries a name of its own."""
    await keeper.sign_in(address, Credentials(name or f"of {address}", password), device)


def door(clock, **more) -> Doorkeeper:
    return Doorkeeper(
        OnePerson(), **{"idle_s": 10, "session_s": 100, "tries": 2, "lockout_s": 60, "clock": clock} | more
    )


async def test_waiting_times_double_with_each_further_wrong_password_for_one_name():
    now = [0.0]
    keeper = door(lambda: now[0])
    for place, wait in enumerate((0, 61, 121, 241)):
        now[0] += wait
        with pytest.raises(LoginRefusedError):
            await tries(keeper, f"10.0.0.{place}", "wrong", name="Anna Berg")
    for spelt in ("Anna Berg", " anna  BERG "):
        with pytest.raises(LoginLockedError) as locked:
            await tries(keeper, "10.0.1.1", RIGHT, name=spelt)
        assert locked.value.retry_after_s == 241
    await tries(keeper, "10.0.0.1", RIGHT, name="Omar Saleh")


async def test_who_has_signed_in_with_a_browser_before_waits_for_nobody_else():
    now = [0.0]
    keeper = door(lambda: now[0])
    device = keeper.device_token("Anna Berg")
    for _ in range(2):
        with pytest.raises(LoginRefusedError):
            await tries(keeper, "10.0.0.1", "wrong", name="Anna Berg")
    await tries(keeper, "10.0.0.1", RIGHT, name="anna berg", device=device)
    for wrong in (
        None,
        "",
        device[:-1] + "0",
        device.replace(device[:3], "000"),
        f"{device}.1",
        keeper.device_token("X"),
    ):
        with pytest.raises(LoginLockedError):
            await tries(keeper, "10.0.0.2", RIGHT, name="Anna Berg", device=wrong)
    # And this browser's own wrong ones count.
    for _ in range(2):
        with pytest.raises(LoginRefusedError):
            await tries(keeper, "10.0.0.1", "wrong", name="Anna Berg", device=device)
    with pytest.raises(LoginLockedError):
        await tries(keeper, "10.0.0.1", RIGHT, name="Anna Berg", device=device)


async def test_a_browser_is_known_for_a_time():
    wall = [0.0]
    keeper = door(lambda: 0.0, wall_clock=lambda: wall[0])
    device = keeper.device_token("Anna Berg")
    for _ in range(2):
        with pytest.raises(LoginRefusedError):
            await tries(keeper, "10.0.0.1", "wrong", name="Anna Berg")
    wall[0] = auth.DEVICE_S - 1
    await tries(keeper, "10.0.0.1", RIGHT, name="Anna Berg", device=device)
    wall[0] = auth.DEVICE_S + 1
    with pytest.raises(LoginLockedError):
        await tries(keeper, "10.0.0.1", RIGHT, name="Anna Berg", device=device)


async def test_the_right_password_from_a_fresh_address_works_while_everybody_else_tries_wrong_ones(monkeypatch):
    monkeypatch.setattr(auth, "SLOWED_S", 0.001)
    now = [0.0]
    keeper = door(lambda: now[0], tries=5)
    for i in range(40):
        with pytest.raises(LoginRefusedError):
            await tries(keeper, f"10.0.0.{i // 4}", "wrong")
    assert keeper.slowed_s() == 0.001
    await tries(keeper, "10.0.1.1", RIGHT)
    now[0] = 60.0
    assert keeper.slowed_s() == 0.0


async def test_one_network_tries_four_times_as_many_whatever_the_names_and_neighbours_in_ipv6_are_one():
    keeper = door(lambda: 0.0)
    for i in range(2 * auth.NETWORK_TRIES):
        with pytest.raises(LoginRefusedError):
            await tries(keeper, f"2001:db8::{i + 1}", "wrong")
    with pytest.raises(LoginLockedError):
        await tries(keeper, "2001:db8::ffff", RIGHT)
    await tries(keeper, "2001:db8:0:1::1", RIGHT)


async def test_many_tries_at_once_are_no_way_around_the_waiting_time():
    keeper = door(lambda: 0.0)
    outcomes = await asyncio.gather(*(tries(keeper, "10.0.0.1", "wrong") for _ in range(20)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LoginRefusedError] * 2 + [LoginLockedError] * 18


def test_a_form_token_belongs_to_its_cookie_and_its_process():
    keeper, other = door(lambda: 0.0), door(lambda: 0.0)
    keeper.check_form_token("seed", keeper.form_token("seed"))
    for seed, token in (
        ("other", keeper.form_token("seed")),
        ("seed", other.form_token("seed")),
        (None, ""),
        ("", keeper.form_token("")),
        ("seed", "é"),
    ):
        with pytest.raises(CsrfError):
            keeper.check_form_token(seed, token)
