"""The statistics in words and drawings: numbers, places and charts in the reader's language."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_percent

from server.charts import Bar, Chart, Line, Look, Tone, Words, bar_chart, column_chart, line_chart, small_multiples
from server.messages import Language
from server.statistics import NOTHING, Share, Standout, cause_of
from server.statistics_rows import Place

MOST_RULES, MOST_SITES = 10, 20
FEW = 0.0995  # from here on a percent is read whole


@dataclass(frozen=True, slots=True)
class Figure:
    """A number at the head of the page."""

    name: str
    value: str
    more: str = ""


@dataclass(frozen=True, slots=True)
class StandoutLine:
    """A booth that differs, in words."""

    booth: str
    place: str
    rule: str
    rule_name: str
    own: str
    others: str
    text: str
    cause: str


@dataclass(frozen=True, slots=True)
class BoothLine:
    """A booth in the table."""

    booth: str
    place: str
    portraits: str
    visits: str
    finished: str
    staff: str
    overridden: str
    share: str
    striking: bool


class Sayings:
    """Numbers, places and charts in the reader's language."""

    def __init__(self, language: Language, places: Mapping[str, Place]) -> None:
        self.say, self.places = language, places
        self._rtl = language.direction == "rtl"

    def count(self, number: float) -> str:
        """A whole number."""
        return self.say.number(number, 0)

    def percent(self, share: float) -> str:
        """A share; with a decimal below ten percent."""
        form = Locale.parse(self.say.form).percent_formats[None].pattern
        return format_percent(share, form.replace("0", "0.#") if share < FEW else form, locale=self.say.form)

    def points(self, difference: float) -> str:
        """A difference of two shares."""
        return self.say("statistics.points", count=self.say.number(difference * 100, 1))

    def share(self, share: Share) -> str:
        """A share, or a dash."""
        return "\N{EN DASH}" if share.value is None else self.percent(share.value)

    def of(self, share: Share | None) -> str:
        """Of how many a share is."""
        if share is None or not share.total:
            return ""
        return self.say("statistics.of", count=self.count(share.count), total=self.count(share.total))

    def rule(self, rule: str) -> str:
        """A check's name; its id where it has none."""
        key = f"rule.{rule}.name"
        return self.say(key) if self.say.has(key) else rule

    def place(self, booth: str) -> str:
        """A booth by its label, with its id behind it."""
        known = self.places.get(booth)
        return f"{known.label} ({booth})" if known is not None and known.label else booth

    def site(self, booth: str) -> str:
        """The name of a booth's site."""
        known = self.places.get(booth)
        return "" if known is None or known.site is None else known.site_name or known.site

    def standout(self, one: Standout) -> StandoutLine:
        """A booth that differs."""
        values = {
            "own": self.share(one.own),
            "portraits": self.count(one.own.total),
            "others": self.share(one.others),
            "rule": self.rule(one.rule),
        }
        return StandoutLine(
            one.booth,
            self.place(one.booth),
            one.rule,
            values["rule"],
            values["own"],
            values["others"],
            self.say("statistics.standout", **values),
            self.say(f"statistics.cause.{cause_of(one.rule)}"),
        )

    def look(self, key: str, *, percent: bool) -> Look:
        """How a chart is read."""
        return Look(self.say(key), self._rtl, self.percent if percent else self.count)

    def days(self, days: Sequence[date]) -> list[str]:
        """Days on an axis."""
        return [format_date(day, "d MMM", locale=self.say.form) for day in days]

    def by_day(
        self, key: str, days: Sequence[date], rows: Sequence[Mapping[str, object]], *, dashed: bool = False
    ) -> Line:
        """The share of each day; none where nothing was told."""
        shares = {row["day"]: share_of(row).value for row in rows}
        name = self.say(key) if key else ""
        return Line(name, tuple(shares.get(day) for day in days), "soft" if dashed else "accent", dashed)

    def day_chart(self, key: str, days: Sequence[date], lines: Sequence[Line]) -> Chart:
        """A check's share by day."""
        words = Words(self.say("statistics.day"))
        return line_chart(self.look(key, percent=True), words, self.days(days), lines)

    def panel_chart(self, days: Sequence[date], panels: Sequence[Line], everybody: Line) -> Chart:
        """The same for each of some booths, with everybody's behind it."""
        words = Words(self.say("statistics.day"))
        look = self.look("statistics.chart.panels", percent=True)
        return small_multiples(look, words, self.days(days), panels, everybody)

    def site_chart(self, rows: Sequence[Mapping[str, object]]) -> Chart:
        """A check's share by site, the highest first."""
        names = {one.site: one.site_name or one.site for one in self.places.values() if one.site}
        shares = sorted(((str(row["site"]), share_of(row)) for row in rows), key=lambda pair: -(pair[1].value or 0.0))
        bars = [_bar(names.get(site) or site, share) for site, share in shares[:MOST_SITES]]
        return bar_chart(self.look("statistics.chart.sites", percent=True), self._share_words("statistics.site"), bars)

    def rules_chart(
        self, shares: Mapping[str, Share], everybody: Mapping[str, Share] | None, far: Collection[str]
    ) -> Chart:
        """Each check's share, the highest first; beside everybody's where it is not everybody's."""
        known = sorted(
            ((rule, share) for rule, share in shares.items() if share.total), key=lambda pair: -(pair[1].value or 0)
        )
        bars = [
            _bar(
                self.rule(rule),
                share,
                None if everybody is None else everybody.get(rule, NOTHING).value,
                "bad" if rule in far else "accent",
            )
            for rule, share in known[:MOST_RULES]
        ]
        words = self._share_words("statistics.rule", "" if everybody is None else self.say("statistics.everybody"))
        return bar_chart(self.look("statistics.chart.rules", percent=True), words, bars)

    def visits_chart(self, days: Sequence[date], visits: Sequence[Mapping[str, object]]) -> Chart:
        """Visits by day: those that ended with a portrait, and others."""
        counted = {(row["day"], row["name"]): share_of(row).count for row in visits}
        started = [counted.get((day, "started")) for day in days]
        finished = [counted.get((day, "finished")) for day in days]
        other = [
            None if begun is None else max(0, begun - (done or 0))
            for begun, done in zip(started, finished, strict=True)
        ]
        parts = [
            Line(self.say("statistics.finished"), tuple(finished)),
            Line(self.say("statistics.unfinished"), tuple(other), "soft"),
        ]
        look = self.look("statistics.chart.visits", percent=False)
        return column_chart(look, Words(self.say("statistics.day")), self.days(days), parts)

    def booth_line(
        self, booth: str, ended: Mapping[str, Share], portraits: int, failed: Share, striking: bool
    ) -> BoothLine:
        """A booth in the table."""
        return BoothLine(
            booth,
            " · ".join(filter(None, (self.place(booth), self.site(booth)))),
            self.count(portraits),
            self.count(ended.get("started", NOTHING).count),
            self.share(ended.get("finished", NOTHING)),
            self.share(ended.get("handed_to_staff", NOTHING)),
            self.share(ended.get("overridden", NOTHING)),
            self.share(failed),
            striking,
        )

    def _share_words(self, key: str, reference: str = "") -> Words:
        return Words(self.say(key), self.say("statistics.share"), self.say("statistics.range"), reference)


def share_of(row: Mapping[str, object]) -> Share:
    """Of a row of sums."""
    return Share(int(str(row["count"])), int(str(row["total"])))


def _bar(name: str, share: Share, reference: float | None = None, tone: Tone = "accent") -> Bar:
    low, high = share.range
    return Bar(name, share.value or 0.0, low, high, reference, tone)
