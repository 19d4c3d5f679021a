"""Statistics of the fleet: visits and failed checks by day, booth and site, drawn here, and as CSV.

    GET /statistics         from, to (days of UTC), site, booth, rule
    GET /statistics.csv     the same and by = rule | booth | site | day | all

Rules: what booths tell are counts of whole days (crypto/heartbeat.py), never anything of a visit, so that nothing here is of a person and an address may hold what is asked.
The booth that stands out is found among all booths, whatever is shown; a page that shows one booth or site shows its lines beside everybody's. What cannot be
read in an address is told beside the form, and nothing is shown as if it had been found. Today is never shown: its counts are not told yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from server.auth import Session
from server.charts import Chart, Line
from server.desk_session import needs
from server.errors import MalformedRequestError
from server.fleet_rows import LAMP, PORTRAITS, RULE, VISITS, sum_days
from server.layout import Pages
from server.roles import Permission
from server.statistics import (
    CERTAINTY,
    LEAST_DIFFERENCE,
    NOTHING,
    Compared,
    Share,
    Standout,
    by_booth,
    by_rule,
    shown_first,
    worst_rule,
)
from server.statistics_csv import BYTE_ORDER_MARK, Cell, csv_lines
from server.statistics_rows import FleetSums, Place, read_places
from server.statistics_words import BoothLine, Figure, Sayings, share_of
from server.store import Store

DAYS = 30
MOST_DAYS = 400  # a year beside the same weeks of the year before; a page of more would be no page
MAX_NAME = 64
MOST_PANELS, MOST_BOOTHS, MOST_STANDOUTS = 12, 100, 20
ENDINGS = ("finished", "cancelled", "timed_out", "handed_to_staff", "overridden")
KINDS = (VISITS, PORTRAITS, RULE, LAMP)
GROUPS: Mapping[str, tuple[str, ...]] = {
    "rule": ("name",),
    "booth": ("site", "booth", "name"),
    "site": ("site", "name"),
    "day": ("day", "name"),
    "all": ("day", "site", "booth", "name"),
}
Reader = Annotated[Session, needs(Permission.STATISTICS)]


@dataclass(frozen=True)
class StatisticsRooms:
    """What the pages work with."""

    store: Store
    pages: Pages
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for; `wrong` is the field that cannot be read."""

    since: date
    until: date
    site: str | None
    booth: str | None
    rule: str | None
    wrong: str = ""

    @property
    def days(self) -> list[date]:
        """Each of them."""
        return [self.since + timedelta(days=at) for at in range((self.until - self.since).days + 1)]

    @property
    def span(self) -> tuple[date, date]:
        """The first and the last."""
        return self.since, self.until

    def query(self, **more: str | None) -> str:
        """As an address."""
        told = {"from": f"{self.since}", "to": f"{self.until}", "site": self.site, "booth": self.booth}
        told |= {"rule": self.rule, **more}
        return urlencode({name: value for name, value in told.items() if value})


def read_asked(query: Mapping[str, str], today: date) -> Asked:
    """The fields of an address; the days that are over where it names none."""
    yesterday = today - timedelta(days=1)
    first, last = query.get("from", "").strip(), query.get("to", "").strip()
    until = _day(last) if last else yesterday
    since = _day(first) if first else (until or yesterday) - timedelta(days=DAYS - 1)
    site, booth, rule = (_name(query.get(name, "")) for name in ("site", "booth", "rule"))
    wrong = "from" if since is None else "to" if until is None else ""
    if since is not None and until is not None:
        until = min(until, yesterday)
        if since > until:
            wrong = "order"
        elif (until - since).days >= MOST_DAYS:
            wrong = "long"
        else:
            return Asked(since, until, site, booth, rule)
    return Asked(yesterday - timedelta(days=DAYS - 1), yesterday, site, booth, rule, wrong)


