"""The fleet in words: states, alerts and devices in the reader's language, and a lamp's light as a drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from babel.dates import format_date, format_timedelta

from crypto.heartbeat import Heartbeat, PoorCheck
from server.alert_rows import Alert
from server.alerts import GIGABYTE, LAMP_END_PCT, LIMITS, Kind
from server.charts import Chart, Line, Look, Tone, Words, small_multiples
from server.fleet_rows import HUNDREDTHS, VISITS, DayCount, LastBeat
from server.fleet_sites import Booth
from server.messages import FEWEST_WEEKS, Language

TONES: Mapping[str, str] = {
    "in_service": "good",
    "out_of_service": "care",
    "silent": "bad",
    "unheard": "",
    "retired": "",
}
LEVEL_TONES: Mapping[str, str] = {"warn": "care", "grave": "bad"}
LAMP_DAYS = 35


@dataclass(frozen=True, slots=True)
class State:
    """What a booth is at."""

    key: str
    tone: str
    text: str


@dataclass(frozen=True, slots=True)
class AlertLine:
    """An alert in words."""

    booth: str
    place: str
    site: str
    text: str
    level: str
    tone: str
    since: str
    until: str = ""


@dataclass(frozen=True, slots=True)
class BoothLine:
    """A booth in a table."""

    booth: str
    place: str
    state: State
    alerts: int
    tone: str
    heard: str
    queue: str
    software: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and a value."""

    name: str
    value: str
    mono: bool = False


@dataclass(frozen=True, slots=True)
class DeviceLine:
    """A device."""

    name: str
    state: str
    tone: str
    since: str
    port: str
    firmware: str


