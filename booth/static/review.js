// The portrait with its rules: what is wrong in plain words and what to do about it, what could be better, and the rest counted by subject.

import { el, icon, setText } from "./dom.js";
import { ADVICE_ICONS, button, heading, hero, nothing } from "./parts.js";

const SIGNS = { pass: "check", warn: "warn", fail: "cross", not_assessed: "question" };
const EXPLAINED_AT_MOST = 3; // more at once helps nobody; the rest is named (a low screen explains one fewer: kiosk.css)
const NAMED_AT_MOST = 6;
const BLOCKING = new Set(["fail", "not_assessed"]);
// What a rule is about, by the first word of its id; in the order of the list.
const SUBJECTS = {
  "review.subject.position": ["geometry", "pose"],
  "review.subject.eyes": ["eyes"],
  "review.subject.face": ["face", "mouth", "expression"],
  "review.subject.light": ["light"],
  "review.subject.background": ["background"],
  "review.subject.picture": ["image"],
};

// What the booth has to do, not the person: said while framing, of no use in a review.
const BOOTH_ADVICE = new Set(["advice.light_problem", "advice.camera_problem", "advice.hold_still", "advice.none"]);

/** The portrait to keep or to take again. */
export function review(state, { t, post }) {
  const good = state.compliant === true;
  const spotless = !state.findings.some((finding) => finding.level !== "info" && finding.verdict === "warn");
  const words = good ? (spotless ? "review.good.text" : "review.borderline.text") : "review.poor.text";
  const tries = state.tries_left > 0 ? t("review.tries_left", { count: state.tries_left }) : t("review.last_try");
  const main = el(
    "div",
    { class: "review", "data-good": String(good) },
    el(
      "div",
      { class: "words" },
      heading(t(good ? "review.good.title" : "review.poor.title")),
      el("p", { text: t(words) }),
      el("p", { class: "quiet tries", text: tries }),
    ),
    portrait(state, t),
    findingsList(state.findings, t),
  );
  const actions = [];
  if (state.commands.includes("retake")) actions.push(button(good ? "" : "button-primary", t("action.retake"), "retake", () => post("retake")));
  if (state.commands.includes("accept")) actions.push(button("button-primary", t("action.accept"), "check", () => post("accept")));
  return { main, actions, update: nothing };
}

/** Staff are needed: after the last try, on request, after a failure, or because the applicant said no. */
export function assistance(state, { t, post, declined }) {
  const refused = state.findings.length > 0 && state.portrait !== null;
  const words = declined ? ["assistance.declined.title", "assistance.declined.text"] : ["state.assistance.title", "state.assistance.text"];
  const fault = el("p", { class: "card fault-note" });
  const head = [heading(t(words[0])), el("p", { class: "lead", text: t(words[1]) }), fault];
  const main = refused
    ? el("div", { class: "review", "data-good": "false" }, el("div", { class: "words" }, ...head), portrait(state, t), findingsList(state.findings, t))
    : hero(declined ? "counter" : "help", ...head);
  const actions = [];
  if (state.commands.includes("help_given")) actions.push(button("", t("action.help_given"), "check", () => post("help_given")));
  function update(newer) {
    fault.hidden = newer.fault === null;
    if (newer.fault) setText(fault, t(newer.fault.message));
  }
  return { main, actions, update, tellsFault: () => true };
}

function portrait(state, t) {
  return el("figure", { class: "portrait" }, state.portrait && el("img", { src: state.portrait, alt: t("review.photo"), draggable: "false" }));
}

/** What concerns the applicant: the broken rules first, explained; then what is left of them and what is borderline; the rest counted. */
function findingsList(findings, t) {
  const told = findings.filter((finding) => finding.level !== "info");
  const broken = told.filter((finding) => BLOCKING.has(finding.verdict) && finding.level === "reject");
  const explained = broken.slice(0, EXPLAINED_AT_MOST);
  const named = [...broken.slice(EXPLAINED_AT_MOST), ...told.filter((finding) => finding.verdict === "warn")]
    .slice(0, NAMED_AT_MOST)
    .map((finding) => tick(finding, t));
  if (explained.length === EXPLAINED_AT_MOST) named.unshift(tick(explained.at(-1), t, "only-low"));
  const met = told.filter((finding) => finding.verdict === "pass");
  return el(
    "section",
    { class: "findings", "aria-label": t("review.rules") },
    explained.length > 0 &&
      el(
        "ul",
        { class: "explained" },
        ...explained.map((finding, at) => explain(finding, t, at === EXPLAINED_AT_MOST - 1 ? "card never-low" : "card")),
      ),
    el("ul", { class: "ticked" }, ...named, ...subjects(met, t)),
  );
}

/** The met rules, one line for each subject that has any. */
function subjects(met, t) {
  return Object.entries(SUBJECTS).flatMap(([key, families]) => {
    const count = met.filter((finding) => families.includes(finding.rule.split(".")[0])).length;
    if (count === 0) return [];
    return el(
      "li",
      { "data-verdict": "pass", "data-subject": families[0] },
      sign({ verdict: "pass" }, t),
      el("span", {}, el("span", { text: t(key) }), el("span", { class: "quiet met-count", text: t("review.rules_met", { count }) })),
    );
  });
}

function explain(finding, t, kind) {
  const reason = finding.verdict === "not_assessed" ? t("rule.not_assessed") : t(`rule.${finding.rule}.explain`);
  const advised = finding.verdict === "fail" && finding.advice in ADVICE_ICONS && !BOOTH_ADVICE.has(finding.advice);
  return el(
    "li",
    { class: kind, "data-verdict": finding.verdict, "data-rule": finding.rule },
    sign(finding, t),
    el(
      "div",
      {},
      el("h2", { text: t(`rule.${finding.rule}.name`) }),
      el("p", { text: reason }),
      advised &&
        el("p", { class: "advice" }, icon(ADVICE_ICONS[finding.advice]), el("span", { text: t(finding.advice) })),
    ),
  );
}

function tick(finding, t, kind = "") {
  return el(
    "li",
    { class: kind, "data-verdict": finding.verdict, "data-rule": finding.rule },
    sign(finding, t),
    el("span", { text: t(`rule.${finding.rule}.name`) }),
  );
}

function sign(finding, t) {
  return el(
    "span",
    { class: "sign" },
    icon(SIGNS[finding.verdict]),
    el("span", { class: "hidden-text", text: t(`verdict.${finding.verdict}`) }),
  );
}
