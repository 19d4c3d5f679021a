// The portrait with its rules: what is wrong in plain words and what to do about it, what could be better, and the rest counted by subject.

import { el, icon } from "./dom.js";
import { markOnly, numbersOf, portraitFigure } from "./evidence.js";
import { leavesOf } from "./leaves.js";
import { ADVICE_ICONS, button, heading, nothing } from "./parts.js";

const SIGNS = { pass: "check", warn: "warn", fail: "cross", not_assessed: "question" };
const EXPLAINED_AT_MOST = 3; // more at once helps nobody: the rest stands on further leaves
const NAMED_AT_MOST = 6;
const LINES_AT_MOST = 9; // of what is named and counted; beyond, what is met is one line
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
export function review(state, kit) {
  const { t, post } = kit;
  const good = state.compliant === true;
  const spotless = !state.findings.some((finding) => finding.level !== "info" && finding.verdict === "warn");
  const words = good ? (spotless ? "review.good.text" : "review.borderline.text") : state.released ? "review.released.text" : "review.poor.text";
  const title = good ? "review.good.title" : state.released ? "review.released.title" : "review.poor.title";
  const left = state.released ? "" : state.tries_left > 0 ? t("review.tries_left", { count: state.tries_left }) : t("review.last_try");
  const tries = `${t("review.try_of", { number: state.tries_allowed - state.tries_left, count: state.tries_allowed })} ${left}`.trim();
  const [figure, findings] = explained(state, kit);
  const main = el(
    "div",
    { class: "review", "data-good": String(good) },
    el(
      "div",
      { class: "words" },
      heading(t(title)),
      el("p", { text: t(words) }),
      el("p", { class: "quiet tries", text: tries }),
    ),
    figure,
    findings.list,
  );
  const actions = [];
  if (state.commands.includes("retake")) actions.push(button(good || state.released ? "" : "button-primary", t("action.retake"), "retake", () => post("retake")));
  if (state.commands.includes("accept")) actions.push(button("button-primary", t("action.accept"), "check", () => post("accept")));
  return { main, actions, update: nothing, lay: findings.lay };
}

/** The portrait with its marks, and the findings that they belong to. */
export function explained(state, kit) {
  const numbers = numbersOf(brokenOf(state.findings));
  const figure = portraitFigure(state, kit.t, numbers);
  return [figure, findingsList(state.findings, kit, numbers, figure)];
}

const brokenOf = (findings) => findings.filter((finding) => BLOCKING.has(finding.verdict) && finding.level === "reject");

/** What concerns the applicant: the broken rules first, explained; then what is borderline; the rest counted. */
function findingsList(findings, kit, numbers, figure) {
  const { t } = kit;
  const told = findings.filter((finding) => finding.level !== "info");
  const broken = brokenOf(findings);
  const explained = el("ul", { class: "explained" }, ...broken.map((finding) => explain(finding, t, numbers.get(finding.rule))));
  const onTurn = () => markOnly(figure, [...explained.children].filter((each) => !each.hidden).map((each) => each.dataset.rule));
  const named = told.filter((finding) => finding.verdict === "warn").slice(0, NAMED_AT_MOST);
  const met = subjects(told.filter((finding) => finding.verdict === "pass"), t, broken.length > 0 ? LINES_AT_MOST - named.length : Infinity);
  const ticked = el("ul", { class: "ticked" }, ...named.map((finding) => tick(finding, t)), ...met);
  const leaves = broken.length > 0 ? leavesOf(explained, kit, { most: EXPLAINED_AT_MOST, onTurn }) : leavesOf(ticked, kit);
  const list = el("section", { class: "findings", "aria-label": t("review.rules") }, broken.length > 0 && explained, leaves.nav, ticked);
  return { list, lay: leaves.lay };
}

/** The met rules, one line for each subject that has any; one for all where there is no room. */
function subjects(met, t, most) {
  const counted = Object.entries(SUBJECTS).flatMap(([key, families]) => {
    const count = met.filter((finding) => families.includes(finding.rule.split(".")[0])).length;
    if (count === 0) return [];
    const words = el("span", {}, el("span", { text: t(key) }), el("span", { class: "quiet met-count", text: t("review.rules_met", { count }) }));
    return el("li", { "data-verdict": "pass", "data-subject": families[0] }, sign({ verdict: "pass" }, t), words);
  });
  if (counted.length <= most) return counted;
  const all = el("span", { text: t("review.rules_met", { count: met.length }) });
  return [el("li", { "data-verdict": "pass" }, sign({ verdict: "pass" }, t), all)];
}

function explain(finding, t, number) {
  const reason = finding.verdict === "not_assessed" ? t("rule.not_assessed") : t(`rule.${finding.rule}.explain`);
  const yours = finding.advice in ADVICE_ICONS && !BOOTH_ADVICE.has(finding.advice);
  return el(
    "li",
    { class: "card", "data-verdict": finding.verdict, "data-rule": finding.rule },
    sign(finding, t),
    el(
      "div",
      {},
      el("h2", {}, number && el("span", { class: "region-number", "aria-hidden": "true", text: String(number) }), t(`rule.${finding.rule}.name`)),
      el("p", { text: reason }),
      el("p", { class: "advice" }, icon(yours ? ADVICE_ICONS[finding.advice] : "help"), el("span", { text: t(yours ? finding.advice : "review.not_you") })),
    ),
  );
}

function tick(finding, t) {
  return el(
    "li",
    { "data-verdict": finding.verdict, "data-rule": finding.rule },
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

export { assistance } from "./assistance.js";
