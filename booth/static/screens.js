// One screen per state of the visit. A screen is built once and then updated, so that focus and the live picture stay.
//
// A builder takes the state and the kit {t, languages, post, declined} and returns
//   main      what is shown
//   actions   the large buttons, the most likely one last (it stands nearest to the thumb and at the end of the line)
//   update    takes a newer state of the same screen
//   tellsFault  the screen itself says what is wrong; the strip under the head stays away

import { el, icon, setIcon, setText, svg } from "./dom.js";
import { button, heading, hero, instructionIcon, nothing } from "./parts.js";
import { assistance, review } from "./review.js";

const STEPS = ["number", "privacy", "photo", "check", "done"];
const STEP_OF = { identify: 0, consent: 1, framing: 2, capturing: 2, checking: 3, review: 3, sealing: 3, thanks: 4 };
const NUMBER_LENGTH = 20;

/** The name of the screen that shows a state; states with the same screen share the live picture. */
export function screenOf(state) {
  return state.state === "capturing" ? "framing" : state.state;
}

/** How far the visit is: {step, steps, name}, or null where that says nothing. */
export function progressOf(state) {
  const step = STEP_OF[state.state];
  return step === undefined ? null : { index: step, names: STEPS };
}

export function buildScreen(state, kit) {
  return BUILDERS[screenOf(state)](state, kit);
}

const BUILDERS = {
  attract,
  language,
  identify,
  consent,
  framing,
  checking: (state, kit) => working("checking", "measure", kit),
  review,
  sealing: (state, kit) => working("sealing", "lock", kit),
  thanks,
  clearing,
  assistance,
  out_of_service: outOfService,
};

// --- screens ---------------------------------------------------------------------------------------------------------

function attract(state, { t, languages, post }) {
  const steps = [
    ["code", "attract.step.code"],
    ["look", "attract.step.look"],
    ["hold", "attract.step.check"],
  ];
  const main = el(
    "div",
    { class: "attract" },
    portraitDrawing(),
    el("div", { class: "attract-words" }, heading(t("state.attract.title")), el("p", { class: "lead", text: t("state.attract.text") })),
    el(
      "ol",
      { class: "attract-steps" },
      ...steps.map(([picture, key]) => el("li", {}, el("span", { class: "bubble" }, icon(picture)), el("span", { text: t(key) }))),
    ),
  );
  const start = el(
    "button",
    { class: "button button-primary start", type: "button", onclick: () => post("start") },
    ...languages.map((each) => el("span", { lang: each.language, dir: each.direction, text: each.start })),
  );
  return { main, actions: [start], update: nothing, wholeScreen: () => post("start") };
}

function portraitDrawing() {
  return svg(
    "svg",
    { class: "drawing", viewBox: "0 0 350 450", "aria-hidden": "true" },
    svg("rect", { class: "drawing-paper", x: 4, y: 4, width: 342, height: 442, rx: 26 }),
    svg("path", { class: "drawing-body", d: "M36 446c6-88 58-118 139-118s133 30 139 118z" }),
    svg("path", { class: "drawing-neck", d: "M142 270h66v60c0 20-15 36-33 36s-33-16-33-36z" }),
    svg("ellipse", { class: "drawing-head", cx: 175, cy: 192, rx: 80, ry: 104 }),
    svg("path", { class: "drawing-hair", d: "M93 196c-8-78 34-118 84-118s88 42 80 118c-12-34-30-54-52-66-30 22-74 26-92 26-10 8-16 22-20 40z" }),
    svg("path", { class: "drawing-face drawing-eyes", d: "M146 200h.01M204 200h.01" }),
    svg("path", { class: "drawing-face", d: "M156 254h38" }),
    svg("path", { class: "drawing-corners", d: "M60 112V72a22 22 0 0 1 22-22h40M228 50h40a22 22 0 0 1 22 22v40M290 268v40a22 22 0 0 1-22 22h-14M96 330H82a22 22 0 0 1-22-22v-40" }),
  );
}

function language(state, { t, languages, post }) {
  const main = el(
    "div",
    { class: "language" },
    el("div", { class: "medal" }, icon("globe")),
    heading(t("state.language.title"), { class: "hidden-text" }),
    languageTiles(languages, null, (chosen) => post("language", { language: chosen })),
  );
  return { main, actions: [], update: nothing };
}

