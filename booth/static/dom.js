// Elements in one call. No markup is ever parsed: text stays text (the page's policy demands Trusted Types and gets none).

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. Keys of `properties`: `class`, `text`, `on…` listeners; everything else is an attribute (null and false leave it out). */
export function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") element.className = value;
    else if (key === "text") element.textContent = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An SVG element. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** A drawing of the sprite; it says nothing to screen readers, the words beside it do. */
export function icon(name, { turns = false } = {}) {
  return svg(
    "svg",
    { class: turns ? "icon icon-turns" : "icon", viewBox: "0 0 48 48", "aria-hidden": "true", "data-icon": name },
    svg("use", { href: `#icon-${name}` }),
  );
}

/** Sets text only when it differs, so that a live region speaks once. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Swaps the drawing of an icon element. */
export function setIcon(element, name) {
  if (element.dataset.icon === name) return;
  element.dataset.icon = name;
  element.firstElementChild.setAttribute("href", `#icon-${name}`);
}
