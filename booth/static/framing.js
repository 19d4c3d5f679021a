// The live picture as in a mirror with one instruction: its words, its drawing, and where it is about moving, an arrow over the picture.

import { el, icon, setIcon, setText } from "./dom.js";
import { heading, instructionIcon, livePicture, picture, setPicture } from "./parts.js";

const MOVES = /^advice\.(left|right|up|down)$/;

export function framing(state, { t }) {
  const preview = livePicture(t);
  const drawing = picture("advice.look_here");
  const instruction = heading("");
  const pointer = el("div", { class: "pointer", "aria-hidden": "true" }, icon("arrow-left"));
  const count = el("div", { class: "count", "aria-hidden": "true" });
  const main = el(
    "div",
    { class: "framing" },
    el("div", { class: "instruction card" }, drawing, el("div", { role: "status", "aria-live": "polite" }, instruction)),
    el("div", { class: "stage" }, preview),
    el("p", { class: "quiet", text: t("framing.auto") }),
  );
  preview.append(pointer, count);
  function update(newer) {
    const { key, arrow } = newer.instruction;
    const shooting = newer.state === "capturing";
    preview.overlay = newer.overlay;
    main.dataset.good = String(shooting || newer.countdown_s !== null || key === "advice.hold_still");
    main.dataset.shooting = String(shooting);
    main.dataset.fault = String(key.startsWith("fault."));
    setText(instruction, t(shooting ? "state.capturing.title" : key));
    setPicture(drawing, shooting ? "advice.hold_still" : key);
    const direction = !shooting && MOVES.test(key) ? arrow : "none";
    pointer.dataset.direction = direction;
    if (direction !== "none") setIcon(pointer.firstElementChild, instructionIcon(newer.instruction));
    setText(count, !shooting && newer.countdown_s !== null ? String(newer.countdown_s) : "");
  }
  // A fault that hinders is the instruction itself; it is not said twice.
  return { main, actions: [], update, tellsFault: (newer) => newer.fault?.message === newer.instruction.key };
}
