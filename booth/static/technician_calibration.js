// Calibration: what is in force and until when, the way through a new one step by step, and how far the booth has drifted from its baseline.

import { el, icon } from "./dom.js";
import { cardPicture } from "./technician_tests.js";
import { date, day, facts, figure, limits, measured, named, number, renew, state, t, table, tell, texts } from "./technician_words.js";

const SIGNS = { pending: "closed", waiting: "hold", running: "retake", done: "check", failed: "cross" };
const TONES = { waiting: "care", running: "care", done: "good", failed: "bad" };
let parts = null;
let page = null;

export function build(section, actions) {
  page = actions;
  const baseline = el("input", { id: "baseline", type: "checkbox" });
  const start = button("calibrate", "measure", "technician.calibration.start", "/api/technician/calibration", true, () => ({ baseline: baseline.checked }));
  const proceed = button("calibration-proceed", "forward", "technician.calibration.proceed", "/api/technician/maintenance/proceed", true);
  const cancel = button("calibration-cancel", "cross", "technician.cancel", "/api/technician/maintenance/cancel");
  parts = {
    start, proceed, cancel, baseline,
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
        el("div", { class: "line" }, start, el("label", { class: "choice" }, baseline, el("span", { text: t("technician.calibration.baseline") })), proceed, cancel,
          el("a", { class: "press", href: "/api/technician/test-card", download: "passbooth-test-card.svg" }, icon("measure"), el("span", { text: t("technician.card.print") }))),
        parts.told, parts.progress, parts.card, parts.steps),
      el("section", { class: "card panel narrow" }, el("h2", { text: t("technician.calibration.current") }), parts.current)),
    el("section", { class: "card panel", id: "drift" }, el("h2", { text: t("technician.drift") }), parts.drift),
  );
}

function button(id, picture, key, path, main = false, body = () => ({})) {
  const made = el("button", { id, class: main ? "press press-main" : "press", type: "button" }, icon(picture), el("span", { text: t(key) }));
  made.addEventListener("click", async () => {
    made.disabled = true;
    await tell(path, body());
    made.disabled = false;
    page.refresh();
  });
  return made;
}

export function show({ work }) {
  const { busy, calibration } = work.state;
  const running = busy === "calibration";
  const all = calibration?.steps ?? [];
  const step = all.find((each) => each.state === "waiting" || each.state === "running") ?? null;
  const waiting = running && step?.state === "waiting";
  parts.start.hidden = parts.baseline.parentElement.hidden = busy !== null;
  parts.proceed.hidden = !waiting;
  parts.cancel.hidden = !running;
  parts.progress.hidden = !running || waiting;
  if (step) parts.progress.value = step.progress;
  parts.card.hidden = !(waiting && step.key === "card");
  const said = toldOf(busy, all, step);
  parts.told.hidden = said === "";
  if (parts.told.textContent !== said) parts.told.textContent = said;
  const shown = all.map((each) => ({ ...each, progress: 0 }));
  renew(parts.steps, shown, () => (all.some((each) => each.state !== "pending") ? steps(all) : null));
  renew(parts.current, calibration?.current ?? null, () => current(calibration?.current ?? null));
  renew(parts.drift, [calibration?.drift, calibration?.current?.id], () => drift(calibration));
}

function toldOf(busy, all, step) {
  if (busy === "tests") return t("technician.calibration.testing");
  if (busy === "calibration" && step !== null) return step.state === "waiting" ? t(`technician.ask.${step.key}`) : t("technician.calibration.step", { name: t(`technician.step.${step.key}`) });
  if (all.some((each) => each.state === "failed")) return t("technician.calibration.failed");
  return all.length && all.every((each) => each.state === "done") ? t("technician.calibration.done") : "";
}

function steps(all) {
  return el("ol", { class: "steps" }, ...all.map((step) => {
    const values = Object.entries(step.values).map(([name, value]) => [lampOr("value", name), el("span", { dir: "ltr", text: measured(value) })]);
    const now = step.state === "waiting" || step.state === "running";
    return el("li", { "data-tone": TONES[step.state] ?? null, "aria-current": now ? "step" : null },
      icon(SIGNS[step.state]), el("span", { text: t(`technician.step.${step.key}`) }),
      step.problem ? el("span", { class: "note", dir: "auto", text: step.problem }) : null,
      values.length ? el("dl", { class: "values" }, ...values.map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", {}, value)))) : null);
  }));
}

const lampOr = (family, name) => (texts.has(`technician.lamp.${name}`) ? t(`technician.lamp.${name}`) : named(family, name));

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
  const [area, lamp, colour] = key.split(".");
  return area === "lamp" ? t(`technician.drift.lamp.${colour ?? "light"}`, { lamp: named("lamp", lamp) }) : t(`technician.drift.${key}`);
}

function drift(calibration) {
  const rows = calibration?.drift ?? [];
  if (rows.length === 0) return el("p", { class: "quiet", text: t(calibration?.current ? "technician.drift.is_baseline" : "technician.drift.none") });
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
