// Calibration: what is in force and until when, the way through a new one step by step, and how far the booth has drifted from its baseline.

import { el, icon } from "./dom.js";
import { cardPicture } from "./technician_tests.js";
import { date, day, facts, figure, limits, measured, named, number, renew, state, t, table, tell, texts } from "./technician_words.js";

const STEP_SIGNS = { waiting: "hold", running: "retake", done: "check", failed: "cross", ahead: "closed" };
const STEP_TONES = { waiting: "care", running: "care", done: "good", failed: "bad" };
let parts = null;
let page = null;

export function build(section, actions) {
  page = actions;
  const start = button("calibrate", "measure", "technician.calibration.start", "/api/technician/calibration", true);
  const proceed = button("calibration-proceed", "forward", "technician.calibration.proceed", "/api/technician/work/proceed", true);
  const cancel = button("calibration-cancel", "cross", "technician.cancel", "/api/technician/work/cancel");
  parts = {
    start, proceed, cancel,
    current: el("div", {}),
    steps: el("div", { id: "steps" }),
    told: el("p", { role: "status" }),
    progress: el("progress", { "aria-label": t("technician.calibration.progress"), max: 1 }),
    card: cardPicture(),
    drift: el("div", {}),
  };
  section.append(
    el("div", { class: "columns" },
      el("section", { class: "card panel", id: "wizard" }, el("h2", { text: t("technician.calibration.new") }), el("p", { class: "quiet", text: t("technician.calibration.text") }),
        el("div", { class: "line" }, start, proceed, cancel,
          el("a", { class: "press", href: "/api/technician/test-card", download: "passbooth-test-card.svg" }, icon("measure"), el("span", { text: t("technician.card.print") }))),
        parts.told, parts.progress, parts.card, parts.steps),
      el("section", { class: "card panel narrow" }, el("h2", { text: t("technician.calibration.current") }), parts.current)),
    el("section", { class: "card panel", id: "drift" }, el("h2", { text: t("technician.drift") }), parts.drift),
  );
}

function button(id, picture, key, path, main = false) {
  const made = el("button", { id, class: main ? "press press-main" : "press", type: "button" }, icon(picture), el("span", { text: t(key) }));
  made.addEventListener("click", async () => {
    made.disabled = true;
    await tell(path);
    made.disabled = false;
    page.refresh();
  });
  return made;
}

export function show({ work }) {
  const { busy, calibration } = work.state;
  const running = busy === "calibration";
  const step = calibration?.step ?? null;
  const waiting = running && step?.state === "waiting";
  parts.start.hidden = busy !== null;
  parts.proceed.hidden = !waiting;
  parts.cancel.hidden = !running;
  parts.progress.hidden = !running || waiting;
  if (step) parts.progress.value = step.progress;
  parts.card.hidden = !(waiting && step.key.includes("card"));
  const said = toldOf(busy, step);
  if (parts.told.textContent !== said) parts.told.textContent = said;
  renew(parts.steps, [calibration?.steps, step?.key, step?.state, step?.values], () => (step === null ? null : steps(calibration.steps, step)));
  renew(parts.current, calibration?.current ?? null, () => current(calibration?.current ?? null));
  renew(parts.drift, calibration?.drift ?? [], () => drift(calibration?.drift ?? []));
}

function toldOf(busy, step) {
  if (busy === "tests") return t("technician.calibration.testing");
  if (step === null) return "";
  return t(`calibration.step.${step.key}.${step.state === "waiting" ? "ask" : "name"}`);
}

function steps(keys, step) {
  const at = keys.indexOf(step.key);
  return el("ol", { class: "steps" }, ...keys.map((key, place) => {
    const how = place < at ? "done" : place === at ? step.state : "ahead";
    const values = place === at ? Object.entries(step.values ?? {}).map(([name, value]) => [named("value", name), measured(value)]) : [];
    return el("li", { "data-tone": STEP_TONES[how] ?? null, "aria-current": place === at ? "step" : null }, icon(STEP_SIGNS[how]), el("span", { text: t(`calibration.step.${key}.name`) }), values.length ? facts(values) : null);
  }));
}

function current(one) {
  if (one === null) return el("p", { class: "quiet", text: t("technician.calibration.none") });
  return [
    el("p", {}, state(one.expired ? "bad" : "good", t(one.expired ? "technician.calibration.expired" : "technician.calibration.valid"))),
    facts([
      [t("technician.calibration.made_at"), date(one.made_at)],
      [t("technician.calibration.expires"), day(one.expires_at)],
      [t("technician.calibration.id"), el("code", { dir: "ltr", text: one.id })],
    ]),
  ];
}

/** A measure's words; a lamp's begin with its own name. */
function measure(key) {
  if (texts.has(`drift.${key}`)) return t(`drift.${key}`);
  const [, lamp, colour] = key.split(".");
  return colour ? t(`drift.lamp.${colour}`, { lamp: named("lamp", lamp) }) : named("lamp", lamp);
}

function drift(rows) {
  if (rows.length === 0) return el("p", { class: "quiet", text: t("technician.drift.none") });
  const heads = [["technician.drift.measure"], ["technician.drift.baseline", true], ["technician.drift.now", true], ["technician.drift.change", true], ["technician.findings.limit", true], ["technician.findings.verdict"]];
  return table(
    heads.map(([key, right]) => ({ text: t(key), figure: right })),
    [...rows].sort((one, other) => Number(other.beyond) - Number(one.beyond)).map((row) =>
      el("tr", {},
        el("th", { scope: "row", text: measure(row.key) }),
        figure(measured(row.baseline, row.unit)),
        figure(measured(row.value, row.unit)),
        figure(number(row.change, 2)),
        figure(limits(row.low, row.high)),
        el("td", {}, state(row.beyond ? "bad" : "good", t(row.beyond ? "technician.drift.beyond" : "technician.drift.within"))))),
    t("technician.drift"),
  );
}
