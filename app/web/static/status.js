// Whether what is on the page is of now: the pill (live · reconnecting · not updating since …) and
// the age of the events that are in.
import { now, time } from "./times.js";

const STALE_MS = 7000; // three refreshes; longer than the server needs to say that another worker does not answer
const LATE_MS = 60_000; // as on the server
const TICK_MS = 500;

const pill = document.getElementById("connection");
const freshness = document.getElementById("freshness");
let last = now();
let failing = false;
let stream = null; // whether the live changes are connected; null on a page without them
let watched = performance.now(); // since when this page has been looked at without a break

function say(state, text) {
  if (pill.dataset.state !== state) pill.dataset.state = state;
  if (pill.lastElementChild.textContent !== text) pill.lastElementChild.textContent = text;
}

function show() {
  if (document.hidden) return;
  const stale = now() - last > STALE_MS && performance.now() - watched > STALE_MS;
  if (stale) say("stale", `not updating since ${time(last)}`);
  else if (failing || stream === false) say("wait", "reconnecting");
  else say("on", "live");
  document.body.toggleAttribute("data-stale", stale);
  const watermark = Number(freshness.dataset.watermark);
  if (watermark) freshness.toggleAttribute("data-late", now() - watermark > LATE_MS);
}

/** The page was brought up to date. */
export function answered() { last = now(); failing = false; show(); }

/** The page could not be brought up to date. */
export function missed() { failing = true; show(); }

/** The live changes are connected, or not. */
export function streaming(connected) { stream = connected; show(); }

export function startStatus() {
  document.addEventListener("visibilitychange", () => { watched = performance.now(); show(); });
  setInterval(show, TICK_MS);
}
