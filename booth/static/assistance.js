// Staff are here: what went wrong, and what a member of staff may do about it by a personal code. Whoever only
// asked for help goes on where he was.
//
// Three steps, each with a way back: what to do, why, the code. The code comes last, is hidden but for the staff id, and leaves the page with the
// command: it stands in no element, no address and no store. Whoever has no code ends the visit.

import { el, icon, setText } from "./dom.js";
import { button, heading, hero } from "./parts.js";
import { explained } from "./review.js";

const DIGITS = 18;
const GROUP = 6; // three groups, as a code is told; the first is the staff id
const KEYS = [["1", "2", "3"], ["4", "5", "6"], ["7", "8", "9"], ["", "0", "backspace"]];
const ACTION_ICONS = { override: "check", retake: "retake", end: "cross" };
const TICK_MS = 500;

/** Staff are needed: after the last try, on request, after a failure, or because the applicant said no. */
export function assistance(state, kit) {
  const { t, post, act, turn, stir, declined } = kit;
  let newest = state;
  let step = "told";
  let asked = {}; // action and reason class
  let digits = "";
  let waitUntil = 0;
  let ticking = 0;
  let lay = () => {};

  const main = el("div", { class: "assistance" });
  const fault = el("p", { class: "card fault-note", role: "status" });
  const refusal = el("p", { class: "refusal", role: "alert" });
  const shown = el("p", { class: "code-shown", dir: "ltr", role: "status" });
  const done = button("", t("action.help_given"), "check", () => post("help_given"));
  const resume = button("button-primary", t("action.continue"), null, () => post("resume"));
  const begin = button("", t("action.staff"), "lock", () => turn(() => go("action")));
  const back = button("", t("action.back"), "previous", () => turn(() => go({ action: "told", reason: "action", code: "reason" }[step])));
  const send = button("button-primary", t("action.staff_confirm"), "check", confirm, { disabled: true });

  const buttons = () => ({
    told: [
      newest.commands.includes("help_given") && done,
      newest.staff_actions.length > 0 && begin,
      newest.commands.includes("resume") && resume,
    ].filter(Boolean),
    action: [back],
    reason: [back],
    code: [back, send],
  }[step]);

  const views = {
    told() {
      const refused = newest.findings.length > 0 && newest.portrait !== null;
      const words = declined ? ["assistance.declined.title", "assistance.declined.text"] : ["state.assistance.title", "state.assistance.text"];
      const head = [heading(t(words[0])), el("p", { class: "lead", text: t(words[1]) }), fault];
      if (!refused) return hero(declined ? "counter" : "help", ...head);
      const [figure, findings] = explained(newest, kit);
      lay = findings.lay;
      return el("div", { class: "review", "data-good": "false" }, el("div", { class: "words" }, ...head), figure, findings.list);
    },
    action: () =>
      choice("staff.action.title", newest.staff_actions, "staff-actions", (action) => {
        const press = () => turn(() => ((asked = { action }), go("reason")));
        const words = el("span", { class: "staff-words" }, el("strong", { text: t(`staff.action.${action}`) }), el("span", { text: t(`staff.action.${action}.text`) }));
        return el("button", { class: "button staff-choice", type: "button", onclick: press }, icon(ACTION_ICONS[action]), words);
      }),
    reason: () =>
      choice("staff.reason.title", newest.reason_classes, "staff-reasons", (reason) => {
        const press = () => turn(() => ((asked.reason_class = reason), go("code")));
        return el("button", { class: "button staff-choice", type: "button", onclick: press }, el("span", { text: t(`reason.${reason}`) }));
      }),
    code: () =>
      el(
        "div",
        { class: "staff-code" },
        el("div", { class: "words" }, heading(t("staff.code.title")), el("p", { text: t(`staff.action.${asked.action}`) }), shown, refusal),
        pad(),
      ),
  };

  function choice(title, all, kind, build) {
    return el("div", { class: "staff-step" }, heading(t(title)), el("ul", { class: kind }, ...all.map((one) => el("li", {}, build(one)))));
  }

  function pad() {
    const key = (name) => {
      if (name === "") return el("span");
      const named = name === "backspace" ? { "aria-label": t("action.delete") } : { text: name };
      return el("button", { class: "button key", type: "button", ...named, onclick: () => type(name) }, name === "backspace" && icon("backspace"));
    };
    return el("div", { class: "digit-pad", role: "group", "aria-label": t("staff.code.keys"), dir: "ltr" }, ...KEYS.flat().map(key));
  }

  function go(next) {
    step = next;
    lay = () => {};
    forget();
    main.replaceChildren(views[step]());
    lay();
    act(...buttons());
    tell();
    main.querySelector("h1")?.focus({ preventScroll: true });
  }

  function type(name) {
    if (waiting() > 0) return;
    digits = name === "backspace" ? digits.slice(0, -1) : (digits + name).slice(0, DIGITS);
    setText(refusal, "");
    showDigits();
    stir();
  }

  function showDigits() {
    const places = Array.from({ length: DIGITS }, (_, at) => (at >= digits.length ? "_" : at < GROUP ? digits[at] : "•"));
    setText(shown, places.join("").match(new RegExp(`.{${GROUP}}`, "g")).join(" "));
    shown.setAttribute("aria-label", t("staff.code.typed", { count: digits.length }));
    send.disabled = digits.length < DIGITS || waiting() > 0 || !newest.commands.includes("staff");
  }

  function forget() {
    digits = "";
    setText(refusal, "");
    showDigits();
  }

  async function confirm() {
    if (send.disabled) return;
    const code = digits;
    forget();
    const answer = await post("staff", { code, ...asked });
    if (answer === null || answer.error) setText(refusal, t(answer === null ? "staff.again" : "staff.not_now"));
  }

  const waiting = () => Math.max(0, Math.ceil((waitUntil - performance.now()) / 1000));

  function tick() {
    const left = waiting();
    if (left === 0 || !main.isConnected) {
      clearInterval(ticking);
      ticking = 0;
    }
    setText(refusal, left > 0 ? t("staff.wait_left", { count: left }) : "");
    showDigits();
  }

  function tell() {
    const { fault: told, staff_wait_s: wait } = newest;
    fault.hidden = told === null;
    if (told) setText(fault, t(told.message));
    waitUntil = wait ? performance.now() + wait * 1000 : 0;
    if (!wait) ticking = clearInterval(ticking) ?? 0;
    if (step !== "code") return;
    showDigits();
    if (wait) {
      if (ticking === 0) ticking = setInterval(tick, TICK_MS);
      tick();
    } else if (!newest.commands.includes("staff")) setText(refusal, t("staff.checking"));
    else setText(refusal, told?.message.startsWith("staff.") ? t(told.message) : "");
  }

  showDigits();
  main.append(views.told());
  return {
    main,
    actions: buttons(),
    update(newer) {
      newest = newer;
      tell();
    },
    tellsFault: () => true,
    lay: () => lay(),
    typed: (character) => step === "code" && /^[0-9]$/.test(character) && type(character),
  };
}
