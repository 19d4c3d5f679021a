// The technician's page: one tab at a time, asked for once a second; what is shown says when it was last true.
//
// - Tabs follow the pattern of the ARIA Authoring Practices: one stop, arrows walk, Home and End; the address's last part keeps the chosen one.
// - Each tab is a module that builds its frame once (`build`) and then only fills it (`show`), so that focus, choices and what is open stay.

import { el, icon, setText } from "./dom.js";
import { GIVE_UP_MS, ask, byId, moment, named, t, tell, texts } from "./technician_words.js";
import * as calibration from "./technician_calibration.js";
import * as devices from "./technician_devices.js";
import * as fleet from "./technician_fleet.js";
import * as live from "./technician_live.js";
import * as log from "./technician_log.js";
import * as overview from "./technician_overview.js";
import * as tests from "./technician_tests.js";
import * as training from "./technician_training.js";

const EVERY_MS = 1000;
const TABS = [
  ["overview", "shield", overview],
  ["live", "look", live],
  ["tests", "check", tests],
  ["calibration", "measure", calibration],
  ["devices", "device", devices],
  ["log", "clock", log],
  ["fleet", "cloud", fleet],
  ["training", "person", training],
].filter(([name]) => byId(name) !== null);

let chosen = null;
let last = null;
let told = null;
let timer = 0;

function choose(name, { focus = false } = {}) {
  const tab = TABS.find(([each]) => each === name) ?? TABS[0];
  if (tab === chosen) return;
  chosen?.[2].leave?.();
  chosen = tab;
  for (const [each] of TABS) {
    const here = each === tab[0];
    byId(each).hidden = !here;
    const button = byId(`tab-${each}`);
    button.setAttribute("aria-selected", String(here));
    button.tabIndex = here ? 0 : -1;
    if (here && focus) button.focus();
  }
  history.replaceState(null, "", `#${tab[0]}`);
  tab[2].enter?.();
  if (told !== null) tab[2].show({ ...told, more: null }); // what was asked for was another tab's
  again(0);
}

function walk(event) {
  const turned = texts.direction === "rtl" ? { ArrowLeft: 1, ArrowRight: -1 } : { ArrowLeft: -1, ArrowRight: 1 };
  const at = TABS.indexOf(chosen);
  const to = { Home: 0, End: TABS.length - 1 }[event.key] ?? (event.key in turned ? (at + turned[event.key] + TABS.length) % TABS.length : null);
  if (to === null) return;
  event.preventDefault();
  choose(TABS[to][0], { focus: true });
}

function head({ status }) {
  const pairs = [
    [t("technician.booth"), status.booth],
    [t("technician.site"), status.site],
    [t("technician.centre"), status.centre],
    [t("technician.visit"), named("visit", status.state)],
    [t("technician.profile"), `${status.profile} ${status.profile_version}`],
    [t("technician.software"), status.software_version.split(",")[0]], // with its libraries: under Log
  ];
  byId("facts").replaceChildren(...pairs.map(([term, value]) => el("div", {}, el("dt", { text: term }), el("dd", { text: value }))));
}

function again(after) {
  clearTimeout(timer);
  timer = setTimeout(look, after);
}

async function look() {
  const tab = chosen;
  try {
    const [status, work, more] = await Promise.all([ask("/api/technician"), ask("/api/technician/maintenance"), tab[2].ask?.()]);
    told = { status, work, more };
    head(told);
    if (tab === chosen) tab[2].show(told);
    last = new Date();
    byId("stale").hidden = true;
    setText(byId("updated"), t("technician.updated", { time: moment(last) }));
  } catch (error) {
    if (error instanceof TypeError && last === null) console.error(error);
    byId("stale").hidden = false;
    setText(byId("stale"), t("technician.stale", { time: last === null ? "–" : moment(last) }));
  }
  if (tab === chosen) again(EVERY_MS);
}

byId("tabs").append(
  ...TABS.map(([name, picture]) =>
    el(
      "button",
      { id: `tab-${name}`, type: "button", role: "tab", "aria-controls": name, onclick: () => choose(name), onkeydown: walk },
      icon(picture),
      el("span", { text: t(`technician.tab.${name}`) }),
    ),
  ),
);
byId("languages").append(
  ...texts.languages.map((each) =>
    el("a", {
      href: `?language=${each.language}`,
      lang: each.language,
      "aria-current": each.language === texts.language ? "true" : null,
      text: each.name,
      onclick: (event) => (event.currentTarget.href = `?language=${each.language}${location.hash}`),
    }),
  ),
);
byId("log-out").addEventListener("click", async () => {
  await tell("/api/technician/session/end", {}, GIVE_UP_MS);
  location.reload();
});
for (const [name, , tab] of TABS) tab.build(byId(name), { choose, refresh: () => again(0) });
choose(location.hash.slice(1));
