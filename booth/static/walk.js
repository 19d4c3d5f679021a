// Next and select: the whole visit with two keys, as a switch interface sends them (arrow down, Enter), or with Tab and Enter.
//
// - Next goes through everything that can be pressed, in the order of the document, and round again; in a dialogue, through the dialogue.
// - A group of keys (data-row) is one stop: select steps into it, next walks along, and behind its last key stands the group again.

const STOPS = 'button, input, [tabindex="0"]';
const NEXT = { ArrowDown: 1, ArrowUp: -1 };

/** Where Next may stop now. */
function stops() {
  const open = document.querySelector("dialog[open]");
  const row = document.activeElement?.closest?.("[data-row]");
  const inside = row && row !== document.activeElement;
  if (inside) return [...row.querySelectorAll("button"), row];
  return [...(open ?? document).querySelectorAll(STOPS)].filter((each) => !each.disabled && each.tabIndex >= 0 && each.closest("[inert]") === null && each.checkVisibility({ visibilityProperty: true }));
}

function step(by) {
  const places = stops();
  if (places.length === 0) return;
  const here = document.activeElement;
  let at = places.indexOf(here);
  if (at < 0) {
    // Between two stops, on a heading say: the next one in the document.
    const behind = places.findIndex((each) => here.compareDocumentPosition(each) & Node.DOCUMENT_POSITION_FOLLOWING);
    at = by > 0 ? (behind < 0 ? -1 : behind - 1) : behind < 0 ? places.length : behind;
  }
  places[(at + by + places.length) % places.length].focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const row = event.target.matches?.("[data-row]") ? event.target : null;
  const typing = event.target.tagName === "INPUT";
  const sideways = document.documentElement.dir === "rtl" ? -1 : 1;
  const by = NEXT[event.key] ?? (typing ? undefined : { ArrowRight: sideways, ArrowLeft: -sideways }[event.key]);
  if (by !== undefined) {
    event.preventDefault();
    step(by);
  } else if (row && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault();
    row.querySelector("button").focus();
  }
});
