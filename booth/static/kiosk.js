// The kiosk page: shows the state that the controller sends, and passes on what the applicant touches. It decides nothing.
//
// - A screen is swapped when its state, visit or language changes; otherwise it is updated in place.
// - A touch right after a swap was meant for the screen before: it is dropped. So is the second tap of a double tap.
// - While the controller is away, the screen stays, is out of reach, and says so.
// - Every visit gets a document of its own: when one was cleared, the page loads itself anew.

import { el, icon, setText } from "./dom.js";
import "./keypad.js";
import { Link, renewPage } from "./link.js";
import "./preview.js";
import { buildScreen, languageTiles, progressOf, screenOf } from "./screens.js";
import { loadTexts } from "./texts.js";

const SETTLE_MS = 450; // a double tap is over after this; nobody reads a new screen faster
const RETRY_MS = 500;

const byId = (id) => document.getElementById(id);
const parts = {
  head: byId("head"),
  steps: byId("steps"),
  changeLanguage: byId("change-language"),
  notice: byId("notice"),
  screen: byId("screen"),
  actions: byId("actions"),
  waysOut: byId("ways-out"),
  lost: byId("lost"),
  warning: byId("warning"),
  languages: byId("languages"),
};

let texts = null;
let wanted = null; // newest state of the controller
let shown = null; // state on the screen
let screen = null;
let shownKey = "";
let swappedAt = 0;
let declinedVisit = null; // the visit that said no, so that the way out is told kindly
let deadline = 0; // of the warning, on this page's clock
let ticking = 0;

const link = new Link({ onState, onConnection });

// --- states ----------------------------------------------------------------------------------------------------------

async function onState(state) {
  wanted = state;
  if (texts?.language !== state.language) {
    try {
      texts = await loadTexts(state.language);
    } catch {
      setTimeout(() => wanted === state && onState(state), RETRY_MS);
      return;
    }
    if (wanted !== state) return onState(wanted);
  }
  show(state);
}

function show(state) {
  const before = shown;
  shown = state;
  const key = [screenOf(state), state.visit, state.language, state.portrait, state.tries_left].join(" ");
  if (key !== shownKey) {
    shownKey = key;
    swap(state, before);
  }
  screen.update(state);
  document.body.dataset.state = state.state;
  showFrame(state);
  showWarning(state);
  if (state.visit === null && before !== null && before.state === "clearing" && state.state !== "clearing") renewPage();
}

function swap(state, before) {
  const { language, direction } = texts;
  Object.assign(document.documentElement, { lang: language, dir: direction });
  document.title = texts.t("page.title");
  const t = (key, values) => texts.t(key, values);
  if (state.visit !== null && state.visit !== declinedVisit) declinedVisit = null;
  const kit = { t, languages: texts.languages, post, declined: declinedVisit !== null };
  screen = buildScreen(state, kit);
  parts.screen.replaceChildren(screen.main);
  parts.actions.replaceChildren(...screen.actions);
  if (parts.languages.open) parts.languages.close();
  if (before === null || screenOf(before) !== screenOf(state)) swappedAt = performance.now();
  parts.screen.querySelector("h1")?.focus({ preventScroll: true });
}

function showFrame(state) {
  const progress = progressOf(state);
  parts.steps.hidden = progress === null;
  if (progress) showSteps(progress);
  const speaks = state.commands.includes("language") && state.state !== "language";
  parts.changeLanguage.classList.toggle("absent", !speaks); // keeps its place, so that the steps never jump
  parts.changeLanguage.setAttribute("aria-label", texts.t("action.language"));
  const name = texts.languages.find((each) => each.language === texts.language).name;
  if (parts.changeLanguage.textContent !== name) parts.changeLanguage.replaceChildren(icon("globe"), el("span", { text: name }));
  const ways = [];
  if (state.commands.includes("cancel") && !screen.ownsCancel) ways.push(["action.stop", "cross", "cancel"]);
  if (state.commands.includes("help")) ways.push(["action.help", "help", "help"]);
  const signature = ways.join() + texts.language;
  if (parts.waysOut.dataset.shows !== signature) {
    parts.waysOut.dataset.shows = signature;
    parts.waysOut.replaceChildren(
      ...ways.map(([key, picture, command]) =>
        el("button", { class: "button button-quiet", type: "button", onclick: () => post(command) }, icon(picture), el("span", { text: texts.t(key) })),
      ),
    );
  }
  const told = state.fault !== null && !(screen.tellsFault?.(state) ?? false);
  parts.notice.hidden = !told;
  if (told) setText(parts.notice, texts.t(state.fault.message));
}

