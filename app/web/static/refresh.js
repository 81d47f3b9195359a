// Live regions: what carries data-refresh and an id is asked for again, and only what the server
// changed is changed on the page.
//
// Three trees are compared: what the server sent last (was), what it sends now (fresh), and what is
// on the page (live). Where was and fresh are alike the page is left alone, whatever scripts and
// people did to it: focus, selection, open details, times as words. Children are told apart by
// data-key, id or tag, and by how many of the same came before. What carries data-keep belongs to a
// script.
import { answered, missed } from "./status.js";
import { showTimes } from "./times.js";

const EVERY_MS = 2000;
const PATIENCE_MS = 6000; // a worker gives up on another after 5 s and says so
const was = new Map();
let under_way = false;
let again = false;

/** [key, child] for each element below `parent`; equal keys are numbered. */
function keyed(parent) {
  const seen = new Map();
  return [...parent.children].map((child) => {
    const key = child.dataset.key ?? (child.id || child.tagName);
    const count = seen.get(key) || 0;
    seen.set(key, count + 1);
    return [`${key} ${count}`, child];
  });
}

function words(element) {
  return [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.data.trim()).join("\n");
}

function attributes(live, before, fresh) {
  for (const { name } of [...before.attributes]) if (!fresh.hasAttribute(name)) live.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (before.getAttribute(name) !== value) live.setAttribute(name, value);
  const change = Number(fresh.dataset.size) - Number(before.dataset.size);
  if (!change) return;
  live.classList.remove("up", "down");
  void live.offsetWidth; // so that the colour fades again
  live.classList.add(change > 0 ? "up" : "down");
}

function children(live, before, fresh) {
  const mine = new Map(keyed(live)), sent = new Map(keyed(before));
  let place = live.firstElementChild;
  for (const [key, child] of keyed(fresh)) {
    let node = mine.get(key);
    mine.delete(key);
    if (node && sent.has(key) && node.tagName === child.tagName) {
      morph(node, sent.get(key), child);
    } else {
      node?.remove();
      if (node === place) place = place?.nextElementSibling ?? null;
      node = document.importNode(child, true);
    }
    if (node === place) place = node.nextElementSibling;
    else live.insertBefore(node, place);
  }
  mine.forEach((child) => child.remove());
}

function morph(live, before, fresh) {
  if ("keep" in fresh.dataset || before.isEqualNode(fresh)) return;
  attributes(live, before, fresh);
  const same = words(before) === words(fresh);
  if (same && (before.firstElementChild || fresh.firstElementChild)) children(live, before, fresh);
  else if (!same || live.childElementCount) live.replaceChildren(...[...fresh.childNodes].map((node) => document.importNode(node, true)));
}

function regions(root) { return [...root.querySelectorAll("[data-refresh]")]; }

function take(page, wanted) {
  for (const fresh of regions(page)) {
    const live = document.getElementById(fresh.id);
    if (!live || !wanted(fresh)) continue;
    morph(live, was.get(fresh.id), fresh);
    was.set(fresh.id, fresh);
    showTimes(live);
  }
}

/** Ask for this page again and put what changed in its place. */
export async function refresh() {
  if (under_way) { again = true; return; }
  under_way = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(PATIENCE_MS) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const kind = page.getElementById("main")?.dataset.page;
    if (kind === document.getElementById("main").dataset.page) {
      take(page, () => true);
      answered();
    } else if (answer.ok && kind) {
      location.reload(); // what could not be shown can be shown now
    } else {
      take(page, (region) => region.id !== "main"); // this page is a problem now: its numbers stand, and are said to be old
      missed();
    }
  } catch { missed(); /* the server is away */ } finally {
    under_way = false;
    if (again) { again = false; setTimeout(refresh, 250); }
  }
}

/** Begins; call it before any script changes the page. */
export function startRefresh() {
  for (const region of regions(document)) was.set(region.id, region.cloneNode(true));
  setInterval(() => { if (!document.hidden) refresh(); }, EVERY_MS);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
}
