// Small pieces that several screens are made of.

import { el, icon, svg } from "./dom.js";

export const ADVICE_ICONS = {
  "advice.no_face": "sit",
  "advice.one_person": "one-person",
  "advice.closer": "closer",
  "advice.back": "back",
  "advice.left": "arrow-left",
  "advice.right": "arrow-right",
  "advice.up": "arrow-up",
  "advice.down": "arrow-down",
  "advice.turn_head_left": "turn-left",
  "advice.turn_head_right": "turn-right",
  "advice.tilt_head_left": "tilt-left",
  "advice.tilt_head_right": "tilt-right",
  "advice.level_head": "level",
  "advice.chin_up": "chin-up",
  "advice.chin_down": "chin-down",
  "advice.look_here": "look",
  "advice.open_eyes": "eyes",
  "advice.close_mouth": "mouth",
  "advice.relax_face": "mouth",
  "advice.uncover_face": "uncover",
  "advice.take_off_glasses": "glasses",
  "advice.take_off_hat": "hat",
  "advice.hair_from_eyes": "hair",
  "advice.hold_still": "hold",
  "advice.light_problem": "light",
  "advice.background_problem": "wall",
  "advice.camera_problem": "camera",
  "advice.turn_photo": "turn-photo",
  "advice.seat_up": "arrow-up",
  "advice.seat_down": "arrow-down",
  "advice.camera_moves": "camera",
};
const ARROW_ICONS = { up: "arrow-up", down: "arrow-down", left: "arrow-left", right: "arrow-right", closer: "closer", back: "back" };

/** The drawing for an instruction: by what it says, else by its arrow. */
export function instructionIcon({ key, arrow }) {
  if (key.startsWith("fault.")) return "warn";
  return ADVICE_ICONS[key] ?? ARROW_ICONS[arrow] ?? "look";
}

export const heading = (text, properties = {}) => el("h1", { tabindex: "-1", text, ...properties });
export const nothing = () => {};

export function button(kind, text, picture, press, options = {}) {
  return el(
    "button",
    { class: `button ${kind}`, type: "button", onclick: press, ...options },
    picture && icon(picture),
    el("span", { text }),
  );
}

export function hero(picture, ...children) {
  return el("div", { class: "hero" }, el("div", { class: "medal" }, icon(picture)), ...children);
}

// What is drawn large for an instruction (pictures.svg); what is the booth's own affair keeps its icon.
const DRAWN = new Set(
  (
    "no_face one_person closer back left right up down turn_head_left turn_head_right tilt_head_left tilt_head_right level_head chin_up " +
    "chin_down look_here open_eyes close_mouth relax_face uncover_face take_off_glasses take_off_hat hair_from_eyes hold_still " +
    "seat_up seat_down camera_moves"
  ).split(" "),
);

/** The large drawing of an instruction. */
export function picture(key) {
  const shown = el("span", { class: "picture", "aria-hidden": "true" });
  setPicture(shown, key);
  return shown;
}

/** Changes it; what is to move then moves. */
export function setPicture(shown, key) {
  if (shown.dataset.shows === key) return;
  shown.dataset.shows = key;
  const name = key.replace(/^advice\./, "");
  const drawn = DRAWN.has(name);
  shown.replaceChildren(
    drawn ? svg("svg", { viewBox: "0 0 120 120" }, svg("use", { href: `#picture-${name}` })) : icon(instructionIcon({ key, arrow: "none" })),
  );
  shown.toggleAttribute("data-fresh", drawn);
}

/** The live picture, told to screen readers in words. */
export const livePicture = (t) => el("booth-preview", { role: "img", "aria-label": t("framing.preview"), "data-waiting": t("framing.no_picture") });
