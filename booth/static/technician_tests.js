// The self-tests: run them, see how far they are, what they found, what to do, and how each check went over the last weeks.

import { el, icon } from "./dom.js";
import { advice } from "./technician_overview.js";
import { spark } from "./technician_plots.js";
import { ask as get, checkName, date, day, figure, limits, measured, number, renew, t, table, tell, verdict } from "./technician_words.js";

const ORDER = { fail: 0, warn: 1, not_assessed: 2, pass: 3 };
let parts = null;
let page = null;
let trends = null; // of the last ninety days, by check
let stale = true; // a run ended since they were asked for
let ended; // when the newest known run did

export function build(section, actions) {
  page = actions;
  const attended = el("input", { id: "attended", type: "checkbox" });
  const start = button("start", "check", "technician.tests.run", () => tell("/api/technician/tests", { attended: attended.checked }), true);
  const proceed = button("proceed", "forward", "technician.tests.card_hangs", () => tell("/api/technician/maintenance/proceed"), true);
  const cancel = button("cancel", "cross", "technician.cancel", () => tell("/api/technician/maintenance/cancel"));
  const progress = el("progress", { id: "progress", "aria-label": t("technician.tests.progress") });
  const told = el("p", { id: "told", role: "status" });
  parts = { start, proceed, cancel, progress, told, attended, card: cardPicture(), rows: el("div", {}), trends: el("div", {}) };
  section.append(
    el("section", { class: "card panel" },
      el("h2", { text: t("technician.tests") }),
      el("p", { class: "quiet", text: t("technician.tests.text") }),
      el("div", { class: "line" }, start, el("label", { class: "choice" }, attended, el("span", { text: t("technician.tests.attended") })), proceed, cancel),
      parts.card, progress, told),
    el("section", { class: "card panel" }, el("h2", { text: t("technician.tests.findings") }), parts.rows),
    el("details", { class: "card panel" }, el("summary", { text: t("technician.trend.table") }), parts.trends),
  );
}

function button(id, picture, key, press, main = false) {
  const made = el("button", { id, class: main ? "press press-main" : "press", type: "button" }, icon(picture), el("span", { text: t(key) }));
  made.addEventListener("click", async () => {
    made.disabled = true;
    await press();
    made.disabled = false;
    page.refresh();
  });
  return made;
}

/** Where the test card hangs: the sheet in its holder at the head's place, its face to the camera. */
export function cardPicture() {
  return el("figure", { class: "card-picture", hidden: true }, icon("test-card"), el("figcaption", { text: t("technician.card.text") }));
}

export async function ask() {
  if (stale) {
    stale = false;
    try {
      trends = await get("/api/technician/history");
    } catch {
      stale = true; // the findings are shown without it, and it is asked for again
    }
  }
}

export function show({ work }) {
  const { busy, tests } = work.state;
  const running = busy === "tests";
  const waiting = running && tests.waiting !== null;
  parts.start.hidden = parts.attended.parentElement.hidden = busy !== null;
  parts.proceed.hidden = !waiting;
  parts.card.hidden = !waiting;
  parts.cancel.hidden = !running;
  parts.progress.hidden = !running;
  if (running) {
    parts.progress.max = tests.total;
    parts.progress.value = tests.done;
  }
  const said = progressOf(busy, tests);
  if (parts.told.textContent !== said) parts.told.textContent = said;
  const finished = tests?.finished_at ?? null;
  if (ended !== undefined && finished !== null && finished !== ended) stale = true;
  ended = finished;
  renew(parts.rows, [tests?.findings, trends], () => rows(tests?.findings ?? []));
  renew(parts.trends, trends, () => trendTables());
}

function progressOf(busy, tests) {
  if (busy === "calibration") return t("technician.tests.calibrating");
  if (tests === null) return t("technician.tests.never");
  if (tests.waiting !== null && busy) return t("technician.tests.waits");
  if (busy === "tests") return t("technician.tests.at", { done: number(tests.done), total: number(tests.total), name: tests.current === null ? "" : checkName(tests.current) });
  return t(tests.cancelled ? "technician.tests.cancelled" : "technician.tests.done", { time: date(tests.finished_at) });
}

function rows(findings) {
  if (findings.length === 0) return el("p", { class: "quiet", text: t("technician.tests.never") });
  const heads = [{ text: t("technician.tests.check") }, { text: t("technician.findings.value"), figure: true }, { text: t("technician.findings.limit"), figure: true }, { text: t("technician.findings.verdict") }, { text: t("technician.trend") }];
  const sorted = [...findings].sort((one, other) => ORDER[one.verdict] - ORDER[other.verdict]);
  return table(
    heads,
    sorted.flatMap((each) => {
      const said = advice(each);
      const row = el("tr", { class: said.length ? "explained" : null, "data-check": each.id, "data-verdict": each.verdict },
        el("th", { scope: "row" }, el("span", { text: checkName(each.id) }), el("code", { dir: "ltr", text: each.id })),
        figure(measured(each.value, each.unit)),
        figure(limits(each.low, each.high)),
        el("td", {}, verdict(each.verdict)),
        el("td", {}, trend(each)));
      return said.length ? [row, el("tr", { class: "explanation" }, el("td", { colspan: 5 }, ...said))] : [row];
    }),
    t("technician.tests.findings"),
  );
}

function trend(finding) {
  const course = trends?.checks[finding.id];
  if (!course || course.points.length < 2) return el("span", { class: "quiet", text: t("technician.trend.none") });
  const crossing = course.crosses_in_days === null ? null : el("small", { "data-tone": "care", text: t("technician.trend.crosses", { count: Math.round(course.crosses_in_days) }) });
  return el("div", {}, spark(course.plot, `${checkName(finding.id)}: ${t("technician.trend")}`, course.unit), crossing);
}

function trendTables() {
  const courses = Object.entries(trends?.checks ?? {}).filter(([, course]) => course.points.length > 0);
  if (courses.length === 0) return el("p", { class: "quiet", text: t("technician.trend.none") });
  return table(
    [{ text: t("technician.tests.check") }, { text: t("technician.trend.day") }, { text: t("technician.findings.value"), figure: true }],
    courses.flatMap(([id, course]) =>
      course.points.slice(-14).map((point) => el("tr", {}, el("th", { scope: "row", text: checkName(id) }), el("td", { text: day(point.at) }), figure(measured(point.value, course.unit)))),
    ),
    t("technician.trend.table"),
  );
}
