// The voice: what the screen says, said aloud. The words on the screen are the captions: only a sentence that stands there is spoken.
//
// - A sentence is found by its words: whatever heading or paragraph is visible and has a sound in its language. So no list of screens can go wrong,
//   and nothing is spoken that nobody can read. Buttons, lists of facts and whatever holds a number or a name have no sound.
// - A booth that waits for somebody is silent. A dialogue speaks alone.
// - Volume in three steps, and none; as it was at the end of the visit, when the page is a new one. No live region: screen readers have the screen's own.
// - Without sounds (no synthesiser, no voice for the language, a browser that plays nothing) there are no buttons, and the words are the message.

import { el, icon } from "./dom.js";
import { PromptQueue } from "./prompts.js";
import { loadTexts } from "./texts.js";

const LEVELS = [0, 0.3, 0.6, 1];
const USUAL = 2;
const SETTLE_MS = 80; // a screen is built in many steps
const FADE_S = 0.04; // a sound that is cut does not click
const WAKE_MS = 400; // for the browser to allow sound; before the first touch it may not
const REST_MS = 5000; // after so long without a word the sound device is let go
const AGAIN_MS = 5000; // sounds may still be in the making
const SENTENCES = "h1, h2, p, .tile span";
const SILENT = new Set(["starting", "attract", "out_of_service"]);

