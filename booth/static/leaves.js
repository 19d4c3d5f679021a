// A list that does not fit is shown leaf by leaf, with two large buttons: nothing scrolls, and nothing is cut off.

import { el, icon, setText } from "./dom.js";

/**
 * Leaves of a list element with at most `most` items each; takes the kit of its screen. Call `lay()` when the room may have changed;
 * `onTurn(whether every leaf was seen)` is called after each change.
 */
export function leavesOf(list, { t, turn: once }, { most = Infinity, onTurn = () => {} } = {}) {
  const items = [...list.children];
  const count = el("span", { class: "leaf-count", dir: "ltr", "aria-hidden": "true" });
  const back = el("button", { class: "button leaf-turn", type: "button", "aria-label": t("leaf.back"), onclick: () => once(() => turn(-1)) }, icon("previous", { turns: true }));
  const next = el("button", { class: "button leaf-turn", type: "button", "aria-label": t("leaf.next"), onclick: () => once(() => turn(1)) }, icon("forward", { turns: true }));
  const said = el("span", { class: "hidden-text", role: "status" });
  const nav = el("div", { class: "leaves", hidden: true }, back, count, said, next);
  let leaves = [items];
  let at = 0;
  let seen = 0;
  list.classList.add("leaf-list");

  const showOnly = (shown) => items.forEach((item) => (item.hidden = !shown.includes(item)));
  // Ascenders of tight lines reach out of their boxes.
  const room = () => list.clientHeight + parseFloat(getComputedStyle(list).fontSize) * 0.3;
  const fits = (shown) => shown.length <= most && list.scrollHeight <= room();

  function lay() {
    nav.hidden = true;
    showOnly(items);
    if (fits(items)) {
      leaves = [items];
    } else {
      nav.hidden = false;
      leaves = [];
      let leaf = [];
      for (const item of items) {
        showOnly([...leaf, item]);
        if (!fits([...leaf, item]) && leaf.length > 0) {
          leaves.push(leaf);
          leaf = [];
        }
        leaf.push(item);
      }
      leaves.push(leaf);
    }
    at = Math.min(at, leaves.length - 1);
    show();
  }

  function turn(by) {
    at = Math.max(0, Math.min(leaves.length - 1, at + by));
    show();
    setText(said, t("leaf.count", { leaf: at + 1, leaves: leaves.length }));
    if (document.activeElement?.disabled) (back.disabled ? next : back).focus();
  }

  function show() {
    seen = Math.max(seen, at);
    showOnly(leaves[at]);
    back.disabled = at === 0;
    next.disabled = at === leaves.length - 1;
    setText(count, `${at + 1} / ${leaves.length}`);
    onTurn(seen >= leaves.length - 1);
  }

  return { nav, lay, next: () => turn(1) };
}
