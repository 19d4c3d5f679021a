// The texts of one language, from the booth's catalogues. No text stands in code.

const GIVE_UP_MS = 3000; // the caller asks again
const cache = new Map();

/** The catalogue of a language; kept, since there are four. Rejects when the controller does not answer. */
export async function loadTexts(language) {
  if (!cache.has(language)) {
    const answer = await fetch(`/api/messages/${encodeURIComponent(language)}`, {
      cache: "no-store",
      signal: AbortSignal.timeout(GIVE_UP_MS),
    });
    if (!answer.ok) throw new Error(`no catalogue: ${answer.status}`);
    cache.set(language, new Texts(await answer.json()));
  }
  return cache.get(language);
}

class Texts {
  #texts;
  #plurals;

  constructor({ language, direction, languages, texts }) {
    this.language = language;
    this.direction = direction;
    this.languages = languages;
    this.#texts = texts;
    this.#plurals = new Intl.PluralRules(language);
  }

  /** Whether the catalogue has the key. */
  has(key) {
    return Object.hasOwn(this.#texts, key);
  }

  /** The text of a key; `{name}` is replaced, a plural is chosen by `count`. An unknown key gives the general text of its family. */
  t(key, values = {}) {
    let text = this.#texts[key] ?? this.#texts[generalKey(key)];
    if (text === undefined) {
      console.error(`no text for ${key}`);
      return "";
    }
    if (typeof text !== "string") text = text[this.#plurals.select(values.count)] ?? text.other;
    return text.replace(/\{([a-z_]+)\}/g, (whole, name) => values[name] ?? whole);
  }
}

function generalKey(key) {
  if (key.startsWith("fault.")) return "fault.unknown";
  if (key.startsWith("advice.")) return "advice.look_here";
  if (key.startsWith("rule.")) return key.endsWith(".name") ? "rule.unknown.name" : "rule.unknown.explain";
  return "";
}