export class Voice {
  #root;
  #stir;
  #lists = new Map(); // language -> Map of words to the address of their sound
  #whole = new Set(); // languages of which no further sound will come
  #asked = new Map();
  #texts = null;
  #level = USUAL;
  #context = null;
  #gain = null;
  #source = null;
  #end = null;
  #rest = 0;
  #looking = 0;
  #queue = new PromptQueue({
    play: (item) => this.#speak(item),
    stop: () => this.#cut(),
    reminds: (item) => document.body.dataset.state === "framing" && !document.querySelector("dialog[open]") && this.#asks(item),
  });

  /** Fills `root` with its buttons; `stir` tells that somebody is there. */
  constructor(root, stir) {
    this.#root = root;
    this.#stir = stir;
    new MutationObserver(() => this.#look()).observe(document.body, {
      subtree: true,
      childList: true,
      characterData: true,
      attributeFilter: ["hidden", "open", "data-state", "data-way", "data-shown"],
    });
    for (const name of ["pointerdown", "keydown"]) document.addEventListener(name, () => this.#context?.resume());
  }

  /** The page speaks this language from now on. */
  follow(texts) {
    if (this.#texts === texts) return;
    this.#texts = texts;
    this.#learn(texts.language);
    this.#draw();
  }

  /** As for somebody new. */
  forget() {
    this.#queue.silence();
    this.#level = USUAL;
    this.#draw();
  }

  // --- what is said ----------------------------------------------------------------------------------------------------

  /** Asks which sentences of a language have a sound. */
  async #learn(language) {
    if (this.#whole.has(language) || performance.now() - (this.#asked.get(language) ?? -Infinity) < AGAIN_MS) return;
    this.#asked.set(language, performance.now());
    try {
      const [answer, texts] = await Promise.all([fetch(`/api/voice/${encodeURIComponent(language)}`, { cache: "no-store" }), loadTexts(language)]);
      if (!answer.ok) return;
      const { prompts, complete } = await answer.json();
      if (complete) this.#whole.add(language);
      this.#lists.set(language, new Map(Object.entries(prompts).map(([key, name]) => [texts.t(key), { key, address: `/voice/${name}` }])));
    } catch {
      return; // the controller is away; asked again with the next screen
    }
    this.#draw();
    this.#look();
  }

  #look() {
    if (this.#looking !== 0) return;
    this.#looking = setTimeout(() => {
      this.#looking = 0;
      this.#hear();
    }, SETTLE_MS);
  }

  #hear() {
    if (this.#texts === null) return;
    const dialog = document.querySelector("dialog[open]");
    const main = document.getElementById("screen");
    const scene = dialog ?? main.firstElementChild;
    const scopes = dialog ? [dialog] : [document.getElementById("notice"), main];
    const items = [];
    if (!SILENT.has(document.body.dataset.state)) {
      for (const element of scopes.flatMap((scope) => (scope.matches(SENTENCES) ? [scope] : [...scope.querySelectorAll(SENTENCES)]))) {
        const language = element.closest("[lang]").lang;
        this.#learn(language);
        const words = element.textContent.trim();
        const item = `${language} ${words}`;
        if (this.#lists.get(language)?.has(words) && !items.includes(item) && element.checkVisibility({ visibilityProperty: true })) items.push(item);
      }
    }
    this.#queue.show(scene, items);
  }

  #find(item) {
    const at = item.indexOf(" ");
    return this.#lists.get(item.slice(0, at))?.get(item.slice(at + 1));
  }

  #asks(item) {
    const { key = "" } = this.#find(item) ?? {};
    return key.startsWith("advice.") || key.startsWith("fault.");
  }

  // --- how it is said --------------------------------------------------------------------------------------------------

  async #speak(item) {
    const sound = this.#find(item);
    if (sound === undefined || this.#level === 0) return false;
    clearTimeout(this.#rest);
    let cut = false;
    this.#end = () => (cut = true);
    try {
      const answer = await fetch(sound.address);
      if (!answer.ok || !(await this.#wake())) return false;
      const buffer = await this.#context.decodeAudioData(await answer.arrayBuffer());
      if (cut) return false;
      await new Promise((done) => {
        const source = this.#context.createBufferSource();
        source.buffer = buffer;
        source.connect(this.#gain);
        source.onended = done;
        // A device that is pulled never ends a sound.
        const late = setTimeout(done, buffer.duration * 1000 + 1000);
        this.#end = () => {
          this.#gain.gain.setTargetAtTime(0, this.#context.currentTime, FADE_S / 3);
          source.stop(this.#context.currentTime + FADE_S);
        };
        this.#gain.gain.cancelScheduledValues(0);
        this.#gain.gain.setValueAtTime(LEVELS[this.#level], this.#context.currentTime);
        source.start();
        this.#said(item, sound.key);
        source.addEventListener("ended", () => clearTimeout(late));
      });
      return true;
    } catch {
      return false; // no sound: the words stand on the screen
    } finally {
      this.#end = null;
      delete this.#root.dataset.says;
      this.#rest = setTimeout(() => this.#context?.suspend(), REST_MS);
    }
  }

  #said(item, key) {
    this.#root.dataset.says = key;
    document.dispatchEvent(new CustomEvent("spoken", { detail: { key, item, level: this.#level } }));
  }

  async #wake() {
    if (this.#context === null) {
      this.#context = new AudioContext({ latencyHint: "playback" });
      this.#gain = this.#context.createGain();
      this.#gain.connect(this.#context.destination);
    }
    if (this.#context.state !== "running") {
      await Promise.race([this.#context.resume(), new Promise((late) => setTimeout(late, WAKE_MS))]);
    }
    return this.#context.state === "running";
  }

  #cut() {
    this.#end?.();
  }

  // --- the buttons -----------------------------------------------------------------------------------------------------

  #draw() {
    const texts = this.#texts;
    const mute = texts === null || !this.#lists.get(texts.language)?.size;
    const signature = mute ? "" : `${texts.language} ${this.#level}`;
    if (this.#root.dataset.shows === signature) return;
    this.#root.dataset.shows = signature;
    if (mute) {
      this.#root.replaceChildren();
      return;
    }
    const level = this.#level === 0 ? texts.t("voice.muted") : texts.t("voice.volume", { level: this.#level });
    const replay = this.#button("replay", "voice-again", texts.t("voice.replay"), () => this.#queue.replay());
    const volume = this.#button("volume", `volume-${this.#level}`, level, () => this.#louder());
    const [oldReplay, oldVolume] = this.#root.children;
    const focused = [oldReplay, oldVolume].indexOf(document.activeElement);
    this.#root.replaceChildren(replay, volume);
    if (focused >= 0) this.#root.children[focused].focus();
  }

  #button(name, picture, label, press) {
    return el(
      "button",
      {
        class: "button button-quiet tool",
        type: "button",
        "data-voice": name,
        "aria-label": label,
        onclick: () => {
          this.#stir();
          press();
        },
      },
      icon(picture),
    );
  }

  /** One step louder; after the loudest none. */
  #louder() {
    const wasMute = this.#level === 0;
    this.#level = (this.#level + 1) % LEVELS.length;
    if (this.#context !== null) this.#gain.gain.setTargetAtTime(LEVELS[this.#level], this.#context.currentTime, FADE_S / 3);
    this.#draw();
    if (this.#level === 0) this.#queue.silence();
    else if (wasMute || this.#queue.running === null) this.#queue.replay();
  }
}
