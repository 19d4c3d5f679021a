// <booth-preview>: the live picture as in a mirror, with the guide over it; `plain`: as the camera sees it; `src`: from another address.
//
// - Pull: the page asks ("ready") when it has drawn, so a slow page gets fewer pictures, never older ones.
// - Picture and guide are mirrored together; the guide's coordinates are those of the camera's picture.
// - Out of the document, it holds nothing: socket closed, timers stopped, last picture overwritten.

import { el, svg } from "./dom.js";

const RETRY_MS = 500;
const STALE_MS = 1500;
const HEADER_BYTES = 8; // big-endian nanoseconds of the controller's clock, then the JPEG

class BoothPreview extends HTMLElement {
  #socket = null;
  #retry = 0;
  #stale = 0;
  #canvas = null;
  #guide = null;
  #overlay = null;

  connectedCallback() {
    if (this.#canvas === null) {
      this.#canvas = el("canvas", { width: 3, height: 4, "aria-hidden": "true" });
      this.#guide = svg("svg", { class: "guide", viewBox: "0 0 300 400", "aria-hidden": "true" });
      this.prepend(this.#canvas, this.#guide);
    }
    this.dataset.stale = "";
    this.#open();
  }

  disconnectedCallback() {
    clearTimeout(this.#retry);
    clearTimeout(this.#stale);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#canvas.getContext("2d").clearRect(0, 0, this.#canvas.width, this.#canvas.height);
  }

  /** The head oval and eye line of the kiosk state; null shows none. */
  set overlay(overlay) {
    this.#overlay = overlay;
    this.#drawGuide();
  }

  #open() {
    const socket = new WebSocket(`ws://${location.host}${this.getAttribute("src") ?? "/api/preview"}`);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.addEventListener("open", () => socket.send("ready"));
    socket.addEventListener("message", (event) => this.#show(socket, event.data));
    socket.addEventListener("close", () => {
      if (this.#socket !== socket) return;
      this.dataset.stale = "";
      this.#retry = setTimeout(() => this.#open(), RETRY_MS);
    });
  }

  async #show(socket, message) {
    let picture = null;
    try {
      picture = await createImageBitmap(new Blob([new Uint8Array(message, HEADER_BYTES)], { type: "image/jpeg" }));
    } catch {
      // A damaged picture is left out; the next one is asked for.
    }
    if (this.#socket !== socket) {
      picture?.close();
      return;
    }
    if (picture !== null) {
      this.#draw(picture);
      picture.close();
      delete this.dataset.stale;
      clearTimeout(this.#stale);
      this.#stale = setTimeout(() => (this.dataset.stale = ""), STALE_MS);
      this.dispatchEvent(new CustomEvent("drawn", { detail: { atNs: new DataView(message).getBigUint64(0) } }));
    }
    if (socket.readyState === WebSocket.OPEN) socket.send("ready");
  }

  #draw(picture) {
    const { width, height } = picture;
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
      this.#guide.setAttribute("viewBox", `0 0 ${width} ${height}`);
      this.style.setProperty("--ratio", String(width / height));
      this.#drawGuide();
    }
    const context = this.#canvas.getContext("2d", { alpha: false });
    if (this.hasAttribute("plain")) context.setTransform(1, 0, 0, 1, 0, 0);
    else context.setTransform(-1, 0, 0, 1, width, 0);
    context.drawImage(picture, 0, 0);
  }

  #drawGuide() {
    if (this.#guide === null) return;
    if (this.#overlay === null) {
      this.#guide.replaceChildren();
      return;
    }
    const { width, height } = this.#guide.viewBox.baseVal;
    const { oval, eye_line_y: eyeLine } = this.#overlay;
    const across = this.hasAttribute("plain") ? oval.centre_x : 1 - oval.centre_x;
    const [cx, cy] = [across * width, oval.centre_y * height];
    const [rx, ry] = [oval.radius_x * width, oval.radius_y * height];
    const y = eyeLine * height;
    const around = `M0 0H${width}V${height}H0Z`;
    const hole = `M${cx - rx} ${cy}a${rx} ${ry} 0 1 0 ${2 * rx} 0a${rx} ${ry} 0 1 0 ${-2 * rx} 0Z`;
    const parts = [
      ["path", { class: "guide-veil", "fill-rule": "evenodd", d: around + hole }],
      ["ellipse", { class: "guide-halo", cx, cy, rx, ry }],
      ["ellipse", { class: "guide-oval", cx, cy, rx, ry }],
      // Only the ends of the eye line: a line across the eyes hides what it is about.
      ["path", { class: "guide-halo", d: `M${cx - rx} ${y}h${rx * 0.3}M${cx + rx} ${y}h${-rx * 0.3}` }],
      ["path", { class: "guide-eyes", d: `M${cx - rx} ${y}h${rx * 0.3}M${cx + rx} ${y}h${-rx * 0.3}` }],
    ];
    if (this.#guide.childElementCount !== parts.length) this.#guide.replaceChildren(...parts.map(([name]) => svg(name)));
    parts.forEach(([, attributes], index) => {
      for (const [key, value] of Object.entries(attributes)) this.#guide.children[index].setAttribute(key, value);
    });
  }
}

customElements.define("booth-preview", BoothPreview);
