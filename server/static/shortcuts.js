// Single keys for an officer's day, as the pages mark them: a key clicks, or focuses, what has its data-key; j and k walk through the list.
// WCAG 2.2, 2.1.4: they can be switched off in their own dialogue, which is remembered by this browser alone; they are never heard while somebody writes.
const COOKIE = "desk-shortcuts";
const YEAR_S = 31536000;
// Keyboards without Latin letters: the key at the place where a Latin one has the letter.
const PLACES = { KeyN: "n", KeyA: "a", KeyR: "r", KeyJ: "j", KeyK: "k", KeyQ: "q" };

const dialogue = document.querySelector("dialog.shortcuts");
const opener = document.querySelector(".shortcuts-open");
const choice = dialogue?.querySelector("input[name=shortcuts]");

const remembered = () => !document.cookie.split("; ").includes(`${COOKIE}=off`);

const remember = (on) => {
  const life = on ? "max-age=0" : `max-age=${YEAR_S}`;
  document.cookie = `${COOKIE}=off; path=/; ${life}; samesite=strict; secure`;
};

const writing = (element) =>
  element?.isContentEditable || element?.matches?.("textarea, select, input:not([type=checkbox], [type=radio], [type=submit], [type=button])");

const walk = (step) => {
  const links = [...document.querySelectorAll(".packets .row-link")];
  const at = links.indexOf(document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + step, 0), links.length - 1);
  links[next]?.focus();
};

const act = (key) => {
  if (key === "j" || key === "k") {
    walk(key === "j" ? 1 : -1);
    return true;
  }
  const target = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (!target) return false;
  if (target.matches("input")) {
    target.focus();
    target.select();
  } else {
    target.click();
  }
  return true;
};

if (dialogue && opener && choice) {
  opener.hidden = false;
  choice.checked = remembered();
  opener.addEventListener("click", () => dialogue.showModal());
  dialogue.querySelector(".shortcuts-close").addEventListener("click", () => dialogue.close());
  choice.addEventListener("change", () => remember(choice.checked));
  document.addEventListener("keydown", (event) => {
    if (!choice.checked || event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.repeat) return;
    if (document.querySelector("dialog[open]") || writing(event.target)) return;
    const latin = /^[a-z/?]$/i.test(event.key);
    const key = latin ? event.key.toLowerCase() : PLACES[event.code];
    if (key && act(key)) event.preventDefault();
  });
}
