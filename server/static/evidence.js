// Shows on the portrait where a rule looked, while its line is pointed at or focused.
const shown = (number, on) => {
  for (const group of document.querySelectorAll("svg.evidence g")) {
    group.classList.toggle("shown", on && group.dataset.finding === number);
  }
};

for (const row of document.querySelectorAll("table.findings tr[data-finding]")) {
  const number = row.dataset.finding;
  if (!document.querySelector(`svg.evidence g[data-finding="${CSS.escape(number)}"]`)) continue;
  row.tabIndex = 0;
  for (const event of ["pointerenter", "focus"]) row.addEventListener(event, () => shown(number, true));
  for (const event of ["pointerleave", "blur"]) row.addEventListener(event, () => shown(number, false));
}
