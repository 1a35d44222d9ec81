// What the console adds where scripts run. Every page works without this file.
"use strict";
(() => {
  const root = document.documentElement;
  root.dataset.js = "";

  // Times are written by the hub; their "ago" is kept true here.
  const ago = (ms) => {
    const s = Math.max(0, Math.round((Date.now() - ms) / 1000));
    if (s < 10) return "just now";
    if (s < 60) return `${s} seconds ago`;
    const m = Math.floor(s / 60);
    if (m < 60) return m === 1 ? "1 minute ago" : `${m} minutes ago`;
    const h = Math.floor(m / 60);
    if (h < 24) return h === 1 ? "1 hour ago" : `${h} hours ago`;
    const d = Math.floor(h / 24);
    return d === 1 ? "1 day ago" : `${d} days ago`;
  };
  const refreshTimes = (scope) => {
    for (const time of scope.querySelectorAll("time[data-ago]")) {
      const text = ago(Number(time.dataset.ago));
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(() => refreshTimes(document), 10000);

  // The live indicator says what the connection is, not what we hope.
  const indicator = document.getElementById("live");
  const say = (state, text) => {
    if (!indicator || indicator.dataset.state === state) return;
    indicator.dataset.state = state;
    indicator.querySelector(".wl-live__text").textContent = text;
  };
  let lost = false;
  document.body.addEventListener("htmx:sseOpen", () => {
    say("on", "Live");
    // What happened in between was not streamed to us: fetch the page's live parts again.
    if (lost) document.body.dispatchEvent(new CustomEvent("caught-up"));
    lost = false;
  });
  document.body.addEventListener("htmx:sseError", () => {
    lost = true;
    say("lost", "Reconnecting");
  });
  window.addEventListener("offline", () => say("lost", "No network"));

  // The list of findings is fetched again when something changed, and merged row by row: what is being read stays
  // where it is, what has the focus keeps it, and a polite sentence tells how many came.
  let arrived = 0;
  const same = (a, b) => {
    const plain = (row) => row.outerHTML.replace(/<time[^]*?<\/time>/g, "").replace(/ class="wl-row--new"/, "");
    return plain(a) === plain(b);
  };
  const merge = (body, fresh) => {
    const first = body.querySelector("tr");
    let before = first;
    let added = 0;
    for (const row of [...fresh.querySelectorAll("tr")]) {
      const known = document.getElementById(row.id);
      if (known) {
        before = known.nextElementSibling;
        if (!same(known, row) && !known.contains(document.activeElement)) known.replaceWith(row);
        continue;
      }
      if (!before && first) break; // older than anything shown: it belongs to the next page
      row.classList.add("wl-row--new");
      body.insertBefore(row, before);
      added += 1;
    }
    return added;
  };
  document.body.addEventListener("htmx:afterRequest", (event) => {
    const body = event.target;
    if (!body.matches?.("[data-live-rows]") || !event.detail.successful) return;
    const page = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
    const fresh = page.querySelector("[data-live-rows]");
    if (!fresh) {
      location.reload(); // signed out meanwhile
      return;
    }
    const added = merge(body, fresh);
    if (!added) return;
    body.closest("table").hidden = false;
    document.getElementById("empty")?.remove();
    arrived += added;
    document.getElementById("announce").textContent =
      arrived === 1 ? "1 new finding since you opened this page." : `${arrived} new findings since you opened this page.`;
  });
  // An order's new state is also said to those who listen to the page.
  const said = new Map();
  const listen = () => {
    const news = [];
    for (const action of document.querySelectorAll("[data-action]")) {
      const before = said.get(action.dataset.action);
      if (before !== undefined && before !== action.dataset.said) news.push(action.dataset.said);
      said.set(action.dataset.action, action.dataset.said);
    }
    if (news.length) document.getElementById("say").textContent = news.join(". ");
  };
  // What can be ordered follows the device's state, unless somebody is typing in it.
  const offer = () => {
    const state = document.querySelector("[data-isolated]")?.dataset.isolated;
    for (const form of document.querySelectorAll("[data-when-isolated]")) {
      if (!form.contains(document.activeElement)) form.hidden = form.dataset.whenIsolated !== state;
    }
  };
  listen();
  document.body.addEventListener("htmx:afterSettle", () => {
    refreshTimes(document);
    listen();
    offer();
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const text = document.getElementById(button.dataset.copy)?.dataset.raw
      ?? document.getElementById(button.dataset.copy)?.textContent ?? "";
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it by hand";
    }
    setTimeout(() => { button.textContent = before; }, 2000);
  });

  // One order, once: a second press while the first is on its way does nothing.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });
})();
