// The portrait with what the booth saw in it: lines of crown, eyes and chin, and where each explained rule looked, under the number of its explanation.
// Places come in fractions of the portrait (booth/portrait_marks.py); nothing is drawn on a portrait that holds every rule.

import { el, svg } from "./dom.js";

const EDGE = 0.04; // a number stands at least so far inside the picture
const DOT = 0.011;
const BADGE = 0.042;

/** The numbers of the explained rules that can be shown in the picture, by rule. */
export function numbersOf(broken) {
  return new Map(broken.filter((finding) => finding.marks !== null && finding.marks !== undefined).map((finding, at) => [finding.rule, at + 1]));
}

/** The portrait under review; `numbers` as above, for a portrait with something to explain. */
export function portraitFigure(state, t, numbers = new Map()) {
  const figure = el("figure", { class: "portrait" }, state.portrait && el("img", { src: state.portrait, alt: t("review.photo"), draggable: "false" }));
  if (!state.portrait || !state.portrait_size || state.compliant === true) return figure;
  const [width, height] = state.portrait_size;
  figure.classList.add("portrait-marked");
  figure.style.aspectRatio = `${width} / ${height}`;
  const drawing = svg("svg", { class: "evidence", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const place = ([x, y]) => [x * width, y * height];
  if (state.face) drawing.append(...faceLines(state.face, place, width));
  for (const finding of state.findings) {
    const number = numbers.get(finding.rule);
    if (number !== undefined) drawing.append(markOf(finding, number, place, width, height));
  }
  figure.append(drawing);
  return figure;
}

/** Shows the marks of these rules alone: those whose explanation is on the screen. */
export function markOnly(figure, rules) {
  for (const mark of figure.querySelectorAll(".region")) mark.toggleAttribute("hidden", !rules.includes(mark.dataset.rule));
}

function faceLines({ crown, chin, eyes }, place, width) {
  const level = ([, y]) => [0, y, width, y];
  const [[x1, y1], [x2, y2]] = eyes.map(place);
  const slope = x1 === x2 ? 0 : (y2 - y1) / (x2 - x1);
  const through = [0, y1 - slope * x1, width, y1 + slope * (width - x1)];
  return [level(place(crown)), through, level(place(chin))].map(([fromX, fromY, toX, toY]) =>
    svg("path", { class: "face-line", d: `M${fromX} ${fromY}L${toX} ${toY}` }),
  );
}

function markOf({ rule, marks: { dots, outlines } }, number, place, width, height) {
  const group = svg("g", { class: "region", "data-rule": rule });
  const shapes = outlines.map((outline) => outline.map(place));
  const points = dots.map(place);
  const radius = DOT * width;
  for (const kind of ["region-halo", "region-line"]) {
    for (const shape of shapes) group.append(svg("polygon", { class: kind, points: shape.map((point) => point.join(",")).join(" ") }));
    for (const [cx, cy] of points) group.append(svg("circle", { class: kind, cx, cy, r: radius }));
  }
  const all = [...points, ...shapes.flat()];
  const within = (at, size) => Math.min(Math.max(at, EDGE * width), size - EDGE * width);
  const corner = BADGE * 1.1 * width; // beside the mark, so that it covers nothing of it
  const x = within(Math.min(...all.map(([one]) => one)) - corner, width);
  const y = within(Math.min(...all.map(([, one]) => one)) - corner, height);
  const label = svg("text", { class: "region-label", x, y, "font-size": BADGE * 1.25 * width });
  label.textContent = String(number);
  group.append(svg("circle", { class: "region-badge", cx: x, cy: y, r: BADGE * width }), label);
  return group;
}
