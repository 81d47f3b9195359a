// Live regions: elements with an id and data-refresh are asked for again and only what changed is replaced.
// Their children carry data-key; a child whose HTML is as the server last sent it is left alone (focus, hover and selection stay).
import { showTimes } from "./times.js";

const EVERY_MS = 2000;
const sent = new WeakMap();
let under_way = false;
let again = false;

function remember(region) { for (const child of region.children) sent.set(child, child.outerHTML); }

function replace(old, fresh) {
  const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const before = Number(old.dataset.size), after = Number(fresh.dataset.size);
  if (after !== before && !Number.isNaN(before)) fresh.classList.add(after > before ? "up" : "down");
  old.replaceWith(fresh);
  if (focused !== null) {
    const same = [fresh, ...fresh.querySelectorAll("[href]")].find((element) => element.getAttribute("href") === focused);
    if (same) same.focus({ preventScroll: true });
  }
}

function sync(region, fresh) {
  const old = new Map([...region.children].map((child) => [child.dataset.key, child]));
  let place = region.firstElementChild;
  for (const child of [...fresh.children]) {
    const html = child.outerHTML;
    const mine = old.get(child.dataset.key);
    old.delete(child.dataset.key);
    const node = mine && sent.get(mine) === html ? mine : document.importNode(child, true);
    if (mine && node !== mine) {
      if (place === mine) place = node;
      replace(mine, node);
    }
    if (node === place) place = node.nextElementSibling;
    else region.insertBefore(node, place);
    sent.set(node, html);
  }
  old.forEach((child) => child.remove());
}

/** Ask for this page again and put what changed in its place. */
export async function refresh() {
  if (under_way) { again = true; return; }
  under_way = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const region of document.querySelectorAll("[data-refresh]")) {
      const fresh = page.getElementById(region.id);
      if (fresh) { sync(region, fresh); showTimes(region); }
    }
  } catch { /* the server is away; the feed says so */ } finally {
    under_way = false;
    if (again) { again = false; setTimeout(refresh, 250); }
  }
}

export function startRefresh() {
  const regions = document.querySelectorAll("[data-refresh]");
  if (!regions.length) return;
  regions.forEach(remember);
  setInterval(() => { if (!document.hidden) refresh(); }, EVERY_MS);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
}
