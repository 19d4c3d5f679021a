// What every part of the technician's page says and shows alike: states, figures, times, names, and the way to the controller.

import { el, icon } from "./dom.js";
import { loadTexts } from "./texts.js";

export const GIVE_UP_MS = 3000;
export const SIGNS = { ready: "check", connecting: "retake", missing: "unplugged", lost: "unplugged", pass: "check", warn: "warn", fail: "cross", not_assessed: "question", good: "check", care: "warn", bad: "cross" };
export const TONES = { ready: "good", connecting: "care", missing: "bad", lost: "bad", pass: "good", warn: "care", fail: "bad", not_assessed: "care", info: "good", warning: "care", error: "bad" };

export const texts = await loadTexts(document.documentElement.lang);
export const t = (key, values) => texts.t(key, values);
export const byId = (id) => document.getElementById(id);

const clock = new Intl.DateTimeFormat(texts.language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const dated = new Intl.DateTimeFormat(texts.language, { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const days = new Intl.DateTimeFormat(texts.language, { year: "numeric", month: "short", day: "numeric" });

/** Arabic marks the direction of a minus; figures stand in elements that run from left to right anyway. */
const plain = (figures) => figures.replace(/[\u061c\u200e\u200f]/g, "");

export const number = (value, digits = 2) => new Intl.NumberFormat(texts.language, { maximumFractionDigits: digits, signDisplay: "negative" }).format(value);
export const measured = (value, unit = "") => (value === null || value === undefined ? "–" : plain(`${number(value, Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 3)} ${unit}`.trim()));
export const moment = (at) => (at === null ? t("technician.never") : clock.format(new Date(at)));
export const date = (at) => (at === null ? t("technician.never") : dated.format(new Date(at)));
export const day = (at) => days.format(new Date(at));

/** Today by the clock, else with its day. */
export const when = (at) => (at !== null && new Date(at).toDateString() === new Date().toDateString() ? moment(at) : date(at));

export function limits(low, high) {
  if (low === null && high === null) return "–";
  if (low === null) return `≤ ${number(high, 3)}`;
  if (high === null) return `≥ ${number(low, 3)}`;
  return plain(low === high ? number(low, 3) : `${number(low, 3)} … ${number(high, 3)}`);
}

export function duration(seconds) {
  const [value, unit] =
    seconds < 90 ? [seconds, "second"] : seconds < 5400 ? [seconds / 60, "minute"] : seconds < 129600 ? [seconds / 3600, "hour"] : [seconds / 86400, "day"];
  return new Intl.NumberFormat(texts.language, { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 }).format(value);
}

/** Of two clocks: in minutes from one minute on, with its sign. */
export function difference(seconds) {
  const minutes = Math.abs(seconds) >= 60;
  return new Intl.NumberFormat(texts.language, { style: "unit", unit: minutes ? "minute" : "second", unitDisplay: "long", maximumFractionDigits: minutes ? 0 : 1, signDisplay: "exceptZero" }).format(minutes ? seconds / 60 : seconds);
}

export function bytes(count) {
  const [value, unit] = count < 1e6 ? [count / 1e3, "kilobyte"] : count < 1e9 ? [count / 1e6, "megabyte"] : [count / 1e9, "gigabyte"];
  return new Intl.NumberFormat(texts.language, { style: "unit", unit, maximumFractionDigits: 1 }).format(value);
}

export function state(tone, word, sign = SIGNS[tone]) {
  return el("span", { class: "state", "data-tone": tone }, icon(sign), el("span", { text: word }));
}

export const verdict = (value) => state(TONES[value], t(`verdict.${value}`), SIGNS[value]);

export function facts(pairs) {
  return el("dl", { class: "facts" }, ...pairs.filter(Boolean).flatMap(([term, value]) => [el("dt", { text: term }), el("dd", {}, value)]));
}

export const address = (url) => el("code", { dir: "ltr", text: url });
export const figure = (text) => el("td", { class: "figure", dir: "ltr", text });

/** What programs and devices name; a name of their own stays. */
export function named(family, name) {
  const key = `technician.${family}.${name}`;
  return texts.has(key) ? t(key) : name.replaceAll("_", " ");
}

/** The name of a self-test; each lamp has one of its own. */
export function checkName(id) {
  if (texts.has(`check.${id}`)) return t(`check.${id}`);
  const [area, ...rest] = id.split(".");
  return area === "lamp" ? named("lamp", rest.join(".")) : id;
}

export function table(heads, rows, caption) {
  return el(
    "table",
    {},
    caption ? el("caption", { class: "hidden-text", text: caption }) : null,
    el("thead", {}, el("tr", {}, ...heads.map(({ text, figure: right }) => el("th", { scope: "col", class: right ? "figure" : null, text })))),
    el("tbody", {}, ...rows),
  );
}

const shownBy = new WeakMap();

/** Makes the children anew only when what they show has changed, so that what is open, chosen or read aloud stays. */
export function renew(element, shown, make) {
  const key = JSON.stringify(shown);
  if (shownBy.get(element) === key) return;
  shownBy.set(element, key);
  element.replaceChildren(...[make()].flat().filter(Boolean));
}

/** Asks the controller; a session that is over brings the login. */
export async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(GIVE_UP_MS) });
  if (answer.status === 401) location.reload();
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

/** Tells the controller to do something. Resolves to the answer; what was refused says why in the page's alert. */
export async function tell(path, body = {}, patience_ms = GIVE_UP_MS) {
  const alert = byId("refusal");
  alert.hidden = true;
  try {
    const answer = await fetch(path, {
      method: "POST",
      cache: "no-store",
      headers: { "Content-Type": "application/json", "X-Kiosk-Token": document.querySelector('meta[name="kiosk-token"]').content },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(patience_ms),
    });
    if (answer.status === 401 || answer.status === 403) location.reload(); // the session or the controller is another one
    if (answer.ok) return answer;
    const { error } = await answer.json();
    const key = `technician.refused.${error.code.replaceAll(".", "_")}`;
    alert.textContent = texts.has(key) ? t(key) : `${t("technician.refused")} ${error.message}`;
  } catch {
    alert.textContent = t("technician.login.failed");
  }
  alert.hidden = false;
  return null;
}