class StatisticsPages:
    """The pages' work."""

    def __init__(self, rooms: StatisticsRooms) -> None:
        self.rooms = rooms
        self.fleet = FleetSums(rooms.store)

    async def page(self, request: Request, session: Session, asked: Asked) -> Response:
        """The page of what is asked for."""
        language = self.rooms.pages.language(request)
        places = await read_places(self.rooms.store)
        comparison = await self.fleet.compared(asked.since, asked.until)
        compared, found = comparison.rows, comparison.standouts
        chosen = _chosen(places, asked)
        shown = by_rule(compared, chosen)
        here = [one for one in found if chosen is None or one.booth in chosen]
        rule = asked.rule if asked.rule in shown else here[0].rule if here else worst_rule(shown)
        visits = await self._visits(asked)
        words = Sayings(language, places)
        return self.rooms.pages.page(
            request,
            "statistics.html",
            400 if asked.wrong else 200,
            session=session,
            asked=asked,
            sites=sorted({(one.site, one.site_name or one.site) for one in places.values() if one.site}),
            booths=[(one.booth, words.place(one.booth)) for one in places.values()],
            rules=sorted((words.rule(one), one) for one in shown),
            rule=rule,
            rule_name=words.rule(rule) if rule else "",
            figures=await self._figures(asked, visits, words),
            standouts=[words.standout(one) for one in here[:MOST_STANDOUTS]],
            certainty=words.percent(CERTAINTY),
            distance=words.points(LEAST_DIFFERENCE),
            visits_chart=words.visits_chart(asked.days, visits),
            rules_chart=words.rules_chart(
                shown,
                None if chosen is None else by_rule(compared),
                () if chosen is None else {one.rule for one in here},
            ),
            rule_charts=await self._rule_charts(asked, compared, found, rule, words) if rule else [],
            lines=await self._lines(asked, compared, found, rule, words),
            most_booths=MOST_BOOTHS,
            groups=GROUPS,
        )

    async def csv(self, asked: Asked, by: str) -> AsyncIterator[bytes]:
        """The file, day by day where it has days, so that no large one stands in memory."""
        groups = GROUPS[by]
        sites = {one.site: one.site_name for one in (await read_places(self.rooms.store)).values()}
        about = [*groups[:-1], *(["site_name"] if "site" in groups else [])]
        yield (BYTE_ORDER_MARK + csv_lines([[*about, "kind", "name", "count", "total", "share"]])).encode("utf-8")
        spans = [(day, day) for day in asked.days] if "day" in groups else [(asked.since, asked.until)]
        for since, until in spans:
            for kind in KINDS:
                rows = await sum_days(
                    self.rooms.store, since, until, kind, by=groups, booth=asked.booth, site=asked.site
                )
                lines = (_csv_row(row | {"site_name": sites.get(row.get("site"))}, about, kind) for row in rows)
                yield (await asyncio.to_thread(csv_lines, lines)).encode("utf-8")

    async def _visits(self, asked: Asked) -> list[dict[str, object]]:
        return await self.fleet.sums(asked.span, VISITS, by=("day", "name"), booth=asked.booth, site=asked.site)

    async def _figures(self, asked: Asked, visits: Sequence[Mapping[str, object]], words: Sayings) -> list[Figure]:
        portraits = await self.fleet.sums(asked.span, PORTRAITS, by=("name",), booth=asked.booth, site=asked.site)
        assessed = sum(row["count"] for row in portraits)
        ended: dict[str, Share] = {}
        for row in visits:
            name = str(row["name"])
            ended[name] = ended.get(name, NOTHING) + share_of(row)
        told = [
            Figure(words.say("statistics.portraits"), words.count(assessed)),
            Figure(words.say("statistics.visits"), words.count(ended.get("started", NOTHING).count)),
        ]
        return told + [
            Figure(words.say(f"statistics.{name}"), words.share(ended.get(name, NOTHING)), words.of(ended.get(name)))
            for name in ENDINGS
        ]

    async def _rule_charts(
        self, asked: Asked, compared: list[Compared], found: list[Standout], rule: str, words: Sayings
    ) -> list[Chart]:
        """The chosen check by day, by booth and by site."""
        days = asked.days
        everybody = await self.fleet.sums(asked.span, RULE, by=("day",), name=rule)
        all_days = words.by_day("statistics.everybody", days, everybody, dashed=True)
        charts = []
        if asked.booth or asked.site:
            own = await self.fleet.sums(asked.span, RULE, by=("day",), booth=asked.booth, site=asked.site, name=rule)
            lines = [words.by_day("statistics.shown", days, own), all_days]
        else:
            lines = [Line(all_days.name, all_days.values)]
        charts.append(words.day_chart("statistics.chart.rule_days", days, lines))
        if not asked.booth and not asked.site:
            sites = await self.fleet.sums(asked.span, RULE, by=("site",), name=rule)
            if len([row for row in sites if row["site"]]) > 1:
                charts.append(words.site_chart([row for row in sites if row["site"]]))
        in_sight = _chosen(words.places, asked)
        shares = {
            booth: share
            for booth, share in by_booth(compared, rule).items()
            if share.total and (in_sight is None or booth in in_sight)
        }
        striking = [one for one in found if one.rule == rule]
        first = shown_first(shares, striking, MOST_PANELS)
        if len(shares) > 1:
            charts.append(await self._panels(asked, rule, first, striking, all_days, words))
        return charts

    async def _panels(
        self,
        asked: Asked,
        rule: str,
        first: Sequence[str],
        striking: Sequence[Standout],
        everybody: Line,
        words: Sayings,
    ) -> Chart:
        far = {one.booth for one in striking}
        panels = []
        for booth in first:
            rows = await self.fleet.sums(asked.span, RULE, by=("day",), name=rule, booth=booth)
            line = words.by_day("", asked.days, rows)
            panels.append(Line(words.place(booth), line.values, "bad" if booth in far else "accent"))
        return words.panel_chart(asked.days, panels, everybody)

    async def _lines(
        self, asked: Asked, compared: list[Compared], found: list[Standout], rule: str | None, words: Sayings
    ) -> list[BoothLine]:
        """The table of booths: those that stand out first, then by name."""
        visits = await self.fleet.sums(asked.span, VISITS, by=("booth", "name"), booth=asked.booth, site=asked.site)
        portraits = await self.fleet.sums(asked.span, PORTRAITS, by=("booth",), booth=asked.booth, site=asked.site)
        ended: dict[str, dict[str, Share]] = {}
        for row in visits:
            ended.setdefault(row["booth"], {})[row["name"]] = share_of(row)
        assessed = {row["booth"]: row["count"] for row in portraits}
        failed = by_booth(compared, rule) if rule else {}
        striking = {one.booth for one in found}
        booths = sorted({*ended, *assessed}, key=lambda booth: (booth not in striking, words.place(booth), booth))
        return [
            words.booth_line(
                booth, ended.get(booth, {}), assessed.get(booth, 0), failed.get(booth, NOTHING), booth in striking
            )
            for booth in booths[:MOST_BOOTHS]
        ]


