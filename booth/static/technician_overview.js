// At a glance: is the booth in service, what is the worst thing wrong with it, why, and what to do; and the switch.

import { el, icon } from "./dom.js";
import { certificate, events } from "./technician_log.js";
import { checkName, date, day, duration, limits, measured, number, renew, state, t, tell, texts, verdict, when } from "./technician_words.js";

const GRAVITY = { fail: 3, warn: 2, not_assessed: 1, pass: 0 };
const EVENTS = 6;
const TECHNICIANS = "maintenance.out_of_service"; // the fault that stands for his own work
let parts = null;
let page = null;

export function build(section, actions) {
  page = actions;
  parts = { service: el("div", {}), worst: el("div", {}), figures: el("div", { id: "figures" }), events: el("div", {}), switch: switchForm() };
  section.append(
    el("div", { class: "columns" },
      el("section", { class: "card panel", id: "worst" }, parts.service, parts.worst),
      el("section", { class: "card panel narrow", id: "switch" }, el("h2", { text: t("technician.switch") }), parts.switch.form)),
    parts.figures,
    el("section", { class: "card panel" }, el("header", { class: "line" }, el("h2", { text: t("technician.events") }), link("log")), parts.events),
  );
}

const link = (tab, text = t("technician.more")) => el("button", { class: "press press-quiet", type: "button", onclick: () => page.choose(tab, { focus: true }) }, el("span", { text }), icon("forward", { turns: true }));

/** What is wrong in a finding, and what to do about it. */
export function advice(finding) {
  if (finding.verdict === "pass" || !finding.cause) return [];
  const about = Object.fromEntries(Object.entries(finding.about ?? {}).map(([key, value]) => [key, texts.has(`technician.lamp.${value}`) ? t(`technician.lamp.${value}`) : value]));
  const said = [el("p", { class: "cause", text: t(key("cause", finding.cause), about) })];
  if (finding.remedy) said.push(el("p", { class: "remedy" }, icon("forward", { turns: true }), el("span", { text: t(key("remedy", finding.remedy), about) })));
  return said;
}

const key = (family, name) => (name.startsWith(`${family}.`) ? name : `${family}.${name}`);

export function worstOf(findings) {
  return [...findings].sort((one, other) => GRAVITY[other.verdict] - GRAVITY[one.verdict])[0] ?? null;
}

export function show({ status, work }) {
  const { tests, switch: off } = work.state;
  renew(parts.service, [status.state, status.fault, status.fault_hint, off], () => service(status, off));
  renew(parts.worst, [tests?.findings, tests?.finished_at], () => worst(tests));
  const figures = tiles(status, work);
  renew(parts.figures, figures.map((each) => each.textContent), () => figures);
  const newest = status.events.slice(0, EVENTS);
  renew(parts.events, newest, () => events(newest));
  parts.switch.show(work);
}

function service(status, off) {
  const said = [];
  if (off) {
    const words = t("technician.switch.is_off", { reason: t(`switch.${off.reason}`), time: when(off.since) });
    said.push(el("p", { class: "headline" }, state("care", words, "closed")));
  }
  if (status.fault && status.fault.code !== TECHNICIANS) {
    said.push(
      el("p", { class: "headline" }, state("bad", t("technician.fault")), el("code", { dir: "ltr", text: status.fault.code })),
      el("p", { class: "remedy" }, icon("forward", { turns: true }), el("span", { dir: "auto", text: status.fault_hint })),
    );
  }
  if (said.length) return said;
  return el("p", { class: "headline" }, state(status.fault ? "care" : "good", t(status.fault ? "technician.at_work" : "technician.in_service")));
}

function worst(tests) {
  const title = el("h2", { text: t("technician.worst") });
  if (!tests || tests.findings.length === 0) return [title, el("p", { class: "quiet", text: t("technician.tests.never") }), link("tests", t("technician.tests.go"))];
  const finding = worstOf(tests.findings);
  if (finding.verdict === "pass") return [title, el("p", {}, state("good", t("technician.tests.all_well", { time: when(tests.finished_at ?? tests.started_at) })))];
  return [
    title,
    el("p", { class: "finding" }, verdict(finding.verdict), el("strong", { text: checkName(finding.id) }),
      el("span", { class: "figures", dir: "ltr", text: `${measured(finding.value, finding.unit)}  (${limits(finding.low, finding.high)})` })),
    ...advice(finding),
    link("tests", t("technician.tests.see_all")),
  ];
}

function tile(title, ...content) {
  return el("dl", { class: "card tile" }, el("dt", { text: title }), el("dd", {}, ...content));
}

function tiles(status, { state: { tests, calibration } }) {
  const ready = status.devices.filter((each) => each.state === "ready").length;
  const count = `${number(ready)} / ${number(status.devices.length)}`;
  const failed = tests?.findings.filter((each) => each.verdict === "fail").length ?? 0;
  const current = calibration?.current ?? null;
  const drifted = calibration?.drift.some((each) => each.beyond) ?? false;
  const revoked = status.fault?.code === "booth.revoked";
  return [
    tile(t("technician.devices"), state(ready === status.devices.length ? "good" : "bad", count, ready === status.devices.length ? "plug" : "unplugged")),
    tile(t("technician.tests"), tests === null || !tests.finished_at ? state("care", t("technician.tests.none"), "question") : state(failed ? "bad" : "good", failed ? t("technician.tests.failed", { count: failed }) : t("technician.tests.none_failed")),
      tests?.finished_at ? el("small", { text: date(tests.finished_at) }) : null),
    tile(t("technician.calibration"), current === null ? state("care", t("technician.calibration.none"), "question") : state(current.expired ? "bad" : drifted ? "care" : "good", t("technician.calibration.made", { time: day(current.made_at) })),
      drifted ? el("small", { text: t("technician.drift.drifted") }) : null),
    tile(t("technician.certificate"), certificate(status.certificate_days, revoked)),
    tile(t("technician.outbox"), state(status.outbox.accepting ? "good" : "bad", number(status.outbox.waiting), "outbox"),
      status.outbox.oldest_age_s === null ? null : el("small", { text: duration(Math.floor(status.outbox.oldest_age_s / 10) * 10) })),
    tile(t("technician.preview"), state(status.preview_fps > 0 ? "good" : "care", t("technician.fps", { value: number(Math.round(status.preview_fps)) }), "camera")),
  ];
}

function switchForm() {
  const reason = el("select", { id: "reason" });
  const said = el("p", {});
  const label = el("label", { for: "reason", text: t("technician.switch.reason") });
  const off = el("button", { class: "press press-main", type: "button", onclick: () => flip("off", { reason: reason.value }) }, icon("closed"), el("span", { text: t("technician.switch.off") }));
  const on = el("button", { class: "press press-main", type: "button", onclick: () => flip("on") }, icon("check"), el("span", { text: t("technician.switch.on") }));
  async function flip(way, body) {
    for (const button of [off, on]) button.disabled = true;
    await tell(`/api/technician/service/${way}`, body);
    for (const button of [off, on]) button.disabled = false;
    page.refresh();
  }
  return {
    form: el("div", { class: "form" }, said, label, reason, off, on),
    show({ state: { switch: switched }, reasons }) {
      renew(reason, reasons, () => reasons.map((each) => el("option", { value: each, text: t(`switch.${each}`) })));
      said.textContent = switched ? t("technician.switch.told_off") : t("technician.switch.told_on");
      const moved = document.activeElement === (switched ? off : on);
      for (const element of [label, reason, off]) element.hidden = switched !== null;
      on.hidden = switched === null;
      if (moved) (switched ? on : reason).focus();
    },
  };
}
