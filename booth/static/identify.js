// Who is here: the slip's code before the camera, or its number by the keys on the screen (or any keyboard, or a hand scanner).
// What came of it is told where the applicant looks: of a code in the words above, of a number below its field.
// Where nothing is left to do here, that is all the screen says; who has another number goes back to the keys.

import { el, icon, setIcon, setText, svg } from "./dom.js";
import { button, heading, livePicture } from "./parts.js";

const MOST_CHARACTERS = 20; // docs/application.md
const GROUP = 4; // as the number stands on the slip
const ASKING = "identify.asking";
// There is nothing more to do here: what is said first, and its drawing.
const FINAL = {
  "identify.captured": ["identify.captured.title", "check"],
  "identify.expired": ["identify.expired.title", "counter"],
};

export function identify(state, { t, post, stir }) {
  const refusal = el("p", { id: "refusal", class: "refusal", role: "alert" });
  const said = el("p", { class: "said", role: "status", "aria-live": "polite", text: t("state.identify.text") });
  let sent = false; // a number was typed, and nothing told of it yet
  let typed = false; // what is told is about a typed number
  let last = null;
  let over = false; // nothing else is shown
  const title = heading(t("state.identify.title"));
  const medal = el("div", { class: "medal" }, icon("counter"));
  const field = el("input", {
    id: "number",
    class: "number",
    type: "text",
    dir: "ltr",
    inputmode: "none",
    autocomplete: "off",
    autocapitalize: "characters",
    spellcheck: "false",
    "aria-describedby": "refusal",
    onkeydown: (event) => event.key === "Enter" && !event.repeat && send(),
    oninput: () => show(field.value),
  });
  const keypad = document
    .createElement("booth-keypad")
    .fill({ label: t("keypad.label"), backspace: t("action.delete"), other: t("keypad.other") });
  keypad.addEventListener("key", ({ detail }) => show(detail === "backspace" ? plain(field.value).slice(0, -1) : field.value + detail));
  const next = button("button-primary", t("action.continue"), null, send, { disabled: true });
  next.append(icon("forward", { turns: true }));
  const back = button("", t("action.back"), "previous", again, { hidden: true });
  const done = button("button-primary", t("action.done"), "check", () => post("cancel"), { hidden: true });
  const main = el(
    "div",
    { class: "identify", "data-way": "scan" },
    el("div", { class: "words" }, medal, title, said),
    el("div", { class: "stage stage-code" }, livePicture(t), codeFrame()),
    el("div", { class: "typing" }, el("label", { for: "number", text: t("identify.typed.title") }), field, refusal, keypad),
  );
  const typing = button("", t("action.type_number"), "keypad", () => way("type"), { "data-way": "scan" });
  const scanning = button("", t("action.scan_code"), "code", () => way("scan"), { "data-way": "type" });
  typing.classList.add("way");
  scanning.classList.add("way");
  next.classList.add("send");
  way("scan");

  function asking() {
    return main.dataset.outcome === "asking";
  }
  function way(chosen) {
    main.dataset.way = chosen;
    for (const each of [typing, scanning]) each.dataset.shown = String(each.dataset.way === chosen);
    next.dataset.shown = String(chosen === "type");
    if (chosen === "type") field.focus();
  }
  function show(typed) {
    const number = plain(typed);
    field.value = number.match(new RegExp(`.{1,${GROUP}}`, "g"))?.join("-") ?? "";
    next.disabled = number.length === 0 || asking();
    stir();
  }
  function again() {
    over = false;
    tell();
    if (typed) field.focus();
    else title.focus({ preventScroll: true });
  }
  /** What came of the last number or code, or that nothing did. */
  function tell() {
    const told = last === null ? null : t(last);
    setText(title, t(over ? FINAL[last][0] : "state.identify.title"));
    setText(said, told !== null && (over || !typed) ? told : t("state.identify.text"));
    setText(refusal, told !== null && typed && !over ? told : "");
    main.dataset.told = told === null ? "" : typed ? "number" : "code";
    main.dataset.over = String(over);
    if (over) setIcon(medal.firstElementChild, FINAL[last][1]);
    back.hidden = done.hidden = !over;
    for (const each of [typing, scanning, next]) each.hidden = over;
    next.disabled = asking() || plain(field.value).length === 0;
  }
  async function send() {
    const number = plain(field.value);
    if (number.length === 0 || asking()) return;
    sent = true;
    const answer = await post("identify", { number });
    if (answer?.error) setText(refusal, t("identify.refused"));
  }
  return {
    main,
    actions: [typing, scanning, next, back, done],
    // The field keeps what was typed: one wrong letter is one correction.
    update(newer) {
      const looking = newer.instruction.key === ASKING;
      const told = looking ? ASKING : isRefusal(newer) ? newer.fault.message : null;
      if (told === null && !main.dataset.outcome) return;
      main.dataset.outcome = looking ? "asking" : told === null ? "" : "refused";
      main.setAttribute("aria-busy", String(looking));
      if (told !== last) {
        typed = sent;
        sent &&= looking;
        last = told;
        over = told in FINAL;
        if (told !== null && !looking) way(typed ? "type" : "scan");
      }
      tell();
      if (over && field === document.activeElement) title.focus({ preventScroll: true });
    },
    tellsFault: isRefusal,
    typed: (character) => {
      if (over) again();
      way("type");
      show(field.value + character);
    },
  };
}

function plain(typed) {
  return typed
    .toUpperCase()
    .replace(/[^A-Z0-9]/g, "")
    .slice(0, MOST_CHARACTERS);
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
