// Logging in to the technician's page. The passphrase leaves the field once, in a POST to this machine, and is then forgotten.

import { loadTexts } from "./texts.js";

const GIVE_UP_MS = 20000; // tries are compared one after the other
const TOLD = { 401: "technician.login.wrong", 429: "technician.login.wait" };

const form = document.getElementById("login");
if (form) watch(form);

function watch(form) {
  const field = form.querySelector("#passphrase");
  const refusal = form.querySelector("#refusal");
  const button = form.querySelector("button");
  const shown = form.querySelector("#shown");
  shown.addEventListener("change", () => {
    field.type = shown.checked ? "text" : "password";
  });
  field.addEventListener("input", () => field.removeAttribute("aria-invalid"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    refusal.textContent = "";
    try {
      const told = await logIn(field.value);
      if (told === null) return;
      refusal.textContent = told;
      field.setAttribute("aria-invalid", "true");
      field.focus();
      field.select();
    } finally {
      button.disabled = false;
    }
  });
}

/** Opens a session and loads the page anew; else what to tell. */
async function logIn(passphrase) {
  const texts = await loadTexts(document.documentElement.lang);
  try {
    const answer = await fetch("/api/technician/session", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Kiosk-Token": document.querySelector('meta[name="kiosk-token"]').content },
      body: JSON.stringify({ passphrase }),
      signal: AbortSignal.timeout(GIVE_UP_MS),
    });
    if (answer.ok || answer.status === 403 || answer.status === 409) {
      location.reload(); // let in; or the page is of an older run, or the passphrase was taken away meanwhile
      return null;
    }
    const wait = Number(answer.headers.get("Retry-After"));
    return texts.t(TOLD[answer.status] ?? "technician.login.failed", { count: Math.max(1, Math.ceil(wait / 60)) });
  } catch {
    return texts.t("technician.login.failed");
  }
}