/** The languages by their own names; used by the language screen and by the change-language dialogue. */
export function languageTiles(languages, current, choose) {
  return el(
    "ul",
    { class: "tiles" },
    ...languages.map((each) =>
      el(
        "li",
        {},
        el(
          "button",
          {
            class: "button tile",
            type: "button",
            lang: each.language,
            dir: each.direction,
            "aria-pressed": current === null ? null : String(each.language === current),
            onclick: () => choose(each.language),
          },
          el("strong", { text: each.name }),
          el("span", { text: each.choose }),
        ),
      ),
    ),
  );
}

function identify(state, { t, post }) {
  const refusal = el("p", { class: "refusal", role: "alert" });
  const field = el("input", {
    id: "number",
    class: "number",
    type: "text",
    dir: "ltr",
    maxlength: NUMBER_LENGTH,
    inputmode: "none",
    autocomplete: "off",
    autocapitalize: "characters",
    spellcheck: "false",
    "aria-describedby": "refusal",
    onkeydown: (event) => event.key === "Enter" && !event.repeat && send(),
    oninput: () => show(field.value.toUpperCase().replace(/[^A-Z0-9-]/g, "")),
  });
  refusal.id = "refusal";
  const keypad = document.createElement("booth-keypad").fill({ label: t("keypad.label"), backspace: t("action.delete") });
  keypad.addEventListener("key", ({ detail }) => {
    show(detail === "backspace" ? field.value.slice(0, -1) : (field.value + detail).slice(0, NUMBER_LENGTH));
  });
  const next = button("button-primary", t("action.continue"), null, send, { disabled: true });
  next.append(icon("forward", { turns: true }));
  const main = el(
    "div",
    { class: "identify", "data-way": "scan" },
    el("div", { class: "words" }, heading(t("state.identify.title")), el("p", { text: t("state.identify.text") })),
    el(
      "div",
      { class: "stage stage-code" },
      el("booth-preview", { role: "img", "aria-label": t("framing.preview"), "data-waiting": t("framing.no_picture") }),
      codeFrame(),
    ),
    el("div", { class: "typing" }, el("label", { for: "number", text: t("identify.typed.title") }), field, refusal, keypad),
  );
  const typing = button("", t("action.type_number"), "keypad", () => way("type"), { "data-way": "scan" });
  const scanning = button("", t("action.scan_code"), "code", () => way("scan"), { "data-way": "type" });
  typing.classList.add("way");
  scanning.classList.add("way");
  next.classList.add("send");
  way("scan");

  function way(chosen) {
    main.dataset.way = chosen;
    for (const each of [typing, scanning]) each.dataset.shown = String(each.dataset.way === chosen);
    next.dataset.shown = String(chosen === "type");
    if (chosen === "type") field.focus();
  }
  function show(number) {
    field.value = number;
    next.disabled = number.length === 0;
  }
  async function send() {
    if (field.value.length === 0) return;
    const answer = await post("identify", { number: field.value });
    if (answer?.error) setText(refusal, t("identify.refused"));
  }
  return {
    main,
    actions: [typing, scanning, next],
    // The field keeps what was typed: one wrong letter is one correction.
    update(newer) {
      if (!isRefusal(newer)) return;
      setText(refusal, t(newer.fault.message));
      way("type");
    },
    tellsFault: isRefusal,
    typed: (character) => {
      way("type");
      show((field.value + character).toUpperCase().replace(/[^A-Z0-9-]/g, "").slice(0, NUMBER_LENGTH));
    },
  };
}

function isRefusal({ fault }) {
  return fault !== null && fault.message.startsWith("identify.");
}

function codeFrame() {
  return svg(
    "svg",
    { class: "code-frame", viewBox: "0 0 240 240", "aria-hidden": "true" },
    svg("path", { d: "M4 60V22A18 18 0 0 1 22 4h38M180 4h38a18 18 0 0 1 18 18v38M236 180v38a18 18 0 0 1-18 18h-38M60 236H22a18 18 0 0 1-18-18v-38" }),
  );
}

function consent(state, { t, post }) {
  const points = [
    ["person", "consent.purpose"],
    ["measure", "consent.check"],
    ["lock", "consent.transfer"],
    ["trash", "consent.delete"],
    ["counter", "consent.choice"],
  ];
  const main = el(
    "div",
    { class: "consent" },
    heading(t("state.consent.title")),
    el(
      "ul",
      { class: "points" },
      ...points.map(([picture, key]) => el("li", { class: "card" }, el("span", { class: "bubble" }, icon(picture)), el("p", { text: t(key) }))),
    ),
  );
  const actions = [
    button("", t("action.decline"), null, () => post("consent", { answer: false })),
    button("button-primary", t("action.agree"), "check", () => post("consent", { answer: true })),
  ];
  return { main, actions, update: nothing };
}

