"use strict";
const form = document.getElementById("filter");
const find = document.getElementById("find");
const order = document.getElementById("order");
const shown = document.getElementById("shown");
const list = document.getElementById("finding-list");
const findings = [...list.children];
const matches = [...document.querySelectorAll("#match-list tbody tr")];
const texts = new Map();

/** What is searched: all text of a row and its rule's tags, read once. */
function text(row) {
  let found = texts.get(row);
  if (found === undefined) {
    found = `${row.textContent} ${row.dataset.tags ?? ""}`.toLowerCase();
    texts.set(row, found);
  }
  return found;
}

function apply() {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  const levels = new Set([...form.elements.level].filter((box) => box.checked).map((box) => box.value));
  const keep = (row) => levels.has(row.dataset.level) && words.every((word) => text(row).includes(word));
  let count = 0;
  for (const row of findings) {
    row.hidden = !keep(row);
    if (!row.hidden) count += 1;
  }
  for (const row of matches) row.hidden = !keep(row);
  const single = matches.filter((row) => !row.hidden).length;
  shown.textContent = `${count} of ${findings.length} findings, ${single} of ${matches.length} matches shown`;
}

const by = {
  worst: () => 0,
  time: (a, b) => Number(a.dataset.time) - Number(b.dataset.time),
  count: (a, b) => Number(b.dataset.count) - Number(a.dataset.count),
};

function sort() {
  list.append(...[...findings].sort(by[order.value]));
}

/** A link to a rule opens it. */
function open() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") {
    target.open = true;
    target.scrollIntoView();
    target.firstElementChild.focus();
  }
}

let waiting;
find.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(apply, 120);
});
form.addEventListener("change", apply);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(() => { apply(); sort(); }));
order.addEventListener("change", sort);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-find]");
  if (!link) return;
  find.value = link.dataset.find;
  apply();
});
addEventListener("hashchange", open);
form.hidden = false;
apply();
open();
