// The line to the controller: states come in by server-sent events, commands go out by POST.
//
// - The browser reconnects an event stream by itself, but not after every kind of failure, and not when the line is silent but open:
//   both are watched here. A page that finds another run of the controller reloads itself: its token and its files are of yesterday.
// - States come by the event stream alone. The answer to a command holds one too, but may arrive after a newer one was shown.
// - A page is left only when the controller has just given the next one: a browser's own error page would never come back.
// - What is heard is answered by a sign of life: a page that hangs gives none, and the screen is started anew (deploy/kiosk/kiosk-browser).
// - One command at a time. A command names the screen it was given on, so the controller refuses a tap that came too late.

const RETRY_MS = 200; // with the page's own loading, the true state stands within a second of a restart
const SILENCE_MS = 6000; // three times the controller's sign of life
const TOLD_LOST_MS = 400; // a shorter gap is not worth a word

const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;

/** Loads the page anew as soon as the controller gives it. */
export async function renewPage() {
  try {
    const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(SILENCE_MS) });
    if (answer.ok) return location.reload();
  } catch {
    // Not now; the screen that stands says so.
  }
  setTimeout(renewPage, RETRY_MS);
}

function signOfLife() {
  const options = { method: "POST", headers: { "X-Kiosk-Token": meta("kiosk-token") }, signal: AbortSignal.timeout(SILENCE_MS) };
  fetch("/api/pages", options).catch(() => {}); // the event stream tells when the controller is gone
}

export class Link {
  #source = null;
  #silence = 0;
  #retry = 0;
  #tell = 0;
  #busy = false;
  #onState;
  #onConnection;

  constructor({ onState, onConnection }) {
    this.#onState = onState;
    this.#onConnection = onConnection;
  }

  open() {
    this.#source?.close();
    clearTimeout(this.#retry);
    const source = new EventSource("/api/events");
    this.#source = source;
    this.#watch();
    source.addEventListener("hello", (event) => {
      if (JSON.parse(event.data).instance !== meta("kiosk-instance")) renewPage();
    });
    source.addEventListener("alive", () => {
      this.#heard();
      signOfLife();
    });
    source.addEventListener("state", (event) => {
      this.#heard();
      signOfLife();
      this.#onState(JSON.parse(event.data));
    });
    source.addEventListener("error", () => {
      this.#lost();
      if (source.readyState === EventSource.CLOSED) this.#again();
    });
  }

  /** Sends a command given on the screen `seen`. Resolves to the answer {error, state}, or null when it was not sent or not answered. */
  async post(command, body, seen) {
    if (this.#busy) return null;
    this.#busy = true;
    try {
      const answer = await fetch(`/api/visit/${command}`, {
        method: "POST",
        cache: "no-store",
        headers: {
          "Content-Type": "application/json",
          "X-Kiosk-Token": meta("kiosk-token"),
          "X-Kiosk-Seen": `${seen.state} ${seen.visit ?? "-"}`,
        },
        body: JSON.stringify(body ?? {}),
        signal: AbortSignal.timeout(SILENCE_MS),
      });
      if (answer.status === 403) renewPage(); // a token of another run
      return await answer.json(); // its state is not shown: only the event stream keeps states in order
    } catch {
      this.#lost(); // the event stream tells when it is back
      return null;
    } finally {
      this.#busy = false;
    }
  }

  #heard() {
    clearTimeout(this.#tell);
    this.#tell = 0;
    this.#watch();
    this.#onConnection(true);
  }

  #lost() {
    if (this.#tell === 0) this.#tell = setTimeout(() => this.#onConnection(false), TOLD_LOST_MS);
  }

  #watch() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      this.#lost();
      this.#again();
    }, SILENCE_MS);
  }

  #again() {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.open(), RETRY_MS);
  }
}
