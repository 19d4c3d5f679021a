// The kiosk page: shows the state that the controller sends, and passes on what the applicant touches. It decides nothing.
//
// - A screen is swapped when its state, visit or language changes; otherwise it is updated in place.
// - A touch right after a swap was meant for the screen before: it is dropped. So is the second tap of a double tap.
// - While the controller is away, the screen stays, is out of reach, and says so.
// - Every visit gets a document of its own: when one was cleared, the page loads itself anew.

import { forgetChoices, openChoices } from "./access.js";
import { el, icon, setText } from "./dom.js";
import "./keypad.js";
import { Link, renewPage } from "./link.js";
import "./preview.js";
import { buildScreen, languageTiles, progressOf, screenOf } from "./screens.js";
import { loadTexts } from "./texts.js";
import { Voice } from "./voice.js";
import "./walk.js";

const SETTLE_MS = 450; // a double tap is over after this; nobody reads a new screen faster
const RETRY_MS = 500;
const STIR_MS = 5000; // how often the controller hears that somebody is busy with the screen itself
const LEFT_MS = 60_000; // an invitation that nobody touched for so long looks as to everybody

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
  access: byId("access"),
  choices: byId("choices"),
};
parts.access.append(icon("access"));

let texts = null;
let wanted = null; // newest state of the controller
let shown = null; // state on the screen
let screen = null;
let shownKey = "";
let swappedAt = 0;
let declinedVisit = null; // the visit that said no, so that the way out is told kindly
let deadline = 0; // of the warning, on this page's clock
let ticking = 0;
let stirredAt = -STIR_MS;
let stirring = Promise.resolve();
let left = 0;

const voice = new Voice(byId("voice"), stir);
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
  voice.follow(texts);
  if (before?.state === "clearing" && state.state !== "clearing") {
    forgetChoices();
    voice.forget();
    if (state.visit === null) renewPage();
  }
}

function swap(state, before) {
  const { language, direction } = texts;
  Object.assign(document.documentElement, { lang: language, dir: direction });
  document.title = texts.t("page.title");
  const t = (key, values) => texts.t(key, values);
  if (state.visit !== null && state.visit !== declinedVisit) declinedVisit = null;
  const kit = { t, languages: texts.languages, post, turn, act, stir, declined: declinedVisit !== null };
  screen = buildScreen(state, kit);
  parts.screen.replaceChildren(screen.main);
  parts.actions.replaceChildren(...screen.actions);
  screen.lay?.();
  closeDialogues();
  if (before === null || screenOf(before) !== screenOf(state)) swappedAt = performance.now();
  parts.screen.querySelector("h1")?.focus({ preventScroll: true });
}

function closeDialogues() {
  for (const dialog of [parts.languages, parts.choices]) if (dialog.open) dialog.close();
}

function showFrame(state) {
  const progress = progressOf(state);
  parts.steps.hidden = progress === null;
  if (progress) showSteps(progress);
  const speaks = state.commands.includes("language") && state.state !== "language";
  parts.changeLanguage.hidden = !speaks;
  parts.access.setAttribute("aria-label", texts.t("access.title"));
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
  const signature = `${index} ${texts.language}`;
  if (parts.steps.dataset.shows === signature) return;
  parts.steps.dataset.shows = signature;
  const name = texts.t(`step.${names[index]}`);
  parts.steps.replaceChildren(
    el("p", { class: "step-now", "aria-label": texts.t("step.label", { step: index + 1, steps: names.length, name }) }, el("b", { text: `${index + 1}` }), ` ${name}`),
    el("ol", { "aria-hidden": "true" }, ...names.map((_, at) => el("li", { "data-is": at < index ? "done" : at === index ? "now" : "next" }))),
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
  closeDialogues();
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
  const seen = shown;
  await stirring; // one command at a time: a sign of life must not swallow a wish
  return link.post(command, body, seen);
}

/** A step within a screen, such as to its next part: no more than one for a double tap either. */
function turn(step) {
  if (performance.now() - swappedAt < SETTLE_MS) return;
  swappedAt = performance.now();
  step();
  stir();
}

/** The screen's buttons are these now; one that stays keeps the focus. */
function act(...buttons) {
  if (parts.actions.children.length === buttons.length && buttons.every((each, at) => parts.actions.children[at] === each)) return;
  parts.actions.replaceChildren(...buttons);
}

/** Somebody is busy with the page itself: typing, turning leaves, choosing how it looks. The visit counts that as life. */
function stir() {
  if (!shown?.commands.includes("more_time") || performance.now() - stirredAt < STIR_MS) return;
  stirredAt = performance.now();
  stirring = link.post("more_time", {}, shown);
}

function nobodyLeft() {
  if (shown !== null && shown.visit !== null) return;
  forgetChoices();
  if (parts.choices.open) parts.choices.close();
  screen?.lay?.();
}

for (const name of ["pointerdown", "keydown"]) {
  document.addEventListener(name, () => {
    clearTimeout(left);
    left = setTimeout(nobodyLeft, LEFT_MS);
  });
}

parts.access.addEventListener("click", () => {
  if (shown === null || parts.warning.open || parts.choices.open) return;
  const chosen = shown.visit !== null && shown.state !== "language";
  const voices = texts.languages.filter(({ language }) => !chosen || language === texts.language);
  openChoices(parts.choices, {
    title: texts.t("access.title"),
    done: texts.t("action.done"),
    voices,
    onChange: () => {
      screen.lay?.();
      stir();
    },
  });
});

addEventListener("resize", () => screen?.lay?.());

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
  closeDialogues();
  setText(parts.lost, texts?.t("connection.lost") ?? "");
}

link.open();
