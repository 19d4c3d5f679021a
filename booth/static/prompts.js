// What is said next. Pure: it is told what the screen says, and plays one sentence at a time through `play`.
//
// - Never two at once. A newer sentence of the same screen waits for the end of the one that runs, and takes the place of those that wait.
// - What the screen has said it does not say again because something beside it changed.
// - Another screen: what runs is cut short and what waits is dropped, because it is about a screen that is gone.
// - The same sentence begins at most every SAME_MS; one that is due earlier waits, and is dropped when something newer comes.
// - One that asks somebody to do something is said again after REMIND_MS, as long as it stands there.
// - A replay is a person's own wish: it begins at once, but never over a sentence that runs.

export const SAME_MS = 4000;
export const REMIND_MS = 8000;

export class PromptQueue {
  #play;
  #stop;
  #now;
  #later;
  #scene = null;
  #items = [];
  #waiting = [];
  #running = null;
  #reminds = () => false;
  #begun = new Map(); // when each sentence began last
  #timer = null;

  /** `play(item)` resolves when the sentence has ended, with false when there was none to hear; `stop()` ends it early. */
  constructor({ play, stop, reminds = () => false, now = () => performance.now(), later = (step, ms) => setTimeout(step, ms), cancel = clearTimeout }) {
    this.#play = play;
    this.#stop = stop;
    this.#reminds = reminds;
    this.#now = now;
    this.#later = (step, ms) => {
      if (this.#timer !== null) cancel(this.#timer);
      this.#timer = later(() => {
        this.#timer = null;
        step();
      }, ms);
    };
  }

  /** What runs now; null for nothing. */
  get running() {
    return this.#running;
  }

  /** The screen says `items`, in this order. `scene` is the same for as long as it is the same screen. */
  show(scene, items) {
    if (scene !== this.#scene) {
      this.#scene = scene;
      this.#items = [];
      this.#waiting = [];
      if (this.#running !== null) this.#stop();
    }
    const fresh = items.filter((item) => !this.#items.includes(item));
    this.#items = items;
    this.#waiting = fresh.length > 0 ? fresh : this.#waiting.filter((item) => items.includes(item));
    this.#next();
  }

  /** Everything that the screen says, once more. */
  replay() {
    if (this.#running !== null) return;
    for (const item of this.#items) this.#begun.delete(item);
    this.#waiting = [...this.#items];
    this.#next();
  }

  /** Nothing more is said of this screen. */
  silence() {
    this.#waiting = [];
    if (this.#running !== null) this.#stop();
  }

  #next() {
    if (this.#running !== null) return;
    const [item] = this.#waiting;
    if (item === undefined) {
      const again = this.#items.filter(this.#reminds);
      if (again.length > 0) this.#later(() => this.#remind(again), REMIND_MS);
      return;
    }
    const wait = (this.#begun.get(item) ?? -Infinity) + SAME_MS - this.#now();
    if (wait > 0) {
      this.#later(() => this.#next(), wait);
      return;
    }
    this.#waiting.shift();
    this.#running = item;
    this.#begun.set(item, this.#now());
    this.#play(item).then((heard) => {
      this.#running = null;
      if (heard === false) this.#begun.delete(item);
      this.#next();
    });
  }

  #remind(again) {
    if (this.#running !== null || this.#waiting.length > 0) return;
    this.#waiting = again.filter((item) => this.#items.includes(item));
    this.#next();
  }
}
