// One screen per state of the visit. A screen is built once and then updated, so that focus and the live picture stay.
//
// A builder takes the state and the kit {t, languages, post, turn, act, stir, declined} and returns
//   main      what is shown
//   actions   the large buttons, the most likely one last (it stands nearest to the thumb and at the end of the line)
//   update    takes a newer state of the same screen
//   tellsFault  the screen itself says what is wrong; the strip under the head stays away
//   lay       called when the screen stands in the document, and when its room or letters change

import { el, icon, setText, svg } from "./dom.js";
import { framing } from "./framing.js";
import { identify } from "./identify.js";
import { leavesOf } from "./leaves.js";
import { button, heading, hero, nothing } from "./parts.js";
import { assistance, review } from "./review.js";

const STEPS = ["number", "privacy", "photo", "check", "done"];
const STEP_OF = { identify: 0, consent: 1, framing: 2, capturing: 2, checking: 3, review: 3, sealing: 3, thanks: 4 };

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

function consent(state, { t, post, turn, act }) {
  const points = [
    ["person", "consent.purpose"],
    ["measure", "consent.check"],
    ["lock", "consent.transfer"],
    ["trash", "consent.delete"],
    ["counter", "consent.choice"],
  ];
  const list = el(
    "ul",
    { class: "points" },
    ...points.map(([drawing, key]) => el("li", { class: "card" }, el("span", { class: "bubble" }, icon(drawing)), el("p", { text: t(key) }))),
  );
  const agree = button("button-primary", t("action.agree"), "check", () => post("consent", { answer: true }));
  const decline = button("", t("action.decline"), null, () => turn(() => ask(true)));
  const onwards = button("button-primary", t("action.continue"), null, () => turn(() => leaves.next()));
  onwards.append(icon("forward", { turns: true }));
  // The whole notice comes before the question.
  const leaves = leavesOf(list, { t, turn }, { onTurn: (allSeen) => act(decline, allSeen ? agree : onwards) });
  const notice = el("div", { class: "consent" }, heading(t("state.consent.title")), list, leaves.nav);
  // A no is no dead end: it says what happens next, and a wrong touch can be taken back.
  const farewell = hero("counter", heading(t("assistance.declined.title")), el("p", { class: "lead", text: t("consent.declined") }));
  const reconsider = button("", t("action.back"), "previous", () => turn(() => ask(false)));
  const end = button("button-primary", t("action.finish"), "check", () => post("consent", { answer: false }));
  const main = el("div", { class: "either" }, notice, farewell);

  function ask(declined) {
    notice.hidden = declined;
    farewell.hidden = !declined;
    if (declined) act(reconsider, end);
    else leaves.lay();
    main.querySelector("div:not([hidden]) > h1").focus({ preventScroll: true });
  }
  farewell.hidden = true;
  return { main, actions: [decline, agree], update: nothing, lay: () => notice.hidden || leaves.lay() };
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
  const code = state.status_url && el("img", { class: "status-code", src: "/api/visit/status-code", alt: t("thanks.status_code"), draggable: "false" });
  const main = el(
    "div",
    { class: "hero thanks" },
    el("div", { class: "medal medal-good" }, icon("check")),
    heading(t("state.thanks.title")),
    el("p", { class: "lead", text: t("state.thanks.text") }),
    el(
      "div",
      { class: "card keep" },
      code,
      el(
        "div",
        { class: "keep-words" },
        el("p", { class: "quiet", text: t("thanks.reference") }),
        el("p", { class: "reference-number", dir: "ltr", text: state.reference ?? "" }),
        el("p", { text: t(code ? "thanks.scan" : "thanks.keep") }),
      ),
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
