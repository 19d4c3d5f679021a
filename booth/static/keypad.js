// <booth-keypad>: large keys for an application number. Sends `key` events: a character, or "backspace".
// The alphabet stands in its own order: not everybody knows a typewriter's.

import { el, icon } from "./dom.js";

const ROWS = ["1234567890", "ABCDEFGHIJ", "KLMNOPQRST", "UVWXYZ-"];

class BoothKeypad extends HTMLElement {
  /** Puts the keys up with their words. */
  fill({ label, backspace }) {
    this.setAttribute("role", "group");
    this.setAttribute("aria-label", label);
    this.dir = "ltr";
    const keys = [...ROWS.join("")].map((character) =>
      el("button", { class: "button key", type: "button", text: character, onclick: () => this.#press(character) }),
    );
    keys.push(
      el(
        "button",
        { class: "button key key-wide", type: "button", "aria-label": backspace, onclick: () => this.#press("backspace") },
        icon("backspace"),
      ),
    );
    this.replaceChildren(...keys);
    return this;
  }

  #press(key) {
    this.dispatchEvent(new CustomEvent("key", { detail: key }));
  }
}

customElements.define("booth-keypad", BoothKeypad);
