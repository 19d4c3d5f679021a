// The technician's page: read-only, asks the controller once a second and shows when it last answered.

import { el, icon, setText } from "./dom.js";
import { loadTexts } from "./texts.js";

const EVERY_MS = 1000;
const GIVE_UP_MS = 3000;

const SIGNS = { ready: "check", connecting: "retake", missing: "unplugged", lost: "unplugged", pass: "check", warn: "warn", fail: "cross", not_assessed: "question", good: "check", care: "warn", bad: "cross" };
const TONES = { ready: "good", connecting: "care", missing: "bad", lost: "bad", pass: "good", warn: "care", fail: "bad", not_assessed: "care", info: "good", warning: "care", error: "bad" };
const DEVICES = { camera: "camera", controls: "controls", lights: "lamp" };
const CERTIFICATE_SOON_DAYS = 30; // as early as a new one can be ordered and installed

const byId = (id) => document.getElementById(id);
const texts = await loadTexts(document.documentElement.lang);
const t = (key, values) => texts.t(key, values);
const clock = new Intl.DateTimeFormat(texts.language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const number = (value, digits = 2) => new Intl.NumberFormat(texts.language, { maximumFractionDigits: digits }).format(value);
let last = null;

function duration(seconds) {
  const [value, unit] =
    seconds < 90 ? [seconds, "second"] : seconds < 5400 ? [seconds / 60, "minute"] : seconds < 129600 ? [seconds / 3600, "hour"] : [seconds / 86400, "day"];
  return new Intl.NumberFormat(texts.language, { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 }).format(value);
}

// Of two clocks: in minutes from one minute on, with its sign.
function difference(seconds) {
  const minutes = Math.abs(seconds) >= 60;
  return new Intl.NumberFormat(texts.language, { style: "unit", unit: minutes ? "minute" : "second", unitDisplay: "long", maximumFractionDigits: minutes ? 0 : 1, signDisplay: "exceptZero" }).format(minutes ? seconds / 60 : seconds);
}

function bytes(count) {
  const [value, unit] = count < 1e6 ? [count / 1e3, "kilobyte"] : count < 1e9 ? [count / 1e6, "megabyte"] : [count / 1e9, "gigabyte"];
  return new Intl.NumberFormat(texts.language, { style: "unit", unit, maximumFractionDigits: 1 }).format(value);
}

const moment = (at) => (at === null ? t("technician.never") : clock.format(new Date(at)));

function state(tone, word, sign = SIGNS[tone]) {
  return el("span", { class: "state", "data-tone": tone }, icon(sign), el("span", { text: word }));
}

function facts(pairs) {
  return el("dl", { class: "facts" }, ...pairs.filter(Boolean).flatMap(([term, value]) => [el("dt", { text: term }), el("dd", {}, value)]));
}

function card(picture, title, status, pairs, note) {
  return el(
    "article",
    { class: "card device" },
    el("header", {}, icon(picture), el("h2", { text: title })),
    status,
    note ? el("p", { class: "note", dir: "auto", text: note }) : null,
    facts(pairs),
  );
}

const address = (url) => el("code", { dir: "ltr", text: url });

function device(view, levels) {
  const family = Object.keys(DEVICES).find((name) => view.name.startsWith(name));
  const title = family ? t(`technician.device.${family}`) : view.name;
  const word = `${t(`technician.state.${view.state}`)} · ${t("technician.for", { duration: duration(view.for_s) })}`;
  const info = Object.entries(view.info).map(([key, value]) => [named("info", key), el("span", { dir: "auto", text: value })]);
  const useless = view.state === "ready" && (view.info.picture ?? "live") !== "live"; // of a camera that works
  const lamps = family === "lights" ? Object.entries(levels).map(([name, level]) => [named("lamp", name), lamp(named("lamp", name), level)]) : [];
  return card(
    DEVICES[family] ?? "device",
    title,
    useless ? state("care", word) : state(TONES[view.state], word, SIGNS[view.state]),
    [[t("technician.port"), address(view.url)], ...info, ...lamps],
    view.detail,
  );
}

/** What programs and devices name; a name of their own stays. */
function named(family, name) {
  const key = `technician.${family}.${name}`;
  return texts.has(key) ? t(key) : name.replaceAll("_", " ");
}

function lamp(name, level) {
  return el(
    "span",
    { class: "level" },
    el("meter", { min: 0, max: 100, value: level, "aria-label": name }),
    el("span", { dir: "ltr", text: `${number(level, 0)} %` }),
  );
}

function outbox(view) {
  const damaged = view.refused + view.damaged > 0;
  const tone = !view.accepting ? "bad" : damaged ? "care" : "good";
  return card("outbox", t("technician.outbox"), state(tone, t(view.accepting ? "technician.outbox.accepting" : "technician.outbox.full")), [
    [t("technician.outbox.waiting"), `${number(view.waiting)} / ${number(view.max_packets)}`],
    view.oldest_age_s !== null && [t("technician.outbox.oldest"), duration(view.oldest_age_s)],
    view.refused > 0 && [t("technician.outbox.refused"), number(view.refused)],
    view.damaged > 0 && [t("technician.outbox.damaged"), number(view.damaged)],
    [t("technician.outbox.stored"), `${bytes(view.stored_bytes)} / ${bytes(view.max_bytes)}`],
    [t("technician.outbox.free"), bytes(view.free_bytes)],
  ]);
}

function intake(view, days, revoked) {
  const [tone, word] = view.refusal ? ["bad", view.refusal] : view.last_error ? ["bad", "trouble"] : view.last_receipt_at ? ["good", "reachable"] : ["care", "untried"];
  return card(
    "cloud",
    t("technician.intake"),
    state(tone, t(`technician.intake.${word}`)),
    [
      [t("technician.address"), address(view.url)],
      [t("technician.certificate"), certificate(days, revoked)],
      [t("technician.intake.last_receipt"), moment(view.last_receipt_at)],
      view.next_try_s !== null && [t("technician.intake.next_try"), duration(view.next_try_s)],
      view.clock_skew_s !== null && [t("technician.intake.clock_skew"), difference(view.clock_skew_s)],
    ],
    view.last_error,
  );
}

function certificate(days, revoked) {
  if (revoked) return state("bad", t("technician.certificate.revoked"));
  if (days === null) return state("care", t("technician.unknown"));
  const left = Math.floor(days);
  if (left < 0) return state("bad", t("technician.certificate.expired"));
  return state(left <= CERTIFICATE_SOON_DAYS ? "care" : "good", t("technician.certificate.days", { count: left }));
}

function findings(list) {
  const title = el("h2", { text: t("technician.findings") });
  if (list.length === 0) return [title, el("p", { class: "quiet", text: t("technician.findings.none") })];
  const limit = ({ low, high }) => {
    if (low === null && high === null) return "–";
    if (low === null) return `≤ ${number(high, 3)}`;
    if (high === null) return `≥ ${number(low, 3)}`;
    return low === high ? number(low, 3) : `${number(low, 3)} … ${number(high, 3)}`;
  };
  const head = ["rule", "value", "limit", "verdict"].map((key) => el("th", { scope: "col", text: t(`technician.findings.${key}`) }));
  // What is not met first: some fifty rules are judged.
  const rows = [...list].sort((one, other) => (one.verdict === "pass") - (other.verdict === "pass")).map((each) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, el("span", { text: t(`rule.${each.rule}.name`) }), el("code", { dir: "ltr", text: each.rule })),
      el("td", { class: "figure", dir: "ltr", text: each.value === null ? "–" : `${number(each.value, 3)} ${each.unit}` }),
      el("td", { class: "figure", dir: "ltr", text: limit(each) }),
      el("td", {}, state(TONES[each.verdict], t(`verdict.${each.verdict}`), SIGNS[each.verdict])),
    ),
  );
  return [title, el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows))];
}