def make_statistics_pages(rooms: StatisticsRooms) -> APIRouter:
    """The pages."""
    statistics, routes = StatisticsPages(rooms), APIRouter()

    @routes.get("/statistics")
    async def statistics_page(request: Request, session: Reader) -> Response:
        return await statistics.page(request, session, read_asked(request.query_params, _today(rooms)))

    @routes.get("/statistics.csv")
    async def statistics_csv(request: Request, session: Reader) -> Response:  # noqa: ARG001 (asks for the session)
        asked = read_asked(request.query_params, _today(rooms))
        by = request.query_params.get("by", "all")
        if asked.wrong or by not in GROUPS:
            raise MalformedRequestError(f"Ask for days that are over, and by one of {', '.join(GROUPS)}.")
        name = f"passbooth-statistics-{asked.since}-{asked.until}-by-{by}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(statistics.csv(asked, by), media_type="text/csv; charset=utf-8", headers=headers)

    return routes


def _today(rooms: StatisticsRooms) -> date:
    return rooms.now().astimezone(UTC).date()


def _chosen(places: Mapping[str, Place], asked: Asked) -> set[str] | None:
    """The booths that are asked for; None is all."""
    if asked.booth is not None:
        return {asked.booth}
    if asked.site is not None:
        return {one.booth for one in places.values() if one.site == asked.site}
    return None


def _csv_row(row: Mapping[str, object], about: Sequence[str], kind: str) -> list[Cell]:
    share = share_of(row)
    told: list[Cell] = [None if row[name] is None else str(row[name]) for name in about]
    return [*told, kind, str(row["name"]), share.count, share.total, share.value]


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if len(text) == len("2026-01-01") else None
    except ValueError:
        return None


def _name(text: str) -> str | None:
    return "".join(filter(str.isprintable, text.strip()))[:MAX_NAME] or None
