// What happened, what waits for the intake, the certificate, and the bundle for support.

import { el, icon } from "./dom.js";
import { card } from "./technician_devices.js";
import { TONES, address, bytes, date, difference, duration, number, renew, state, t, tell, when } from "./technician_words.js";

const CERTIFICATE_SOON_DAYS = 30; // as early as a new one can be ordered and installed
const BUNDLE_MS = 60_000;
const LEVELS = ["info", "warning", "error"];
let cards = null;
let list = null;
let from = "info";
let shown = null;

export function build(section) {
  cards = el("div", { class: "cards" });
  list = el("div", {});
  const filter = el(
    "select",
    { id: "log-level", onchange: (event) => ((from = event.target.value), shown && show(shown)) },
    ...LEVELS.map((level) => el("option", { value: level, text: t(`technician.level_from.${level}`) })),
  );
  const load = el("button", { id: "bundle", class: "press press-main", type: "button", onclick: () => bundle(load) }, icon("send"), el("span", { text: t("technician.bundle.load") }));
  section.append(
    el("h2", { class: "hidden-text", text: t("technician.tab.log") }),
    cards,
    el(
      "div",
      { class: "columns" },
      el("section", { class: "card panel" }, el("header", { class: "line" }, el("h2", { text: t("technician.events") }), el("label", { for: "log-level", class: "hidden-text", text: t("technician.level_from") }), filter), list),
      el("section", { class: "card panel narrow" }, el("h2", { text: t("technician.bundle") }), el("p", { text: t("technician.bundle.text") }), load),
    ),
  );
}

export function show(told) {
  shown = told;
  const { status } = told;
  const steady = { ...status.outbox, oldest_age_s: Math.round((status.outbox.oldest_age_s ?? 0) / 10), free_bytes: Math.round(status.outbox.free_bytes / 1e6) };
  renew(cards, [steady, status.intake, Math.floor(status.certificate_days ?? -1), status.fault?.code], () => [
    outbox(status.outbox),
    intake(status.intake),
    certificates(status),
  ]);
  const kept = status.events.filter((each) => LEVELS.indexOf(each.level) >= LEVELS.indexOf(from));
  renew(list, kept, () => events(kept));
}

export function events(kept) {
  if (kept.length === 0) return el("p", { class: "quiet", text: t("technician.events.none") });
  return el(
    "ul",
    { class: "events" },
    ...kept.map((each) =>
      el("li", {}, el("time", { datetime: each.at, text: when(each.at) }), state(TONES[each.level], t(`technician.level.${each.level}`)), el("span", { dir: "auto", text: each.text })),
    ),
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

function intake(view) {
  const [tone, word] = view.refusal ? ["bad", view.refusal] : view.last_error ? ["bad", "trouble"] : view.last_receipt_at ? ["good", "reachable"] : ["care", "untried"];
  return card(
    "cloud",
    t("technician.intake"),
    state(tone, t(`technician.intake.${word}`)),
    [
      [t("technician.address"), address(view.url)],
      [t("technician.intake.last_receipt"), date(view.last_receipt_at)],
      view.next_try_s !== null && [t("technician.intake.next_try"), duration(view.next_try_s)],
      view.clock_skew_s !== null && [t("technician.intake.clock_skew"), difference(view.clock_skew_s)],
    ],
    view.last_error,
  );
}

function certificates(status) {
  const revoked = status.fault?.code === "booth.revoked";
  return card("certificate", t("technician.certificate"), certificate(status.certificate_days, revoked), [
    [t("technician.booth"), status.booth],
    [t("technician.software"), status.software_version],
    [t("technician.profile"), `${status.profile} ${status.profile_version}`],
  ]);
}

export function certificate(left, revoked) {
  if (revoked) return state("bad", t("technician.certificate.revoked"));
  if (left === null) return state("care", t("technician.unknown"));
  const days = Math.floor(left);
  if (days < 0) return state("bad", t("technician.certificate.expired"));
  return state(days <= CERTIFICATE_SOON_DAYS ? "care" : "good", t("technician.certificate.days", { count: days }));
}

async function bundle(button) {
  button.disabled = true;
  const answer = await tell("/api/technician/bundle", {}, BUNDLE_MS);
  if (answer !== null) {
    const href = URL.createObjectURL(await answer.blob());
    const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "")?.[1] ?? "support.zip";
    el("a", { href, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10_000);
  }
  button.disabled = false;
}