function events(list) {
  const title = el("h2", { text: t("technician.events") });
  if (list.length === 0) return [title, el("p", { class: "quiet", text: t("technician.events.none") })];
  const rows = list.map((each) =>
    el("li", {}, el("time", { datetime: each.at, text: moment(each.at) }), state(TONES[each.level], t(`technician.level.${each.level}`)), el("span", { dir: "auto", text: each.text })),
  );
  return [title, el("ul", { class: "events" }, ...rows)];
}

function summary(status) {
  const down = status.devices.filter((each) => each.state !== "ready").length;
  const parts = [
    down === 0 ? state("good", t("technician.all_ready")) : state("bad", t("technician.some_not_ready", { count: down })),
    status.fault ? state("bad", `${t("technician.fault")}: ${status.fault.code}`) : state("good", t("technician.no_fault")),
  ];
  if (status.fault_hint) parts.push(el("span", { dir: "auto", text: status.fault_hint }));
  return parts;
}

function show(status) {
  const pairs = [
    [t("technician.booth"), status.booth],
    [t("technician.site"), status.site],
    [t("technician.centre"), status.centre],
    [t("technician.visit"), named("visit", status.state)],
    [t("technician.profile"), `${status.profile} ${status.profile_version}`],
    [t("technician.preview"), t("technician.fps", { value: number(status.preview_fps, 1) })],
    [t("technician.software"), status.software_version],
  ];
  byId("facts").replaceChildren(...pairs.map(([term, value]) => el("div", {}, el("dt", { text: term }), el("dd", { text: value }))));
  const told = summary(status);
  if (byId("summary").textContent !== told.map((each) => each.textContent).join("")) byId("summary").replaceChildren(...told);
  byId("devices").replaceChildren(
    ...status.devices.map((each) => device(each, status.lights_pct)),
    outbox(status.outbox),
    intake(status.intake, status.certificate_days, status.fault?.code === "booth.revoked"),
  );
  byId("findings").replaceChildren(...findings(status.findings));
  byId("events").replaceChildren(...events(status.events));
}

async function ask() {
  try {
    const answer = await fetch("/api/technician", { cache: "no-store", signal: AbortSignal.timeout(GIVE_UP_MS) });
    if (answer.status === 401) return location.reload(); // the session is over: the page of the login comes
    if (!answer.ok) throw new Error(String(answer.status));
    show(await answer.json());
    last = new Date();
    byId("stale").hidden = true;
    setText(byId("updated"), `${t("technician.read_only")} ${t("technician.updated", { time: clock.format(last) })}`);
  } catch {
    byId("stale").hidden = false;
    setText(byId("stale"), t("technician.stale", { time: last === null ? "–" : clock.format(last) }));
  }
  setTimeout(ask, EVERY_MS);
}

byId("log-out").addEventListener("click", async () => {
  const token = document.querySelector('meta[name="kiosk-token"]').content;
  try {
    await fetch("/api/technician/session/end", { method: "POST", headers: { "X-Kiosk-Token": token }, signal: AbortSignal.timeout(GIVE_UP_MS) });
  } finally {
    location.reload();
  }
});
byId("languages").append(
  ...texts.languages.map((each) =>
    el("a", { href: `?language=${each.language}`, lang: each.language, "aria-current": each.language === texts.language ? "true" : null, text: each.name }),
  ),
);
ask();
