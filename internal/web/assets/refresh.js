// Replaces the page's live part with a fresh copy of itself every two seconds,
// while somebody looks. Without scripts the page is simply not live.
"use strict";
async function refresh() {
  if (document.hidden) return;
  const note = document.getElementById("stale");
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const focus = document.activeElement && document.activeElement.id;
    document.getElementById("live").replaceWith(page.getElementById("live"));
    if (focus && document.getElementById(focus)) document.getElementById(focus).focus();
    note.hidden = true;
  } catch (e) {
    note.hidden = false;
  }
}
setInterval(refresh, 2000);
