// Tells the desk that this packet's page is open and looked at, so that nobody else is given the same one (server/looks.py: a look ends after five minutes).
const AGAIN_MS = 90_000;
const form = document.querySelector("form[data-look]");

const tell = async () => {
  if (document.visibilityState !== "visible") return;
  try {
    await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), redirect: "error" });
  } catch {
    // The network, or the session's end: the look ends by itself, and the page says so when it is used.
  }
};

if (form) {
  tell();
  setInterval(tell, AGAIN_MS);
  document.addEventListener("visibilitychange", tell);
}
