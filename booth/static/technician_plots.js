// Turns the booth's plots (booth/plots.py) into drawings. Scale, gaps and ticks come with the numbers; colours come from the style sheet.
//
// Time runs from left to right in every language, as on every instrument. Each drawing has a title and a description of its numbers.

import { el, svg } from "./dom.js";
import { limits, measured, number, t } from "./technician_words.js";

const AXIS = 44; // room for the numbers of the scale
const EDGE = 6;
let drawn = 0;

function drawing(width, height, name, title, description) {
  const id = `plot-${(drawn += 1)}`;
  const one = svg("title", { id: `${id}-title` });
  one.textContent = title;
  const other = svg("desc", { id: `${id}-desc` });
  other.textContent = description;
  return svg("svg", { class: name, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-labelledby": `${id}-title ${id}-desc` }, one, other);
}

const path = (points) => (points.length === 1 ? `M${points[0].join(" ")}h0.01` : `M${points.map((point) => point.join(" ")).join("L")}`);

/** In words: newest, least and most value, and the limits. */
export function told(plot, unit) {
  if (plot.newest === null) return t("technician.plot.nothing");
  const band = limits(plot.low?.value ?? null, plot.high?.value ?? null);
  return t("technician.plot.told", { newest: measured(plot.newest, unit), least: measured(plot.least, unit), most: measured(plot.most, unit), limits: band });
}

/** A line over time between its limits, with a scale. */
export function line(plot, title, unit, span) {
  const { width, height } = plot;
  const [wide, high] = [width + AXIS + EDGE, height + 2 * EDGE + 12];
  const picture = drawing(wide, high, "plot", title, told(plot, unit));
  const inner = svg("g", { transform: `translate(${AXIS} ${EDGE})` });
  inner.append(...band(plot));
  for (const tick of plot.ticks) {
    inner.append(svg("path", { class: "grid", d: `M0 ${tick.at}H${width}` }), text(-5, tick.at + 3.5, "end", number(tick.value, 3)));
  }
  for (const bound of [plot.low, plot.high]) if (bound !== null) inner.append(svg("path", { class: "limit", d: `M0 ${bound.at}H${width}` }));
  inner.append(...plot.lines.map((points) => svg("path", { class: "line", d: path(points) })));
  const last = plot.lines.at(-1)?.at(-1);
  if (last) inner.append(svg("circle", { class: "newest", cx: last[0], cy: last[1], r: 3 }));
  inner.append(text(0, height + 13, "start", span), text(width, height + 13, "end", t("technician.plot.now")));
  picture.append(inner);
  return picture;
}

/** What lies outside the limits. */
function band({ width, height, low, high }) {
  const parts = [];
  if (high !== null) parts.push(svg("rect", { class: "beyond", x: 0, y: 0, width, height: Math.max(high.at, 0) }));
  if (low !== null) parts.push(svg("rect", { class: "beyond", x: 0, y: low.at, width, height: Math.max(height - low.at, 0) }));
  return parts;
}

function text(x, y, anchor, words) {
  const element = svg("text", { x, y, "text-anchor": anchor });
  element.textContent = words;
  return element;
}

/** The course of a check over weeks, as small as a word. */
export function spark(plot, title, unit) {
  const picture = drawing(plot.width, plot.height, "spark", title, told(plot, unit));
  picture.append(...band(plot), ...plot.lines.map((points) => svg("path", { class: "line", d: path(points) })));
  const last = plot.lines.at(-1)?.at(-1);
  if (last) picture.append(svg("circle", { class: "newest", cx: last[0], cy: last[1], r: 2.5 }));
  return picture;
}

/** How bright the picture's pixels are. */
export function histogram(bars, title) {
  const values = { mean: number(bars.mean, 0), dark: number(bars.dark_pct, 1), bright: number(bars.bright_pct, 1) };
  const [width, height] = [256, 80];
  const picture = drawing(width, height, "histogram", title, t("technician.histogram.told", values));
  const step = width / bars.heights.length;
  const d = bars.heights.map((share, at) => (share > 0 ? `M${at * step} ${height}v${-Math.max(share * height, 1)}h${step}V${height}z` : "")).join("");
  picture.append(svg("path", { class: "grid", d: `M0 ${height - 0.5}H${width}` }), svg("path", { class: "bars", d }));
  picture.append(svg("path", { class: "limit", d: `M${(bars.mean / 256) * width} 0V${height}` }));
  return el("figure", { class: "with-figures" }, picture, el("figcaption", { text: t("technician.histogram.told", values) }));
}