class FleetWords:
    """Words for one reader at one time."""

    def __init__(self, language: Language, now: datetime) -> None:
        self.say, self._now = language, now

    def state(self, booth: Booth, last: LastBeat | None, alerts: Sequence[Alert]) -> State:
        """A booth's state: silence is what the alert says, so that page and alert never differ."""
        if booth.retired_at is not None:
            key = "retired"
        elif last is None or last.beat is None:
            key = "unheard"
        elif any(alert.kind == Kind.SILENT for alert in alerts):
            key = "silent"
        else:
            key = last.beat.service.state
        text = self.say(f"fleet.state.{key}")
        if key == "out_of_service" and last is not None and last.beat is not None:
            text = f"{text}: {self.say(f'fleet.out.{last.beat.service.reason}')}"
        return State(key, TONES[key], text)

    def line(self, booth: Booth, last: LastBeat | None, alerts: Sequence[Alert]) -> BoothLine:
        """A booth in a table."""
        beat = None if last is None else last.beat
        grave = any(alert.level == "grave" for alert in alerts)
        return BoothLine(
            booth.booth,
            booth.label,
            self.state(booth, last, alerts),
            len(alerts),
            "bad" if grave else "care",
            "" if last is None else self.say.age(self._now - last.received_at),
            "" if beat is None else self.queue(beat),
            "" if beat is None else software_of(beat),
        )

    def queue(self, beat: Heartbeat) -> str:
        """How many packets wait, and for how long."""
        outbox = beat.outbox
        if not outbox.waiting:
            return self.say("fleet.queue.none")
        count = self.say.number(outbox.waiting, 0)
        if outbox.oldest_age_s is None:
            return count
        return self.say("fleet.queue.waiting", count=count, span=self.span(timedelta(seconds=outbox.oldest_age_s)))

    def alert(self, alert: Alert, place: str = "", site: str = "") -> AlertLine:
        """An alert in words."""
        over = "" if alert.resolved_at is None else self.say.time(alert.resolved_at)
        since = self.say.age(self._now - alert.opened_at) if not over else self.say.time(alert.opened_at)
        tone = LEVEL_TONES.get(alert.level, "care")
        return AlertLine(
            alert.booth, place, site, self.alert_text(alert), self.say(f"fleet.level.{alert.level}"), tone, since, over
        )

    def alert_text(self, alert: Alert) -> str:
        """What is wrong, in a sentence."""
        key = f"fleet.alert.{alert.kind}"
        if alert.kind == Kind.REFUSALS and alert.name == VISITS:
            key = "fleet.alert.visits.rising"
        unit = LIMITS[Kind(alert.kind)].unit if alert.kind in set(Kind) - {Kind.TEST} else ""
        bound_unit = "%" if alert.kind == Kind.LAMP_FALLING else unit
        values = {"value": self._value(alert.value, unit), "bound": self._value(alert.bound, bound_unit)}
        return self.say(key, name=self.name(alert.kind, alert.name), **values) if self.say.has(key) else alert.kind

    def name(self, kind: str, name: str) -> str:
        """What an alert is about."""
        key = {
            Kind.LAMP_WEAK: f"fleet.lamp.{name}",
            Kind.LAMP_FALLING: f"fleet.lamp.{name}",
            Kind.DEVICE: f"fleet.device.{name}",
            Kind.REFUSALS: f"rule.{name}.name",
        }.get(Kind(kind) if kind in set(Kind) else Kind.TEST, "")
        return self.say(key) if key and self.say.has(key) else name

    def _value(self, value: float | None, unit: str) -> str:
        if value is None:
            return ""
        if unit == "d":
            days = timedelta(days=max(0, round(value)))
            return format_timedelta(days, granularity="day", threshold=FEWEST_WEEKS, locale=self.say.form)
        if unit == "h":
            return self.span(timedelta(hours=value))
        number = self.say.number(value, 1)
        return f"{number}\N{NO-BREAK SPACE}{unit}" if unit else number

    def span(self, span: timedelta) -> str:
        """How long something takes ("3 days")."""
        return format_timedelta(span, threshold=1.2, locale=self.say.form)

    def since(self, at: datetime, told: datetime) -> str:
        """For how long something is so, on the booth's own clock."""
        return self.span(max(told - at, timedelta(seconds=1)))

    def facts(self, last: LastBeat) -> list[Fact]:
        """What a heartbeat says of the booth itself."""
        say, beat = self.say, last.beat
        told = [Fact(say("fleet.heard"), f"{say.age(self._now - last.received_at)} ({say.time(last.received_at)})")]
        if beat is None:
            return told
        told += [
            Fact(say("fleet.software"), beat.software),
            Fact(say("fleet.profile"), f"{beat.profile.name} {beat.profile.version}"),
            Fact(say("fleet.started"), say.time(beat.started_at)),
            Fact(say("fleet.queue"), self.queue(beat)),
        ]
        if beat.certificate_days is not None:
            days = timedelta(days=max(0.0, beat.certificate_days))
            told.append(Fact(say("fleet.certificate"), self.span(days)))
        if beat.disk_free_bytes is not None:
            told.append(
                Fact(say("fleet.disk"), f"{say.number(beat.disk_free_bytes / GIGABYTE, 1)}\N{NO-BREAK SPACE}GB")
            )
        if beat.clock_offset_s is not None:
            told.append(Fact(say("fleet.clock"), f"{say.number(beat.clock_offset_s, 1)}\N{NO-BREAK SPACE}s"))
        if beat.faults:
            told.append(Fact(say("fleet.faults"), ", ".join(beat.faults), mono=True))
        return told

    def devices(self, beat: Heartbeat) -> list[DeviceLine]:
        """Every device."""
        tones = {"ready": "good", "connecting": "care"}
        return [
            DeviceLine(
                self.say(f"fleet.device.{one.device}"),
                self.say(f"fleet.device.state.{one.state}"),
                tones.get(one.state, "bad"),
                self.since(one.since, beat.sent_at),
                one.port,
                one.firmware or "",
            )
            for one in beat.devices
        ]

    def poor(self, check: PoorCheck) -> str:
        """The value of a self-test with its limits."""
        if check.value is None:
            return ""
        limits = [
            f"{mark}\N{NO-BREAK SPACE}{self.say.number(limit)}"
            for mark, limit in (("≥", check.low), ("≤", check.high))
            if limit is not None
        ]
        value = f"{self.say.number(check.value)}\N{NO-BREAK SPACE}{check.unit}"
        return f"{value} ({', '.join(limits)})" if limits else value

    def lamps(self, rows: Sequence[DayCount], today: date) -> Chart | None:
        """The light of each lamp over the last weeks, with the limit behind it; None when no test has seen any."""
        light = {(row.name, row.day): row.count / HUNDREDTHS for row in rows}
        if not light:
            return None
        days = [today - timedelta(days=back) for back in range(LAMP_DAYS - 1, -1, -1)]
        first = min(day for _, day in light)
        days = [day for day in days if day >= min(first, days[-2])]
        panels = [
            Line(
                self.say(f"fleet.lamp.{lamp}"),
                tuple(light.get((lamp, day)) for day in days),
                self._lamp_tone(light, lamp),
            )
            for lamp in sorted({lamp for lamp, _ in light})
        ]
        end = Line(self.say("fleet.lamps.limit"), (LAMP_END_PCT,) * len(days), "bad", dashed=True)
        look = Look(
            self.say("fleet.lamps"),
            self.say.direction == "rtl",
            lambda value: f"{self.say.number(value, 1)}\N{NO-BREAK SPACE}%",
        )
        places = [format_date(day, "d MMM", locale=self.say.form) for day in days]
        return small_multiples(look, Words(self.say("statistics.day")), places, panels, end)

    @staticmethod
    def _lamp_tone(light: Mapping[tuple[str, date], float], lamp: str) -> Tone:
        newest = light[max((key for key in light if key[0] == lamp), key=lambda key: key[1])]
        limits = LIMITS[Kind.LAMP_WEAK]
        return "bad" if newest <= limits.grave else "accent"


def software_of(beat: Heartbeat) -> str:
    """The booth's own version: the first of what it names."""
    return beat.software.split(",")[0].removeprefix("passbooth ")
