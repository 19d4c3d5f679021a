// The applicant's own way of seeing and reaching the screen: larger letters, high contrast, dark, everything low, nothing moving.
//
// - Each choice is an attribute of the root element, so that it holds at once and on every screen; the style sheets do the rest.
// - Found without reading: drawings, and before a language was chosen the words in every language.
// - Kept in this document alone and nowhere else: it ends with the visit, and after a while of nobody touching the invitation.

import { el, icon } from "./dom.js";

const CHOICES = [
  { name: "text", value: "large", picture: "large-text", key: "access.text" },
  { name: "contrast", value: "high", picture: "contrast", key: "access.contrast" },
  { name: "scheme", value: "dark", picture: "dark", key: "access.dark" },
  { name: "reach", value: "low", picture: "low-reach", key: "access.reach" },
  { name: "motion", value: "calm", picture: "calm", key: "access.calm" },
];
const root = document.documentElement;

/** Back to how the booth looks to everybody. */
export function forgetChoices() {
  for (const { name } of CHOICES) delete root.dataset[name];
}

/** Opens the choices in a dialogue. `voices` are [language, direction, words by key]: the chosen language's, or every one. */
export function openChoices(dialog, { title, done, voices, onChange }) {
  const said = (key) => voices.map(({ language, direction, words }) => el("span", { lang: language, dir: direction, text: words[key] }));
  const tiles = CHOICES.map(({ name, value, picture, key }) => {
    const tile = el(
      "button",
      { class: "button choice", type: "button", "data-choice": name, "aria-pressed": String(root.dataset[name] === value) },
      icon(picture),
      el("span", { class: "choice-words" }, said(key)),
      el("span", { class: "sign" }, icon("check")),
    );
    tile.addEventListener("click", () => {
      const on = root.dataset[name] !== value;
      if (on) root.dataset[name] = value;
      else delete root.dataset[name];
      tile.setAttribute("aria-pressed", String(on));
      onChange();
    });
    return el("li", {}, tile);
  });
  dialog.replaceChildren(
    el("h2", { id: "choices-title", "aria-label": title }, icon("access"), el("span", { class: "choice-words" }, said("access.title"))),
    el("ul", { class: "choices-list" }, tiles),
    el("button", { class: "button button-primary", type: "button", onclick: () => dialog.close() }, icon("check"), el("span", { class: "choices-done", text: done })),
  );
  dialog.dataset.languages = String(voices.length);
  dialog.showModal();
}
