// Training: a fault is hidden in the virtual booth; the technician looks for it with the page's own tools and names the cause.

import { el, icon } from "./dom.js";
import { ask as get, number, renew, state, t, tell } from "./technician_words.js";

const SCENES = ["empty", "card", "sitter"];
let parts = null;
let page = null;

export function build(section, actions) {
  page = actions;
  const choices = el("fieldset", { class: "causes" }, el("legend", { text: t("training.question") }));
  const answer = el("button", { id: "answer", class: "press press-main", type: "submit" }, icon("check"), el("span", { text: t("training.answer") }));
  const next = el("button", { id: "next", class: "press press-main", type: "button", onclick: () => act("/api/technician/training/next") }, icon("forward", { turns: true }), el("span", { text: t("training.next") }));
  const form = el("form", { onsubmit: (event) => (event.preventDefault(), give(new FormData(event.target).get("cause"))) }, choices, answer);
  const scenes = el("div", { class: "choices", role: "group", "aria-label": t("training.scene") },
    ...SCENES.map((scene) => el("button", { class: "press", type: "button", "data-scene": scene, "aria-pressed": "false", text: t(`training.scene.${scene}`), onclick: () => act("/api/technician/training/scene", { scene }) })));
  parts = { choices, answer, next, form, scenes, told: el("p", { class: "headline", role: "status" }), outcome: el("div", {}), list: null };
  section.append(
    el("div", { class: "columns" },
      el("section", { class: "card panel" }, el("h2", { text: t("training.title") }), el("p", { text: t("training.text") }), parts.told, form, parts.outcome, next),
      el("section", { class: "card panel narrow" }, el("h2", { text: t("training.scene") }), el("p", { class: "quiet", text: t("training.scene.text") }), scenes)),
  );
}

async function act(path, body = {}) {
  for (const button of [parts.answer, parts.next]) button.disabled = true;
  await tell(path, body);
  for (const button of [parts.answer, parts.next]) button.disabled = false;
  page.refresh();
}

const give = (cause) => cause !== null && act("/api/technician/training/answer", { cause });

export const ask = () => get("/api/technician/training").catch(() => ({ lost: true })); // the trainer may be gone while the controller works

export function show({ more: training }) {
  if (!training) return;
  if (training.lost) return renew(parts.told, "lost", () => el("span", { text: t("technician.refused.training_lost") }));
  const { exercise, exercises, right, answered, outcome, over } = training;
  renew(parts.told, [exercise, right, answered, over], () =>
    el("span", { text: over ? t("training.score", { right: number(right), of: number(exercises) }) : t("training.at", { exercise: number(exercise), exercises: number(exercises), right: number(right), answered: number(answered) }) }));
  if (parts.list === null) {
    parts.list = training.causes.map((cause) => el("label", { class: "choice" }, el("input", { type: "radio", name: "cause", value: cause, required: true }), el("span", { text: t(`training.cause.${cause}`) })));
    parts.choices.append(...parts.list);
  }
  parts.form.hidden = outcome !== null || over;
  parts.next.hidden = outcome === null || over;
  renew(parts.outcome, outcome, () => (outcome === null ? null : told(outcome)));
  for (const button of parts.scenes.children) button.setAttribute("aria-pressed", String(button.dataset.scene === training.scene));
}

function told({ right, cause, given }) {
  return [
    el("p", {}, state(right ? "good" : "bad", t(right ? "training.right" : "training.wrong"))),
    right ? null : el("p", {}, el("span", { text: t("training.given", { cause: t(`training.cause.${given}`) }) })),
    el("p", {}, el("strong", { text: t(`training.cause.${cause}`) })),
    el("p", { text: t(`training.explain.${cause}`) }),
  ];
}