function framing(state, { t }) {
  const preview = el("booth-preview", { role: "img", "aria-label": t("framing.preview"), "data-waiting": t("framing.no_picture") });
  const picture = icon("look");
  const instruction = el("h1", { tabindex: "-1" });
  const pointer = el("div", { class: "pointer", "aria-hidden": "true" }, icon("arrow-left"));
  const count = el("div", { class: "count", "aria-hidden": "true" });
  const main = el(
    "div",
    { class: "framing" },
    el("div", { class: "instruction card" }, el("span", { class: "bubble" }, picture), el("div", { role: "status", "aria-live": "polite" }, instruction)),
    el("div", { class: "stage" }, preview),
    el("p", { class: "quiet", text: t("framing.auto") }),
  );
  preview.append(pointer, count);
  function update(newer) {
    const shooting = newer.state === "capturing";
    preview.overlay = newer.overlay;
    main.dataset.good = String(shooting || newer.countdown_s !== null || newer.instruction.key === "advice.hold_still");
    main.dataset.shooting = String(shooting);
    main.dataset.fault = String(newer.instruction.key.startsWith("fault."));
    setText(instruction, shooting ? t("state.capturing.title") : t(newer.instruction.key));
    setIcon(picture, shooting ? "camera" : instructionIcon(newer.instruction));
    const direction = !shooting && /^advice\.(left|right|up|down)$/.test(newer.instruction.key) ? newer.instruction.arrow : "none";
    pointer.dataset.direction = direction;
    if (direction !== "none") setIcon(pointer.firstElementChild, instructionIcon(newer.instruction));
    setText(count, !shooting && newer.countdown_s !== null ? String(newer.countdown_s) : "");
  }
  // A fault that hinders is the instruction itself; it is not said twice.
  return { main, actions: [], update, tellsFault: (newer) => newer.fault?.message === newer.instruction.key };
}

function working(name, picture, { t }) {
  const main = el(
    "div",
    { class: "hero" },
    el("div", { class: "medal medal-busy" }, icon(picture)),
    heading(t(`state.${name}.title`)),
    el("p", { class: "lead", text: t(`state.${name}.text`) }),
    el("div", { class: "progress", "aria-hidden": "true" }, el("span")),
  );
  main.setAttribute("aria-busy", "true");
  return { main, actions: [], update: nothing };
}

function thanks(state, { t, post }) {
  const main = el(
    "div",
    { class: "hero" },
    el("div", { class: "medal medal-good" }, icon("check")),
    heading(t("state.thanks.title")),
    el("p", { class: "lead", text: t("state.thanks.text") }),
    el(
      "div",
      { class: "card reference" },
      el("p", { text: t("thanks.reference") }),
      el("p", { class: "reference-number", dir: "ltr", text: state.reference ?? "" }),
      el("p", { class: "quiet", text: t("thanks.keep") }),
    ),
  );
  return { main, actions: [button("button-primary", t("action.done"), "check", () => post("cancel"))], update: nothing, ownsCancel: true };
}

function clearing(state, { t, declined }) {
  const items = ["clearing.photo", "clearing.number", "clearing.screen"];
  const title = heading("");
  const said = el("p", { class: "lead" });
  const main = el(
    "div",
    { class: "hero clearing" },
    el("div", { class: "medal" }, icon(declined ? "counter" : "trash")),
    title,
    said,
    el("ul", { class: "wiped" }, ...items.map((key) => el("li", {}, el("span", { class: "sign" }, icon("check")), el("span", { text: t(key) })))),
  );
  function update(newer) {
    const done = newer.instruction.key === "state.cleared.title";
    main.dataset.done = String(done);
    setText(title, t(done ? "state.cleared.title" : "state.clearing.title"));
    setText(said, declined ? t("assistance.declined.text") : "");
  }
  return { main, actions: [], update };
}

function outOfService(state, { t }) {
  const reason = el("p", { class: "fault-text" });
  const note = el("div", { class: "card reference" }, el("p", { class: "quiet", text: t("out_of_service.reason") }), reason);
  const main = hero("closed", heading(t("state.out_of_service.title")), el("p", { class: "lead", text: t("state.out_of_service.text") }), note);
  function update(newer) {
    note.hidden = newer.fault === null;
    if (newer.fault) setText(reason, t(newer.fault.message));
  }
  return { main, actions: [], update, tellsFault: () => true };
}