function showSteps({ index, names }) {
  const name = texts.t(`step.${names[index]}`);
  parts.steps.setAttribute("aria-label", texts.t("step.label", { step: index + 1, steps: names.length, name }));
  const signature = `${index} ${texts.language}`;
  if (parts.steps.dataset.shows === signature) return;
  parts.steps.dataset.shows = signature;
  parts.steps.replaceChildren(
    ...names.map((each, at) =>
      el(
        "li",
        { "data-is": at < index ? "done" : at === index ? "now" : "next", "aria-current": at === index ? "step" : null },
        el("span", { class: "dot" }, at < index ? icon("check") : el("b", { text: String(at + 1) })),
        el("span", { class: "step-name", text: texts.t(`step.${each}`) }),
      ),
    ),
  );
}

// --- the time-out warning --------------------------------------------------------------------------------------------

function showWarning(state) {
  if (state.timeout_s === null) {
    endWarning();
    return;
  }
  const until = performance.now() + state.timeout_s * 1000;
  // The controller counts whole seconds: a difference below that is no news and must not make the clock jump.
  if (!parts.warning.open || Math.abs(until - deadline) > 1200) deadline = until;
  if (parts.warning.open) return;
  const count = el("strong", { class: "seconds", role: "timer", "aria-live": "off" });
  const bar = el("div", { class: "clock" }, icon("clock"), count);
  const thanks = state.state === "thanks";
  parts.warning.replaceChildren(
    el("h2", { id: "warning-title", text: texts.t("timeout.title") }),
    el("p", { id: "warning-text", text: texts.t(thanks ? "timeout.thanks" : "timeout.text") }),
    bar,
    el(
      "div",
      { class: "choices" },
      el(
        "button",
        { class: "button button-primary", type: "button", autofocus: true, onclick: () => post("more_time") },
        el("span", { text: texts.t("action.more_time") }),
      ),
      el(
        "button",
        { class: "button", type: "button", onclick: () => post("cancel") },
        el("span", { text: texts.t(thanks ? "action.done" : "action.end_visit") }),
      ),
    ),
  );
  if (parts.languages.open) parts.languages.close();
  parts.warning.showModal();
  swappedAt = performance.now();
  const tick = () => {
    const left = Math.max(0, Math.ceil((deadline - performance.now()) / 1000));
    setText(count, texts.t("timeout.seconds", { count: left }));
  };
  tick();
  ticking = setInterval(tick, 250);
}

function endWarning() {
  clearInterval(ticking);
  if (parts.warning.open) parts.warning.close();
}

// --- touches ---------------------------------------------------------------------------------------------------------

async function post(command, body) {
  if (shown === null || performance.now() - swappedAt < SETTLE_MS) return null;
  if (command === "consent" && !body.answer) declinedVisit = shown.visit;
  return link.post(command, body, shown);
}

parts.changeLanguage.addEventListener("click", () => {
  if (shown === null || parts.warning.open) return;
  const { languages, language } = texts;
  const choose = (chosen) => {
    parts.languages.close();
    if (chosen !== language) post("language", { language: chosen });
  };
  parts.languages.replaceChildren(
    el("h2", { id: "languages-title", text: texts.t("state.language.title") }),
    languageTiles(languages, language, choose),
  );
  parts.languages.showModal();
});

parts.warning.addEventListener("cancel", (event) => {
  event.preventDefault(); // Escape means: I am here
  post("more_time");
});

// Attract: the whole screen is the button.
parts.screen.addEventListener("click", () => screen?.wholeScreen?.());

// Letters typed anywhere (a keyboard, a hand scanner) belong to the number.
document.addEventListener("keydown", (event) => {
  if (event.repeat && (event.key === "Enter" || event.key === " ")) event.preventDefault();
  const plain = !event.ctrlKey && !event.altKey && !event.metaKey && /^[a-zA-Z0-9-]$/.test(event.key);
  if (plain && screen?.typed && document.activeElement?.tagName !== "INPUT" && !document.querySelector("dialog[open]")) {
    event.preventDefault();
    screen.typed(event.key);
  }
});

// No menu, no selection, no dragging, no zoom, no scrolling.
for (const name of ["contextmenu", "selectstart", "dragstart", "gesturestart"]) {
  document.addEventListener(name, (event) => event.preventDefault());
}
for (const name of ["wheel", "touchmove"]) {
  document.addEventListener(name, (event) => event.preventDefault(), { passive: false });
}
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && ["+", "-", "=", "0"].includes(event.key)) event.preventDefault();
});

// --- the line to the controller --------------------------------------------------------------------------------------

function onConnection(connected) {
  for (const part of [parts.head, parts.screen, parts.actions, parts.waysOut]) part.inert = !connected;
  parts.lost.hidden = connected;
  if (connected) return;
  endWarning();
  if (parts.languages.open) parts.languages.close();
  setText(parts.lost, texts?.t("connection.lost") ?? "");
}

link.open();
