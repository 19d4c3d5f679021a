// <booth-keypad>: large keys for an application number. Sends `key` events: a character, or "backspace".
//
// - The alphabet stands in its own order: not everybody knows a typewriter's.
// - Each row is one stop for the keyboard (walk.js): two switches reach a key in a few steps instead of thirty.
// - Where a low screen leaves no room for digits beside letters, one key changes between them (capture.css).

import { el, icon } from "./dom.js";

const ROWS = ["1234567890", "ABCDEFGHIJ", "KLMNOPQRST", "UVWXYZ"];

class BoothKeypad extends HTMLElement {
  /** Puts the keys up with their words. */
  fill({ label, backspace, other }) {
    this.setAttribute("role", "group");
    this.setAttribute("aria-label", label);
    this.dir = "ltr";
    this.dataset.keys = "digits";
    const rows = ROWS.map((row) => [...row].map((character) => this.#key("", { text: character }, () => this.#press(character))));
    rows.at(-1).push(
      this.#key("key-other", { "aria-label": other }, () => this.#turn(), el("span", { class: "to-letters", text: "ABC" }), el("span", { class: "to-digits", text: "123" })),
      this.#key("key-wide", { "aria-label": backspace }, () => this.#press("backspace"), icon("backspace")),
    );
    this.replaceChildren(
      ...rows.map((keys, at) =>
        el("div", { class: "key-row", role: "group", tabindex: "0", "data-row": String(at), "aria-label": `${ROWS[at].at(0)} – ${ROWS[at].at(-1)}` }, keys),
      ),
    );
    return this;
  }

  #key(kind, properties, press, ...children) {
    const pressed = (event) => {
      press();
      if (event.detail === 0) event.currentTarget.parentElement.focus(); // by keyboard or switch: on with any row
    };
    return el("button", { class: `button key ${kind}`, type: "button", tabindex: "-1", ...properties, onclick: pressed }, ...children);
  }

  #press(key) {
    this.dispatchEvent(new CustomEvent("key", { detail: key }));
  }

  #turn() {
    this.dataset.keys = this.dataset.keys === "digits" ? "letters" : "digits";
  }
}

customElements.define("booth-keypad", BoothKeypad);
