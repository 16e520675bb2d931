// Replaces the page's live part with a fresh copy of itself every two seconds,
// while somebody looks. Without scripts the page is simply not live.
"use strict";

const every = 2000;
const patience = 10000;
const stale = document.getElementById("stale");
let answered = new Date();

async function fresh() {
  const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(patience) });
  if (!answer.ok) throw new Error(answer.status);
  return new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
}

// What a reader has opened, focused, selected or begun to write stays as it is.
function replace(live) {
  const old = document.getElementById("live");
  const selection = getSelection();
  if (!selection.isCollapsed && old.contains(selection.anchorNode)) return;
  if ([...old.querySelectorAll("input")].some((input) => input === document.activeElement || input.value)) return;
  for (const opened of old.querySelectorAll("details[id]")) {
    live.querySelector("#" + CSS.escape(opened.id))?.toggleAttribute("open", opened.open);
  }
  const focused = document.activeElement?.id;
  const scrolled = [...old.querySelectorAll(".card")].map((card) => card.scrollLeft);
  old.replaceWith(live);
  live.querySelectorAll(".card").forEach((card, i) => { card.scrollLeft = scrolled[i] ?? 0; });
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

async function refresh() {
  if (!document.hidden) {
    try {
      replace(await fresh());
      answered = new Date();
      stale.hidden = true;
    } catch {
      stale.querySelector("time").textContent = answered.toLocaleTimeString();
      stale.hidden = false;
    }
  }
  setTimeout(refresh, every);
}

setTimeout(refresh, every);
