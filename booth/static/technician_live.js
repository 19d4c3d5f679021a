// What the camera sees and the rules measure now: picture, histogram, light, and every value over the last minutes.

import { el, icon, setText } from "./dom.js";
import "./preview.js";
import { lamp } from "./technician_devices.js";
import { histogram, line } from "./technician_plots.js";
import { ask as get, duration, figure, limits, measured, named, number, renew, state, t, table, verdict } from "./technician_words.js";

const FIRST = "light"; // what a technician can set right
let parts = null;
let page = null;
let family = FIRST;

export function build(section, actions) {
  page = actions;
  parts = {
    picture: el("div", { id: "picture" }),
    told: el("p", { id: "live-told", role: "status" }),
    histogram: el("div", {}),
    light: el("div", { class: "form" }),
    families: el("div", { class: "choices", role: "group", "aria-label": t("technician.live.rules") }),
    plots: el("div", { id: "plots" }),
    table: el("div", {}),
    unmet: el("span", {}),
  };
  section.append(
    el("div", { class: "columns live" },
      el("div", { class: "stack narrow" },
        el("section", { class: "card panel" }, el("h2", { text: t("technician.preview") }), parts.told, parts.picture),
        el("section", { class: "card panel" }, el("h2", { text: t("technician.histogram") }), parts.histogram),
        el("section", { class: "card panel" }, el("h2", { text: t("technician.light") }), parts.light)),
      el("div", { class: "stack" },
        el("section", { class: "card panel" }, el("h2", { text: t("technician.live.rules") }), parts.families, parts.plots),
        el("details", { class: "card panel", id: "findings" }, el("summary", {}, el("span", { text: t("technician.findings") }), " ", parts.unmet), parts.table))),
  );
}

export const ask = () => get(`/api/technician/live?family=${encodeURIComponent(family)}`);

export function enter() {
  parts.picture.replaceChildren(el("booth-preview", { src: "/api/technician/preview", plain: true, role: "img", "aria-label": t("technician.preview") }));
}

/** A picture is asked for as long as it is looked at, and no longer: the lamps go back with it. */
export function leave() {
  parts.picture.replaceChildren();
}

export function show({ status, more: live }) {
  if (!live) return;
  const preview = parts.picture.firstElementChild;
  if (preview) preview.overlay = live.overlay;
  parts.picture.hidden = !live.inspecting;
  setText(parts.told, toldOf(live));
  renew(parts.histogram, live.histogram, () => (live.histogram ? histogram(live.histogram, t("technician.histogram")) : el("p", { class: "quiet", text: t("technician.live.no_picture") })));
  renew(parts.light, [live.lights_pct, live.light, live.elevation_deg], () => light(live));
  renew(parts.families, live.families, () => live.families.map(choice));
  for (const button of parts.families.children) button.setAttribute("aria-pressed", String(button.dataset.family === live.family));
  family = live.family || family;
  renew(parts.plots, [live.age_s, live.rules], () => plots(live));
  renew(parts.table, status.findings, () => findings(status.findings));
  const unmet = status.findings.filter((each) => each.verdict === "fail").length;
  renew(parts.unmet, unmet, () => (unmet ? state("bad", t("technician.findings.unmet", { count: unmet })) : null));
}

function toldOf(live) {
  if (live.inspecting) {
    if (live.instruction === null) return t("technician.live.waits");
    return t("technician.live.would_say", { text: t(live.instruction.key) });
  }
  return t(`technician.live.${live.permission}`);
}

function choice(name) {
  const press = () => {
    family = name;
    page.refresh();
  };
  return el("button", { class: "press", type: "button", "data-family": name, "aria-pressed": "false", text: named("family", name), onclick: press });
}

function plots(live) {
  if (live.rules.length === 0) return el("p", { class: "quiet", text: t("technician.findings.none") });
  return live.rules.map((rule) => {
    const name = t(`rule.${rule.rule}.name`);
    const span = t("technician.plot.ago", { duration: duration(rule.plot.span_s) });
    return el("figure", { class: "trace", "data-verdict": rule.verdict },
      el("figcaption", {}, el("strong", { text: name }), el("span", { class: "figures", dir: "ltr", text: measured(rule.value, rule.unit) }), verdict(rule.verdict)),
      line(rule.plot, name, rule.unit, span));
  });
}

function light(live) {
  const levels = Object.entries(live.lights_pct).flatMap(([name, level]) => [el("dt", { text: named("lamp", name) }), el("dd", {}, lamp(named("lamp", name), level))]);
  const parts = levels.length ? [el("dl", { class: "facts" }, ...levels)] : [el("p", { class: "quiet", text: t("technician.light.none") })];
  return [...parts, ...outcome(live.light), ...elevation(live.elevation_deg)];
}

/** How the last adjustment of the light ended. */
function outcome(last) {
  if (!last) return [];
  const said = [el("h3", { text: t("technician.light.last") }), el("p", {}, state(last.reached ? "good" : "bad", t(last.reached ? "technician.light.reached" : "technician.light.not_reached")))];
  said.push(el("p", { class: "quiet", text: t("technician.light.steps", { steps: number(last.steps), time: number(last.time_ms / 1000, 1) }) }));
  for (const rule of last.lacking) said.push(el("p", {}, verdict("fail"), el("span", { text: ` ${t(`rule.${rule}.name`)}` })));
  if (last.kind !== null) {
    const name = last.kind === "lamp" ? named("lamp", last.name) : named("light.place", last.name);
    said.push(el("p", { class: "remedy" }, icon("forward", { turns: true }), el("span", { text: t(`technician.light.problem.${last.kind}`, { name }) })));
  }
  return said;
}

function elevation(degrees) {
  if (degrees === null || degrees === undefined) return [];
  return [el("dl", { class: "facts" }, el("dt", { text: t("technician.elevation") }), el("dd", { dir: "ltr", text: `${number(degrees, 1)}°` }))];
}

function findings(list) {
  if (list.length === 0) return el("p", { class: "quiet", text: t("technician.findings.none") });
  const heads = ["rule", "value", "limit", "verdict"].map((key) => ({ text: t(`technician.findings.${key}`), figure: key === "value" || key === "limit" }));
  // What is not met first: some fifty rules are judged.
  const rows = [...list].sort((one, other) => (one.verdict === "pass") - (other.verdict === "pass")).map((each) =>
    el("tr", {},
      el("th", { scope: "row" }, el("span", { text: t(`rule.${each.rule}.name`) }), el("code", { dir: "ltr", text: each.rule })),
      figure(measured(each.value, each.unit)),
      figure(limits(each.low, each.high)),
      el("td", {}, verdict(each.verdict))),
  );
  return table(heads, rows, t("technician.findings"));
}
