// The review's list: every rule with its verdict as sign and word; what is wrong in plain words and what to do about it.

import { el, icon } from "./dom.js";

const SIGNS = { pass: "check", warn: "warn", fail: "cross", not_assessed: "question" };
const EXPLAINED_AT_MOST = 3; // more at once helps nobody; the rest is named (a low screen explains one fewer: kiosk.css)
const BLOCKING = new Set(["fail", "not_assessed"]);

const ADVICE_ICONS = {
  "advice.no_face": "sit",
  "advice.one_person": "one-person",
  "advice.closer": "closer",
  "advice.back": "back",
  "advice.left": "arrow-left",
  "advice.right": "arrow-right",
  "advice.up": "arrow-up",
  "advice.down": "arrow-down",
  "advice.turn_head_left": "turn-left",
  "advice.turn_head_right": "turn-right",
  "advice.tilt_head_left": "tilt-left",
  "advice.tilt_head_right": "tilt-right",
  "advice.level_head": "level",
  "advice.chin_up": "chin-up",
  "advice.chin_down": "chin-down",
  "advice.look_here": "look",
  "advice.open_eyes": "eyes",
  "advice.close_mouth": "mouth",
  "advice.relax_face": "mouth",
  "advice.uncover_face": "uncover",
  "advice.take_off_glasses": "glasses",
  "advice.take_off_hat": "hat",
  "advice.hair_from_eyes": "hair",
  "advice.hold_still": "hold",
  "advice.light_problem": "light",
  "advice.background_problem": "wall",
  "advice.camera_problem": "camera",
};
const ARROW_ICONS = { up: "arrow-up", down: "arrow-down", left: "arrow-left", right: "arrow-right", closer: "closer", back: "back" };
// What the booth has to do, not the person: said while framing, of no use in a review.
const BOOTH_ADVICE = new Set(["advice.light_problem", "advice.camera_problem", "advice.hold_still", "advice.none"]);

/** The drawing for an instruction: by what it says, else by its arrow. */
export function instructionIcon({ key, arrow }) {
  return ADVICE_ICONS[key] ?? ARROW_ICONS[arrow] ?? "look";
}

/** Every rule that concerns the applicant: the broken ones first, explained; the others ticked. */
export function findingsList(findings, t) {
  const told = findings.filter((finding) => finding.level !== "info");
  const broken = told.filter((finding) => BLOCKING.has(finding.verdict) && finding.level === "reject");
  const explained = broken.slice(0, EXPLAINED_AT_MOST);
  const named = told
    .filter((finding) => !explained.includes(finding))
    .sort((one, other) => (one.verdict === "pass") - (other.verdict === "pass"))
    .map((finding) => tick(finding, t));
  if (explained.length === EXPLAINED_AT_MOST) named.unshift(tick(explained.at(-1), t, "only-low"));
  return el(
    "section",
    { class: "findings", "aria-label": t("review.rules") },
    explained.length > 0 &&
      el(
        "ul",
        { class: "explained" },
        ...explained.map((finding, at) => explain(finding, t, at === EXPLAINED_AT_MOST - 1 ? "card never-low" : "card")),
      ),
    el("ul", { class: "ticked" }, ...named),
  );
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
