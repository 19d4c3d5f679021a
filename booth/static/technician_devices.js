// Every device with its state, when it last worked, its port and what it says of itself.

import { el, icon } from "./dom.js";
import { SIGNS, TONES, address, duration, facts, named, number, renew, state, t, when } from "./technician_words.js";

const DEVICES = { camera: "camera", controls: "controls", lights: "lamp", lift: "low-reach" };
let place = null;

export function build(section) {
  place = el("div", { class: "cards" });
  section.append(el("h2", { class: "hidden-text", text: t("technician.devices") }), place);
}

export function show({ status }) {
  // Seconds alone make nothing new: a minute's accuracy is enough for what is steady.
  const shown = status.devices.map((each) => ({ ...each, for_s: each.for_s < 90 ? Math.round(each.for_s) : Math.round(each.for_s / 60), last_good_at: null }));
  renew(place, [shown, status.lights_pct], () => status.devices.map((each) => device(each, status.lights_pct)));
}

export function card(picture, title, status, pairs, note) {
  return el(
    "article",
    { class: "card device" },
    el("header", {}, icon(picture), el("h3", { text: title })),
    status,
    note ? el("p", { class: "note", dir: "auto", text: note }) : null,
    facts(pairs),
  );
}

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
    [
      [t("technician.last_good"), view.state === "ready" ? t("technician.plot.now") : when(view.last_good_at)],
      [t("technician.port"), address(view.url)],
      ...info,
      ...lamps,
    ],
    view.detail,
  );
}

export function lamp(name, level) {
  return el(
    "span",
    { class: "level" },
    el("meter", { min: 0, max: 100, value: level, "aria-label": name }),
    el("span", { dir: "ltr", text: `${number(level, 0)} %` }),
  );
}
