// Loads the desk's second opinion into the packet page, which does not wait for it; without scripts a link leads to the same.
const ONE_AT_LEAST_S = 3;
const TRIES = 5;

const tell = (place, text) => {
  const line = document.createElement("p");
  line.className = "soft";
  line.textContent = text;
  place.replaceChildren(line);
};

const load = async (place, left) => {
  const answer = await fetch(place.dataset.part, { credentials: "same-origin", redirect: "error" });
  const wait = Number(answer.headers.get("Retry-After"));
  if (answer.status === 503 && wait > 0 && left > 1) {
    await new Promise((done) => setTimeout(done, 1000 * Math.max(wait, ONE_AT_LEAST_S)));
    return load(place, left - 1);
  }
  // The page is made and escaped by the desk; parsed apart, so that nothing in it runs or loads before it is taken over.
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (page.querySelector("main")) throw new Error("a whole page is no answer to put into another one");
  place.replaceChildren(...document.importNode(page.body, true).childNodes);
};

for (const place of document.querySelectorAll(".recheck-answer[data-part]")) {
  const link = [...place.childNodes];
  tell(place, place.dataset.running);
  load(place, TRIES).catch(() => {
    tell(place, place.dataset.unreached);
    place.append(...link);
  });
}
