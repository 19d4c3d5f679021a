// Reads the visit's token behind the number sign, asks once, shows the one section of the page that answers. Nothing is kept.

const AGAIN_MS = 30000; // a page that comes back into sight after so long asks again
const token = () => location.hash.slice(1);
let asked = 0;

if (location.hash.length > 1) document.documentElement.classList.add("has-token"); // before anything is painted

function show(view, reasons = []) {
  document.documentElement.classList.remove("has-token");
  for (const each of document.querySelectorAll("[data-view]")) each.hidden = each.dataset.view !== view;
  for (const each of document.querySelectorAll("[data-reason]")) each.hidden = !reasons.includes(each.dataset.reason);
  document.querySelector(`[data-view="${view}"] h1`).focus({ preventScroll: true });
}

async function ask() {
  if (!token()) return show("ask");
  asked = Date.now();
  show("asking");
  try {
    const answer = await fetch("/status/v1/lookup", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token: token().slice(0, 64) }),
      cache: "no-store",
      credentials: "omit",
      referrerPolicy: "no-referrer",
    });
    if (answer.ok) {
      const { state, reasons } = await answer.json();
      show(state, reasons);
    } else {
      show({ 404: "unknown", 429: "busy" }[answer.status] ?? "failed");
    }
  } catch {
    show("failed");
  }
}

function keepToken() {
  for (const link of document.querySelectorAll("nav a")) link.hash = location.hash;
}

document.addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll(".again")) {
    button.hidden = false;
    button.addEventListener("click", ask);
  }
  document.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const typed = document.querySelector("#token").value.replace(/^.*#/, "").replace(/[\s-]/g, "").toLowerCase();
    if (`#${typed}` === location.hash) ask();
    else location.hash = typed; // and so it can be looked up again, and kept among the browser's own addresses
  });
  addEventListener("hashchange", () => {
    keepToken();
    ask();
  });
  document.addEventListener("visibilitychange", () => {
    const settled = document.querySelector(".view:not([hidden])").matches(".accepted, .ask, .asking");
    if (!document.hidden && token() && !settled && Date.now() - asked > AGAIN_MS) ask();
  });
  keepToken();
  if (token()) ask();
});
