// What this booth tells of itself, as it was sent, and what it was asked from afar; a profile that an order chose can be taken back.

import { el, icon } from "./dom.js";
import { ask as fetched, date, named, renew, state, t, table, tell } from "./technician_words.js";

const TONES = { done: "good", refused: "care", failed: "bad" };
let parts = null;
let page = null;

export const ask = () => fetched("/api/technician/fleet");

export function build(section, actions) {
  page = actions;
  parts = { told: el("div", {}), orders: el("div", {}), profile: el("div", {}) };
  section.append(
    el("section", { class: "card panel" }, el("h2", { text: t("technician.fleet.orders") }), el("p", { class: "quiet", text: t("technician.fleet.orders.text") }), parts.profile, parts.orders),
    el("section", { class: "card panel" }, el("h2", { text: t("technician.fleet.told") }), el("p", { class: "quiet", text: t("technician.fleet.told.text") }), parts.told),
  );
}

export function show({ more }) {
  if (more === null || more === undefined) return;
  renew(parts.told, [more.heartbeat.enabled, more.heartbeat.sent_at, more.heartbeat.error], () => told(more.heartbeat));
  renew(parts.orders, [more.orders_enabled, more.orders], () => orders(more));
  renew(parts.profile, more.profile, () => (more.profile === null ? null : profile(more.profile)));
}

function told(beat) {
  if (!beat.enabled) return el("p", {}, state("care", t("technician.fleet.off"), "closed"));
  const said = [el("p", {}, beat.error === null ? state(beat.sent_at === null ? "care" : "good", beat.sent_at === null ? t("technician.fleet.soon") : t("technician.fleet.sent", { time: date(beat.sent_at) })) : state("care", t("technician.fleet.failed")))];
  if (beat.error !== null) said.push(el("p", { class: "note", dir: "auto", text: beat.error }));
  if (beat.body !== null) said.push(el("pre", { class: "sent", dir: "ltr", tabindex: 0, "aria-label": t("technician.fleet.told"), text: JSON.stringify(JSON.parse(beat.body), null, 2) }));
  return said;
}

function orders(more) {
  if (!more.orders_enabled) return el("p", {}, state("care", t("technician.fleet.orders.off"), "closed"));
  if (more.orders.length === 0) return el("p", { class: "quiet", text: t("technician.fleet.orders.none") });
  const heads = [t("technician.fleet.when"), t("technician.fleet.what"), t("technician.fleet.who"), t("technician.fleet.outcome")].map((text) => ({ text }));
  return table(heads, more.orders.map(order), t("technician.fleet.orders"));
}

function order(line) {
  const about = Object.entries(line.arguments).map(([name, value]) => (name === "reason" ? t(`switch.${value}`) : value));
  const outcome = line.outcome === null ? state("care", t("technician.fleet.under_way"), "retake") : state(TONES[line.outcome], t(`technician.outcome.${line.outcome}`));
  return el("tr", {},
    el("td", { text: date(line.taken_at) }),
    el("td", {}, t(`technician.order.${line.kind}`), about.length ? ` · ${about.join(" ")}` : ""),
    el("td", {}, el("code", { dir: "ltr", text: line.by }), " ", el("span", { class: "quiet", dir: "auto", text: line.office })),
    el("td", {}, outcome, line.code === null ? null : el("span", { class: "quiet" }, " ", named("order_code", line.code))),
  );
}

function profile(chosen) {
  const back = el("button", { id: "profile-back", class: "press", type: "button" }, icon("retake"), el("span", { text: t("technician.fleet.profile.back") }));
  back.addEventListener("click", async () => {
    back.disabled = true;
    await tell("/api/technician/fleet/profile");
    back.disabled = false;
    page.refresh();
  });
  return el("div", { class: "line" }, state("care", t("technician.fleet.profile", { name: chosen.profile, before: chosen.instead_of, who: chosen.by })), back);
}
